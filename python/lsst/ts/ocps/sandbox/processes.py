"""One supervised process: its start, its log, its readiness and its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError

from .errors import PartFailedError
from .process_table import ProcessIdentity, identify
from .races import run_unless

__all__ = ["ProcessSpec", "SupervisedProcess", "open_new_log", "read_tail"]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TAIL_BYTES = 8192


def read_tail(log: Path, *, lines: int = 20) -> str:
    """The last lines of a log file; "" if it is empty or absent."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def open_new_log(log: Path) -> BinaryIO:
    """Open an empty log; the one before it is kept as ``NAME.1``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # The log of the life before this one is often the one that tells why this life began.
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("wb")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how to know that it is ready."""

    name: str
    """Name of the part, for messages."""

    command: tuple[str, ...]
    """Argument list; never given to a shell."""

    environment: Mapping[str, str]
    """The whole environment of the process."""

    log: Path
    """Where its standard output and error go; the log of the life before is kept as ``NAME.1``."""

    wait_until_ready: Callable[[], Awaitable[None]]
    """Returns when the process does its work; it is cancelled when the deadline is over."""

    ready_timeout: float = 30.0
    """Longest time to become ready (s)."""

    stop_timeout: float = 8.0
    """Time between SIGTERM and SIGKILL (s)."""


class SupervisedProcess:
    """A process that belongs to this one.

    It leads a session and process group of its own, so that Ctrl-C in the terminal does not reach it and
    all that it starts can be ended with it. The kernel ends it when this process dies by whatever cause.

    Parameters
    ----------
    spec
        What to run.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._identity: ProcessIdentity | None = None

    @property
    def identity(self) -> ProcessIdentity:
        """The process, unmistakably.

        Raises
        ------
        RuntimeError
            If it was not started.
        """
        if self._identity is None:
            raise RuntimeError(f"{self.spec.name} was not started")
        return self._identity

    async def start(self) -> None:
        """Start the process; it is not ready yet.

        Raises
        ------
        PartFailedError
            If it ended at once.
        """
        launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()))
        with await asyncio.to_thread(open_new_log, self.spec.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *launcher,
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.spec.environment),
                start_new_session=True,
            )
        # Even one that has ended has an identity until it is waited for, which happens after this.
        self._identity = identify(self._process.pid)

    async def wait_until_ready(self) -> None:
        """Wait until the process does its work.

        Raises
        ------
        PartFailedError
            If it ended, or was not ready in time.
        """
        await run_unless(
            self._wait_until_ready(), self.wait_for_exit(), name=f"sandbox:{self.spec.name}:ready"
        )

    async def _wait_until_ready(self) -> None:
        deadline = Deadline(f"start of {self.spec.name}", self.spec.ready_timeout)
        try:
            async with deadline.enforce():
                await self.spec.wait_until_ready()
        except DeadlineExceededError:
            raise await self._failure(f"was not ready after {self.spec.ready_timeout:g} s") from None

    async def wait_for_exit(self) -> NoReturn:
        """Wait for the end of the process.

        Raises
        ------
        PartFailedError
            When it has ended, with how it ended and the tail of its log.
        """
        assert self._process is not None, "not started"  # noqa: S101 (a mistake of the caller)
        status = await self._process.wait()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise await self._failure(how)

    async def _failure(self, reason: str) -> PartFailedError:
        tail = await asyncio.to_thread(read_tail, self.spec.log)
        return PartFailedError(self.spec.name, reason, log=self.spec.log, tail=tail)

    async def aclose(self) -> None:
        """End the process and all that is left of its group; harmless when it has ended."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._signal_group(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self.spec.stop_timeout)
        self._signal_group(signal.SIGKILL)
        await self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"  # noqa: S101 (a mistake of the caller)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
