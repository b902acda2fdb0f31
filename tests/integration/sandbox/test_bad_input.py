"""What is wrong with the input of a sandbox is said in one place, and nothing is left behind."""

from pathlib import Path

import pytest

from support.sandbox import SandboxFolder

pytestmark = pytest.mark.timeout(240)


@pytest.mark.system
def test_a_broken_payload_file_is_named_with_its_place(sandbox_folder: SandboxFolder, tmp_path: Path) -> None:
    payloads = tmp_path / "payloads"
    payloads.mkdir()
    (payloads / "broken.yaml").write_text(
        "name: broken\ndescription: x\nexpected_duration: soon\nrun: {command: [python]}\n"
    )
    up = sandbox_folder.sandbox("up", "--payloads", str(payloads))
    assert up.returncode == 1
    assert "service ended with status" in up.stderr
    assert str(payloads / "broken.yaml") in up.stderr
    assert "expected_duration" in up.stderr
    assert sandbox_folder.processes() == []


@pytest.mark.system
def test_a_detached_start_that_fails_says_why(sandbox_folder: SandboxFolder, tmp_path: Path) -> None:
    payloads = tmp_path / "payloads"
    payloads.mkdir()
    (payloads / "broken.yaml").write_text("name: [\n")
    up = sandbox_folder.sandbox("up", "--detach", "--payloads", str(payloads))
    assert up.returncode == 1
    assert "the sandbox did not start" in up.stderr
    assert str(payloads / "broken.yaml") in up.stderr
    assert sandbox_folder.processes() == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, sandbox_folder: SandboxFolder) -> None:
    (tmp_path / "file").touch()
    for options in ((), ("--detach",)):
        up = sandbox_folder.ocps("sandbox", "up", "--folder", str(tmp_path / "file" / "box"), *options)
        assert up.returncode == 1
        assert f"{tmp_path / 'file' / 'box'}" in up.stderr
        assert "Traceback" not in up.stderr


def test_a_state_file_that_is_none_is_named(sandbox_folder: SandboxFolder) -> None:
    sandbox_folder.layout.create()
    sandbox_folder.layout.state_file.write_text("{}")
    for command in ("up", "status", "env", "down"):
        answer = sandbox_folder.sandbox(command)
        assert answer.returncode == 1
        assert f"{sandbox_folder.layout.state_file} is not the state file of a sandbox" in answer.stderr
    sandbox_folder.layout.state_file.unlink()
