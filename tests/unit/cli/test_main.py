import logging
import subprocess
import sys
from pathlib import Path

import pytest

from lsst.ts.ocps import __version__
from lsst.ts.ocps.cli.logs import configure_logging
from lsst.ts.ocps.cli.main import run_command_line
from lsst.ts.ocps.cli.settings import CliSettings


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr().out == f"ocps, version {__version__}\n"


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("abort", "config", "jobs", "run", "sandbox", "service", "state", "watch"):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["state", "FAULT"],
        ["jobs", "--index", "0"],
        ["config", "check"],
        ["service", "--payloads", "x"],
    ],
)
def test_wrong_use_has_exit_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(arguments) == 2
    assert "Usage: ocps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--max-running", "0", "0: Input should be greater than 0"),
        ("--max-sync", "0", "0.0: Input should be greater than 0"),
        ("--archive-retention", "P-1D", "'P-1D': Input should be"),
        ("--archive-retention", "-P1D", "'-P1D': Input should be greater than or equal to 0"),
    ],
)
def test_wrong_options_of_the_service_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, reason: str
) -> None:
    arguments = ["service", "--payloads", str(tmp_path), "--data", str(tmp_path), f"{option}={value}"]
    assert run_command_line(arguments) == 2
    assert f"ocps: {option} {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "hunter2", "postgresql://u:hunter2@h:x/d"])
def test_a_wrong_url_of_a_database_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("OCPS_DATABASE_URL", url)
    assert run_command_line(["service", "--payloads", str(tmp_path), "--data", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "ocps: --database-url: " in shown.err
    assert "hunter2" not in shown.err + shown.out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("database_url: mysql://u:hunter2@h/d", "database_url: does not begin with postgresql://"),
        ('database_url: "postgresql://u:hunter2@h/d', ", line 4: found unexpected end of stream"),
        ("database_url: postgresql://u:hunter2@h/d: x", ", line 2: mapping values are not allowed here"),
    ],
)
def test_a_wrong_configuration_file_of_the_service_is_told_without_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(f"payload_directories: [{tmp_path}]\n{line}\ndata_directory: {tmp_path}\n")
    assert run_command_line(["service", "--config", str(file)]) == 2
    shown = capsys.readouterr()
    assert reason in shown.err
    assert "hunter2" not in shown.err + shown.out


def test_a_command_that_speaks_to_nobody_yet_says_what_to_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LSST_TOPIC_SUBNAME", raising=False)
    for arguments in (["state"], ["jobs"], ["run", "x"], ["abort", "x"], ["watch"]):
        assert run_command_line(arguments) == 2
        shown = capsys.readouterr().err
        assert "LSST_TOPIC_SUBNAME is not set" in shown
        assert 'eval "$(ocps sandbox env)"' in shown


@pytest.mark.parametrize(
    ("variables", "status", "reason"),
    [
        ({}, 2, "OCPS_SERVICE_URL is not set"),
        ({"OCPS_SERVICE_URL": "ftp://x"}, 2, "must be an absolute http or https URL"),
        ({"OCPS_SERVICE_URL": "http://127.0.0.1:1"}, 4, "127.0.0.1:1"),
    ],
)
def test_a_service_that_cannot_be_asked_is_named(
    variables: dict[str, str],
    status: int,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OCPS_SERVICE_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_command_line(["jobs", "--all"]) == status
    assert reason in capsys.readouterr().err


def test_a_service_imports_no_sal() -> None:
    program = (
        "import sys; from lsst.ts.ocps.cli import main, service; print('lsst.ts.ocps.sal' in sys.modules)"
    )
    answer = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_settings_come_from_the_environment_and_empty_ones_count_as_unset() -> None:
    assert CliSettings.from_environment({"OCPS_SANDBOX": ""}).sandbox_folder == Path(".sandbox")
    settings = CliSettings.from_environment(
        {"OCPS_SANDBOX": "/box", "OCPS_SERVICE_URL": "http://x", "LSST_KAFKA_BROKER_ADDR": "h:1"}
    )
    assert settings.sandbox_folder == Path("/box")
    assert (settings.service_url, settings.broker_address, settings.registry_url) == ("http://x", "h:1", None)


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(0, {"sandbox warning"}), (1, {"sandbox warning", "sal warning"})],
)
def test_only_what_nobody_else_tells_is_logged(
    verbosity: int, shown: set[str], capsys: pytest.CaptureFixture[str], root_logger: logging.Logger
) -> None:
    # Those of pytest.
    root_logger.handlers.clear()
    configure_logging(verbosity)
    logging.getLogger("lsst.ts.ocps.sandbox.supervisor").warning("sandbox warning")
    logging.getLogger("OCPS").warning("sal warning")
    logging.getLogger("OCPS").debug("detail")
    assert set(capsys.readouterr().err.splitlines()) == shown
