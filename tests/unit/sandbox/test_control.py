from datetime import UTC, datetime
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.control import look_at, read_variables, take_down
from lsst.ts.ocps.sandbox.errors import NotRunningError
from lsst.ts.ocps.sandbox.layout import SandboxLayout
from lsst.ts.ocps.sandbox.process_table import ProcessIdentity
from lsst.ts.ocps.sandbox.state import PartState, SandboxPhase, SandboxState, load_state, save_state

GONE = ProcessIdentity(pid=1, start_ticks=-1)


@pytest.fixture
def crashed(tmp_path: Path) -> SandboxLayout:
    """A folder whose supervisor and parts are gone, although its state file says that they run."""
    layout = SandboxLayout.from_folder(tmp_path / "box")
    layout.create()
    state = SandboxState(
        folder=layout.folder,
        phase=SandboxPhase.RUNNING,
        supervisor=GONE,
        start_time=datetime.now(UTC),
        parts=(PartState(name="csc", process=GONE, log=layout.log("csc")),),
        variables={"LSST_SITE": "sandbox"},
    )
    save_state(layout.state_file, state)
    return layout


def test_a_folder_without_a_sandbox_runs_none(tmp_path: Path) -> None:
    for ask in (look_at, read_variables):
        with pytest.raises(NotRunningError, match=f"no sandbox runs in {tmp_path}"):
            ask(tmp_path)


def test_a_state_file_alone_is_not_believed(crashed: SandboxLayout) -> None:
    for ask in (look_at, read_variables):
        with pytest.raises(NotRunningError):
            ask(crashed.folder)


def test_a_sandbox_that_failed_tells_why(crashed: SandboxLayout) -> None:
    state = load_state(crashed.state_file)
    assert state is not None
    failed = {"phase": SandboxPhase.FAILED, "message": "csc was ended by SIGKILL"}
    save_state(crashed.state_file, state.model_copy(update=failed))
    with pytest.raises(NotRunningError, match="the last one failed: csc was ended by SIGKILL"):
        look_at(crashed.folder)


@pytest.mark.asyncio
async def test_down_finds_nothing_to_end_and_says_so_in_the_state_file(crashed: SandboxLayout) -> None:
    assert await take_down(crashed.folder) is False
    state = load_state(crashed.state_file)
    assert state is not None
    assert (state.phase, state.parts) == (SandboxPhase.DOWN, ())


@pytest.mark.asyncio
async def test_down_in_a_folder_without_a_sandbox_creates_nothing(tmp_path: Path) -> None:
    assert await take_down(tmp_path / "box") is False
    assert not (tmp_path / "box").exists()
