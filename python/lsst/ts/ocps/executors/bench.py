"""What the contract suite of executors works with: a listener that remembers, and commands to run."""

import asyncio
import fcntl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from .base import STDERR, STDOUT, Execution, ExecutionStatus, Executor, ExecutorState, Listener

__all__ = ["ExecutorBench", "News"]


class News:
    """A listener that keeps what it hears.

    Parameters
    ----------
    timeout
        How long anything is waited for (s).
    """

    def __init__(self, *, timeout: float = 30.0) -> None:
        self.heard: list[tuple[str, ExecutionStatus]] = []
        self._timeout = timeout
        self._changed = asyncio.Event()

    def __call__(self, key: str, status: ExecutionStatus) -> None:
        """Hear a piece of news."""
        self.heard.append((key, status))
        self._changed.set()

    def of(self, key: str) -> list[ExecutionStatus]:
        """The news of one execution, in order."""
        return [status for heard, status in self.heard if heard == key]

    async def end_of(self, key: str) -> ExecutionStatus:
        """Wait for the end of an execution."""
        return await self._first(key, {state for state in ExecutorState if state.is_final})

    async def running(self, key: str) -> ExecutionStatus:
        """Wait until an execution is known to run."""
        return await self._first(key, {ExecutorState.RUNNING})

    async def unknown(self, key: str) -> ExecutionStatus:
        """Wait until an executor has lost sight of an execution."""
        return await self._first(key, {ExecutorState.UNKNOWN})

    async def _first(self, key: str, states: set[ExecutorState]) -> ExecutionStatus:
        async with asyncio.timeout(self._timeout):
            while True:
                for status in self.of(key):
                    if status.state in states:
                        return status
                self._changed.clear()
                await self._changed.wait()


