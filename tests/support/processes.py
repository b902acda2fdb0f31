"""Waiting for conditions, and ending what tests have started."""

import asyncio
import os
import select
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lsst.ts.ocps.executors.launcher import STARTED
from lsst.ts.ocps.executors.traces import end_orphans, open_process, read_start

__all__ = ["end_commands", "suspended", "until"]


async def until(condition: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    """Wait until something is so.

    Raises
    ------
    AssertionError
        If it is not so after that time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def suspended(pid: int) -> AsyncIterator[None]:
    """A process of this test does nothing for a while, and keeps its connections."""
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(30):
            while not has_stopped(pid):  # noqa: ASYNC110 (the kernel tells nobody)
                await asyncio.sleep(0.01)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def has_stopped(pid: int) -> bool:
    """Whether no thread runs any more; the signal takes a moment to reach them all."""
    stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def end_commands(directory: Path) -> None:
    """Kill every command of a local executor whose traces are below a directory, and its launcher."""
    for path in directory.rglob(STARTED):
        trace = read_start(path.parent, path.parent.name)
        if trace is not None and trace.is_of_this_boot and trace.is_visible:
            if (launcher := open_process(trace.launcher)) is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(launcher, signal.SIGKILL)
                select.select([launcher], [], [], 10)
                os.close(launcher)
            end_orphans(trace)
