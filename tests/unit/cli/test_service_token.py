"""``ocps service token``, and the configuration file of ``ocps service``."""

from pathlib import Path

import pytest

from lsst.ts.ocps.cli.main import run_command_line
from lsst.ts.ocps.service.owners import Caller
from lsst.ts.ocps.service.tokens import find_caller, read_tokens


@pytest.mark.parametrize(("options", "sees_all"), [((), False), (("--operator",), True)])
def test_a_token_is_shown_once_and_its_line_fits_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], *, sees_all: bool
) -> None:
    assert run_command_line(["service", "token", "alice", *options]) == 0
    printed = capsys.readouterr()
    secret = printed.err.strip()
    assert secret not in printed.out
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text(printed.out)
    assert find_caller(read_tokens(file), secret) == Caller("alice", sees_all=sees_all)


def test_who_cannot_be_called_so_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["service", "token", "a b"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("ocps: OWNER: an owner is named by")
    assert printed.out == ""


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("access: {mode: tokens}", (), "file.yaml: access.tokens.file: Field required"),
        ("access: {mode: nobody}", (), "file.yaml: access: "),
        ("limits: {max_pending: -1}", (), "file.yaml: limits.max_pending: "),
        ("max_runing: 3", (), "file.yaml: max_runing: "),
        ("host: 0.0.0.0", (), "file.yaml: host '0.0.0.0' can be reached from other machines"),
        ("port: 1", ("--host", "::"), "file.yaml: host '::' can be reached from other machines"),
        ("max_running: 3", ("--max-running", "0"), "--max-running 0: "),
        ("- a", (), "file.yaml: is no mapping"),
        ("{", (), "file.yaml, line 1: "),
        ("access: {mode: tokens, file: /nothing/tokens}", (), "token file /nothing/tokens: No such file"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    options: tuple[str, ...],
    words: str,
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(content)
    (tmp_path / "payloads").mkdir()
    folders = ["--payloads", str(tmp_path / "payloads"), "--data", str(tmp_path / "data")]
    assert run_command_line(["service", "--config", str(file), *folders, "--port", "0", *options]) != 0
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["service", "--config", str(tmp_path / "nothing")]) == 2
    assert "nothing: " in capsys.readouterr().err
