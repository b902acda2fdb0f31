import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.errors import AlreadyRunningError, FolderError
from lsst.ts.ocps.sandbox.process_table import ProcessIdentity, identify
from lsst.ts.ocps.sandbox.state import (
    PartState,
    SandboxPhase,
    SandboxState,
    hold_lock,
    load_state,
    save_state,
)


def make_state(folder: Path) -> SandboxState:
    supervisor = identify(os.getpid())
    assert supervisor is not None
    part = PartState(name="broker", process=supervisor, port=9092, log=folder / "logs" / "broker.log")
    return SandboxState(
        folder=folder,
        phase=SandboxPhase.RUNNING,
        supervisor=supervisor,
        start_time=datetime(2026, 11, 22, tzinfo=UTC),
        parts=(part,),
        variables={"LSST_SITE": "sandbox"},
        ports={"broker": 9092},
        csc_state="ENABLED",
    )


def test_a_state_file_says_what_was_written(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    file = tmp_path / "sandbox.json"
    save_state(file, state)
    assert load_state(file) == state
    assert state.is_supervised
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.json"]


def test_a_supervisor_that_is_gone_supervises_nothing(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    gone = ProcessIdentity(pid=state.supervisor.pid, start_ticks=state.supervisor.start_ticks - 1)
    assert not state.model_copy(update={"supervisor": gone}).is_supervised


def test_no_state_file_is_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "absent" / "sandbox.json") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "the file: Invalid JSON"), ('{"folder": "/x"}', "phase: Field required")],
)
def test_a_file_that_is_no_state_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "sandbox.json"
    file.write_text(text)
    with pytest.raises(FolderError, match=rf"{file} is not the state file of a sandbox: {reason}"):
        load_state(file)


def test_the_lock_names_its_holder_and_is_free_after_it(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.lock"
    program = f"""
import sys
from pathlib import Path
from lsst.ts.ocps.sandbox.state import hold_lock
with hold_lock(Path({str(file)!r}), Path("/a/folder")):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = (sys.executable, "-c", program)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(AlreadyRunningError, match=rf"in /a/folder \(process {holder.pid}\)") as info,
            hold_lock(file, Path("/a/folder")),
        ):
            pass
        assert info.value.pid == holder.pid
        holder.kill()
    with hold_lock(file, tmp_path):
        assert file.read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_hold_a_lock_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FolderError, match="as a sandbox folder"),
        hold_lock(tmp_path / "no" / "lock", tmp_path),
    ):
        pass
