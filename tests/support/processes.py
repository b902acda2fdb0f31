"""Waiting for conditions, and ending what tests have started."""

import asyncio
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lsst.ts.ocps.executors.launcher import STARTED
from lsst.ts.ocps.executors.traces import end_orphans, open_process, read_start

__all__ = ["end_commands", "until"]


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