class ExecutorBench(ABC):
    """One kind of executor, and commands that it understands: here those of any POSIX system.

    Parameters
    ----------
    directory
        Where the executions get their directories; the executor must see it, too.
    """

    timeout = 30.0
    """How long news is waited for (s); more, where a queue is to be passed."""

    brief = 2.0
    """A time limit that leaves a command the time to get ready (s)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def create(self, listener: Listener) -> Executor:
        """Make an executor; all of one bench meet the same executions, as lives of one service do."""

    @abstractmethod
    def refusing(self, *, transient: bool) -> AbstractContextManager[None]:
        """A time in which whatever runs the commands takes none, for a reason that may pass or will not."""

    @abstractmethod
    def failing_late(self) -> AbstractContextManager[None]:
        """A time in which one submission fails at the last moment: the command is handed over already."""

    @abstractmethod
    def losing_sight(self) -> AbstractContextManager[None]:
        """A time in which executors lose sight of every execution at its end at the latest."""

    @abstractmethod
    async def delay(self, execution: Execution) -> Callable[[], Awaitable[None]]:
        """Begin a submission as a life that dies over it would, and stop it on its way.

        What is returned lets it go on, and returns when that has had its effect, if it has any.
        """

    def exiting(self, code: int) -> tuple[str, ...]:
        """A command that ends at once."""
        return ("sh", "-c", f"exit {code}")

    def lasting(self, seconds: float) -> tuple[str, ...]:
        """A command that takes some time, and ends well."""
        return ("sleep", str(seconds))

    def noting(self, seconds: float = 0) -> tuple[str, ...]:
        """A command that notes its begin (see `times_begun`), takes some time, and ends well."""
        return ("sh", "-c", f"echo begun >> begun; sleep {seconds}")

    def tidying(self) -> tuple[str, ...]:
        """A command that takes long, gets ready, and tidies up when it is asked to end."""
        return (
            "sh",
            "-c",
            "trap 'echo > tidied; exit 5' TERM; echo > ready; while :; do sleep 0.02; done",
        )

    def with_children(self, then: str) -> tuple[str, ...]:
        """A command whose children take long and do not mind being asked to end.

        Parameters
        ----------
        then
            What it does when they are ready: ``wait`` for them, ``exit``, or take more ``disk`` than 1 MiB.
        """
        last = {"wait": "wait", "exit": "exit 4", "disk": "head -c 3000000 /dev/zero > large; wait"}[then]
        stubborn = "trap '' TERM; echo > \"$0\"; sleep 60"
        script = (
            # The lock is held for as long as anyone lives who has inherited the descriptor.
            "exec 9> held; flock 9; trap '' TERM;"
            ' sh -c "$0" child & timeout 60 sh -c "$0" ready &'  # the second in a group of its own
            f" while [ ! -e child ] || [ ! -e ready ]; do sleep 0.02; done; {last}; sleep 60"
        )
        return ("sh", "-c", script, stubborn)

    def killing_itself(self, signal_number: int) -> tuple[str, ...]:
        """A command that is ended by a signal."""
        return ("sh", "-c", f"kill -{signal_number} $$")

    def saying(self, out: str, err: str) -> tuple[str, ...]:
        """A command that writes two texts to standard output and error."""
        return ("sh", "-c", 'printf %s "$1"; printf %s "$2" >&2', "sh", out, err)

    def telling_arguments(self, *arguments: str) -> tuple[str, ...]:
        """A command that writes its arguments to standard output, each with a NUL after it."""
        return ("printf", r"%s\0", *arguments)

    def telling_environment(self) -> tuple[str, ...]:
        """A command that writes its environment to standard output, NAME=VALUE with a NUL after each."""
        return ("env", "-0")

    def taking_disk(self, size: int) -> tuple[str, ...]:
        """A command that writes so many bytes into its directory, and goes on for long."""
        return ("sh", "-c", f"head -c {size} /dev/zero > large; sleep 60")

    def taking_memory(self, size: int) -> tuple[str, ...]:
        """A command of which a process takes so many bytes of memory, and which goes on for long."""
        # Without the end of a line, tail keeps all of it.
        return ("sh", "-c", f"{{ head -c {size} /dev/zero; sleep 60; }} | tail -n 1 > /dev/null")

    @property
    def unrunnable(self) -> tuple[str, ...]:
        """A command that does not exist."""
        return ("no-such-program",)

    def execution(self, command: tuple[str, ...], *, key: str = "1a", **values: Any) -> Execution:
        """An execution in a directory of its own."""
        directory = self.directory / key
        directory.mkdir(exist_ok=True)
        given = {"environment": {"PATH": "/usr/local/bin:/usr/bin:/bin"}} | values
        return Execution(key, command, directory, **given)

    def stdout(self, key: str = "1a") -> str:
        """What a command said on standard output."""
        return (self.directory / key / STDOUT).read_text(encoding="utf-8")

    def stderr(self, key: str = "1a") -> str:
        """What a command said on standard error."""
        return (self.directory / key / STDERR).read_text(encoding="utf-8")

    def times_begun(self, key: str = "1a") -> int:
        """How often a command of `noting` has begun."""
        file = self.directory / key / "begun"
        return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0

    def is_ready(self, key: str = "1a") -> bool:
        """Whether a command of `tidying` or `with_children` has come so far that it may be ended."""
        return (self.directory / key / "ready").exists()

    def has_tidied(self, key: str = "1a") -> bool:
        """Whether a command of `tidying` was asked to end, and given the time."""
        return (self.directory / key / "tidied").exists()

    def is_gone(self, key: str = "1a") -> bool:
        """Whether no process is left of a command of `with_children`."""
        with (self.directory / key / "held").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(self.timeout):
            while not condition():  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.02)

    def news(self) -> News:
        """A listener."""
        return News(timeout=self.timeout)

    @asynccontextmanager
    async def life(self, listener: Listener) -> AsyncIterator[Executor]:
        """An executor from start to close."""
        executor = self.create(listener)
        await executor.start()
        try:
            yield executor
        finally:
            await executor.aclose()
