"""Look at, start in the background, and take down a sandbox that another process owns."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lsst.ts.ocps.aio.deadline import Deadline

from .environment import this_environment
from .errors import AlreadyRunningError, FolderError, NotRunningError, SandboxError
from .layout import SandboxLayout
from .leftovers import end_leftovers, end_processes, wait_until_gone
from .process_table import ProcessIdentity, identify, is_running, memory_bytes, uptime_seconds
from .processes import open_new_log, read_tail
from .state import PartState, SandboxPhase, SandboxState, hold_lock, load_state, save_state

__all__ = ["PartReport", "SandboxReport", "launch_detached", "look_at", "read_variables", "take_down"]

_LAUNCH_TIMEOUT = 240.0
_POLL_INTERVAL = 0.1
_DOWN_TIMEOUT = 60.0
"""How long a supervisor may take to end everything (s) before it is killed."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """One process of a sandbox, now."""

    part: PartState
    is_running: bool
    memory: int
    """Resident memory (byte)."""

    uptime: float
    """Time since its start (s)."""


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """A sandbox, now."""

    state: SandboxState
    is_supervised: bool
    """Whether the process that owns it is alive."""

    parts: tuple[PartReport, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether everything runs."""
        return (
            self.is_supervised
            and self.state.phase is SandboxPhase.RUNNING
            and all(part.is_running for part in self.parts)
        )


def _look_at_part(part: PartState) -> PartReport:
    running = is_running(part.process)
    return PartReport(
        part=part,
        is_running=running,
        memory=memory_bytes(part.process),
        uptime=uptime_seconds(part.process) if running else 0.0,
    )


def look_at(folder: Path) -> SandboxReport:
    """Look at a sandbox.

    Parameters
    ----------
    folder
        The sandbox folder.

    Raises
    ------
    NotRunningError
        If nothing of it runs.
    FolderError
        If its state file cannot be read.
    """
    layout = SandboxLayout.from_folder(folder)
    state = load_state(layout.state_file)
    if state is None:
        raise NotRunningError(layout.folder)
    parts = tuple(_look_at_part(part) for part in state.parts)
    if not state.is_supervised and not any(part.is_running for part in parts):
        raise NotRunningError(layout.folder, state.message)
    return SandboxReport(state=state, is_supervised=state.is_supervised, parts=parts)


def read_variables(folder: Path) -> dict[str, str]:
    """The variables by which programs find a running sandbox.

    Parameters
    ----------
    folder
        The sandbox folder.

    Raises
    ------
    NotRunningError
        If it does not run.
    """
    report = look_at(folder)
    if not report.is_supervised or not report.state.variables:
        raise NotRunningError(report.state.folder)
    return report.state.variables


async def take_down(folder: Path) -> bool:
    """End a sandbox and wait until all of it is gone; also what a killed supervisor left behind.

    Parameters
    ----------
    folder
        The sandbox folder.

    Returns
    -------
    bool
        Whether there was anything to end.

    Raises
    ------
    SandboxError
        If a process survives even SIGKILL.
    """
    layout = SandboxLayout.from_folder(folder)
    state = await asyncio.to_thread(load_state, layout.state_file)
    if state is None:
        return False
    was_supervised = state.is_supervised
    if was_supervised:
        with suppress(ProcessLookupError):
            os.kill(state.supervisor.pid, signal.SIGTERM)
        stubborn = await wait_until_gone([state.supervisor], seconds=_DOWN_TIMEOUT)
        await end_processes(stubborn, grace=0.0)
    # The lock keeps a new sandbox from starting meanwhile.
    with hold_lock(layout.lock_file, layout.folder):
        state = await asyncio.to_thread(load_state, layout.state_file)
        ended = await end_leftovers(layout, state)
        if state is not None and state.phase not in {SandboxPhase.DOWN, SandboxPhase.FAILED}:
            down = state.model_copy(update={"phase": SandboxPhase.DOWN, "parts": (), "csc_state": ""})
            await asyncio.to_thread(save_state, layout.state_file, down)
    return was_supervised or ended > 0


def _spawn(layout: SandboxLayout, arguments: Sequence[str]) -> int:
    """Start the supervisor in a session of its own; it outlives this process."""
    layout.create()
    with open_new_log(layout.log("supervisor")) as log:
        # Not subprocess: it takes a child that outlives us for a mistake.
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "lsst.ts.ocps.cli.main", "sandbox", "up", *arguments],
            this_environment(),
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
            ),
            setsid=True,
        )


async def launch_detached(folder: Path, *, payload_directories: Sequence[Path] = ()) -> SandboxState:
    """Start a sandbox in the background and wait until its CSC is enabled.

    Parameters
    ----------
    folder
        The sandbox folder.
    payload_directories
        Further folders with payload definitions.

    Returns
    -------
    SandboxState
        What runs.

    Raises
    ------
    AlreadyRunningError
        If a sandbox runs in this folder.
    SandboxError
        If it does not start; with what it said.
    """
    layout = SandboxLayout.from_folder(folder)
    state = await asyncio.to_thread(load_state, layout.state_file)
    if state is not None and state.is_supervised:
        raise AlreadyRunningError(layout.folder, state.supervisor.pid)
    extra = [item for path in payload_directories for item in ("--payloads", str(path.resolve()))]
    arguments = ("--folder", str(layout.folder), *extra)
    try:
        pid = await asyncio.to_thread(_spawn, layout, arguments)
    except OSError as error:
        raise FolderError(f"cannot start a sandbox in {layout.folder}: {error}") from error
    supervisor = identify(pid)
    if supervisor is None:
        raise SandboxError(f"process {pid} vanished; see {layout.logs}")
    try:
        return await _wait_until_running(layout, supervisor)
    except BaseException:
        # Not `take_down`: somebody else may have been quicker in this folder.
        await end_processes([supervisor], grace=_DOWN_TIMEOUT)
        raise


async def _wait_until_running(layout: SandboxLayout, supervisor: ProcessIdentity) -> SandboxState:
    deadline = Deadline("start of the sandbox", _LAUNCH_TIMEOUT)
    while not deadline.expired:
        state = await asyncio.to_thread(load_state, layout.state_file)
        if state is not None and state.supervisor == supervisor and state.phase is SandboxPhase.RUNNING:
            return state
        if not is_running(supervisor):
            with suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, supervisor.pid, 0)
            tail = await asyncio.to_thread(read_tail, layout.log("supervisor"))
            raise SandboxError(f"the sandbox did not start:\n{tail}")
        await asyncio.sleep(_POLL_INTERVAL)
    raise SandboxError(f"the sandbox was not ready after {_LAUNCH_TIMEOUT:g} s; see {layout.logs}")
