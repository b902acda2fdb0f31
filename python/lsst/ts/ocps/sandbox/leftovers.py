"""End what outlived its supervisor."""

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress

from lsst.ts.ocps.aio.deadline import Deadline

from .environment import PART_VARIABLE
from .errors import SandboxError
from .layout import SandboxLayout
from .process_table import ProcessIdentity, find_by_variable, group_of, is_running
from .state import SandboxState

__all__ = ["end_leftovers", "end_processes", "wait_until_gone"]

_POLL_INTERVAL = 0.05
_KILL_TIMEOUT = 10.0


def _still_running(processes: Iterable[ProcessIdentity]) -> list[ProcessIdentity]:
    return [process for process in processes if is_running(process)]


async def wait_until_gone(processes: Sequence[ProcessIdentity], *, seconds: float) -> list[ProcessIdentity]:
    """Wait until none of the processes runs.

    Parameters
    ----------
    processes
        Processes that need not be children of this one.
    seconds
        Longest wait (s).

    Returns
    -------
    list [ ProcessIdentity ]
        Those that still run after that time.
    """
    deadline = Deadline("end of processes", seconds)
    while running := await asyncio.to_thread(_still_running, processes):
        if deadline.expired:
            return running
        await asyncio.sleep(_POLL_INTERVAL)
    return []


def _signal_groups(processes: Iterable[ProcessIdentity], number: signal.Signals) -> None:
    own_group = os.getpgid(0)
    for process in processes:
        group = group_of(process)
        if group is None:
            continue
        with suppress(ProcessLookupError):
            # A process that leads its group takes with it all that it started.
            if group == process.pid and group != own_group:
                os.killpg(group, number)
            else:
                os.kill(process.pid, number)


async def end_processes(processes: Sequence[ProcessIdentity], *, grace: float) -> None:
    """End processes that are not children of this one, and the groups that they lead.

    Parameters
    ----------
    processes
        What to end, the last one first to be signalled.
    grace
        Time between SIGTERM and SIGKILL (s).

    Raises
    ------
    SandboxError
        If one survives even SIGKILL; names it.
    """
    await asyncio.to_thread(_signal_groups, tuple(reversed(processes)), signal.SIGTERM)
    stubborn = await wait_until_gone(processes, seconds=grace)
    await asyncio.to_thread(_signal_groups, stubborn, signal.SIGKILL)
    survivors = await wait_until_gone(stubborn, seconds=_KILL_TIMEOUT)
    if survivors:
        pids = ", ".join(str(process.pid) for process in survivors)
        raise SandboxError(f"these processes did not end: {pids}")


async def end_leftovers(layout: SandboxLayout, state: SandboxState | None) -> int:
    """End everything of a sandbox whose supervisor is gone.

    These are the parts that the state file names, whatever they started, and the jobs: they outlive the
    service on purpose, so that a later one can adopt them, but not the sandbox.

    Parameters
    ----------
    layout
        The sandbox.
    state
        Its state file, if there is one.

    Returns
    -------
    int
        How many processes were still running.
    """
    recorded = [part.process for part in state.parts] if state is not None else []
    marked = await asyncio.to_thread(lambda: list(find_by_variable(PART_VARIABLE, layout.folder)))
    parts = await asyncio.to_thread(_still_running, dict.fromkeys([*recorded, *marked]))
    await end_processes(parts, grace=8.0)
    # Only now: a service that lives would start further ones.
    jobs = await asyncio.to_thread(lambda: list(find_by_variable("JOB_DIR", layout.service_data)))
    await end_processes(jobs, grace=2.0)
    return len(parts) + len(jobs)
