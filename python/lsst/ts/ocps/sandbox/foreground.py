"""Run a sandbox in the foreground until it is asked to end."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import StoppedBySignalError
from .races import run_unless
from .signals import catch_stop_signals
from .supervisor import Sandbox

__all__ = ["run_in_foreground"]


async def run_in_foreground(
    folder: Path, *, payload_directories: Sequence[Path] = (), tell: Callable[[str], None]
) -> None:
    """Start everything, enable the CSC, and return when Ctrl-C or SIGTERM has ended it all.

    Parameters
    ----------
    folder
        The sandbox folder.
    payload_directories
        Further folders with payload definitions.
    tell
        Told what happens, one line each.

    Raises
    ------
    SandboxError
        If the sandbox does not start, or a part of it ends by itself; everything else has been ended then.
    """
    async with catch_stop_signals() as stop:
        try:
            await run_unless(_run(folder, payload_directories, tell), stop.wait(), name="sandbox:foreground")
        except StoppedBySignalError as error:
            tell(f"{error}: everything has been ended")


async def _run(folder: Path, payload_directories: Sequence[Path], tell: Callable[[str], None]) -> None:
    sandbox = Sandbox(
        folder,
        payload_directories=payload_directories,
        on_ready=lambda part: tell(f"{part.name} is ready (pid {part.process.pid}, log {part.log})"),
    )
    tell(f"starting a sandbox in {sandbox.layout.folder}")
    async with sandbox:
        await run_unless(_serve(sandbox, tell), sandbox.wait_for_crash(), name="sandbox:serve")


async def _serve(sandbox: Sandbox, tell: Callable[[str], None]) -> None:
    await sandbox.enable(lambda state: tell(f"csc is {state}"))
    tell("up; Ctrl-C ends everything")
    # Until a signal or a crash.
    await asyncio.Event().wait()
