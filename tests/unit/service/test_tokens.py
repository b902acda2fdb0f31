"""The file of bearer tokens."""

from pathlib import Path

import pytest

from lsst.ts.ocps.service.errors import ServiceStartError
from lsst.ts.ocps.service.owners import Caller
from lsst.ts.ocps.service.tokens import find_caller, new_token, read_tokens
from support.owners import write_tokens

LINE = "alice user sha256:" + 64 * "0"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_found_by_its_hash_and_the_file_does_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    secrets = write_tokens(file, "alice", "bob", operators=("night",))
    tokens = read_tokens(file)
    assert find_caller(tokens, secrets["alice"]) == Caller("alice")
    assert find_caller(tokens, secrets["bob"]) == Caller("bob")
    assert find_caller(tokens, secrets["night"]) == Caller("night", sees_all=True)
    assert find_caller(tokens, secrets["alice"] + "x") is None
    assert find_caller(tokens, "") is None
    assert not any(secret in file.read_text() for secret in secrets.values())


def test_tokens_cannot_be_guessed_and_are_never_the_same() -> None:
    made = {new_token("alice", is_operator=False)[0] for _ in range(100)}
    assert len(made) == 100
    # 32 random bytes.
    assert all(len(secret.removeprefix("ocps-")) == 43 for secret in made)


def test_one_owner_may_have_several_tokens_and_lines_may_be_comments(tmp_path: Path) -> None:
    first, second = (new_token("alice", is_operator=False) for _ in range(2))
    text = f"# tokens\n\n{first[1].to_line()}  # laptop\n  {second[1].to_line()}\n"
    tokens = read_tokens(write(tmp_path / "tokens", text))
    assert {find_caller(tokens, secret) for secret, _ in (first, second)} == {Caller("alice")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alice user", "line 1 is not"),
        (f"{LINE}\nalice boss sha256:{64 * '1'}", "line 2 is not"),
        ("alice user md5:00", "line 1 is not"),
        ("alice user planted-secret", "line 1 is not"),
        (f"{LINE}\nbob user sha256:{64 * '0'}", "lines 1 and 2 have the same token"),
        (f"{'a' * 129} user sha256:{64 * '0'}", "line 1: an owner is named by"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_wrong_line_is_named_and_not_shown(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ServiceStartError, match=words) as caught:
        read_tokens(file)
    assert str(file) in str(caught.value)
    assert "planted-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "word"), [(0o604, "read"), (0o644, "read"), (0o620, "write"), (0o602, "write")]
)
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int, word: str) -> None:
    with pytest.raises(ServiceStartError, match=f"mode is {mode:o}: others may {word} it; chmod 600"):
        read_tokens(write(tmp_path / "tokens", LINE, mode))


def test_a_file_of_a_group_may_be_read_by_it(tmp_path: Path) -> None:
    assert len(read_tokens(write(tmp_path / "tokens", LINE, 0o640))) == 1


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceStartError, match="No such file"):
        read_tokens(tmp_path / "nothing")
    with pytest.raises(ServiceStartError, match="more than 1048576 bytes"):
        read_tokens(write(tmp_path / "tokens", "#" * (2**20 + 1)))
