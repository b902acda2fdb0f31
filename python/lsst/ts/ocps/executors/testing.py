"""An executor without processes, for tests of what uses executors.

It passes the same contract suite as the real ones. Known limitations: only what is said is written into the
directory, and `Execution.cpus` is ignored.
"""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from typing_extensions import override

from .base import STDERR, STDOUT, Execution, ExecutionStatus, Executor, ExecutorError, ExecutorState, Listener

__all__ = ["FakeCluster", "FakeExecutor"]


@dataclass(slots=True)
class _Entry:
    execution: Execution
    status: ExecutionStatus
    listener: Listener | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class FakeCluster:
    """Where the commands of fake executors run; it outlives them, as real commands do.

    Commands are ``("exit", CODE)``, ``("say", OUT, ERR)``, ``("env",)``, ``("sleep", SECONDS)``;
    ``("wait",)``, which runs until `finish`; and ``("take", "disk", BYTES)``, ``("take", "memory", BYTES)``,
    which do so, too, if they may take so much; ``("note", SECONDS)``, which adds a line to the file ``begun``
    and sleeps; ``("tidy",)``, which writes the file ``tidied`` when it is asked to end, and ends by itself;
    ``("resist",)``, which has to be killed. Anything else cannot be run.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._refusals: list[ExecutorError] = []
        self._attempts: Counter[str] = Counter()
        self.loses_answers = 0
        """How many of the next submissions are accepted, but fail to learn of it."""

        self.is_foggy = False
        """Whether the executors lose sight of everything that ends."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all executions ever accepted, in order."""
        return tuple(self._entries)

    def refuse_next(self, error: ExecutorError) -> None:
        """Let the next submission fail."""
        self._refusals.append(error)

    def finish(self, key: str, exit_code: int = 0) -> None:
        """End a running command."""
        state = ExecutorState.SUCCEEDED if exit_code == 0 else ExecutorState.FAILED
        message = f"exit code {exit_code}" if exit_code > 0 else ""
        if exit_code < 0:
            message = f"ended by {signal.Signals(-exit_code).name}"
        self._end(key, state, exit_code, message)

    def lose(self, key: str) -> None:
        """Forget an execution altogether, as a cluster may do."""
        for timer in self._entries.pop(key).timers:
            timer.cancel()

    def lose_sight(self, key: str) -> None:
        """Let the executor that follows an execution lose sight of it; the command goes on."""
        entry = self._entries[key]
        listener, entry.listener = entry.listener, None
        if listener is not None:
            listener(key, ExecutionStatus(ExecutorState.UNKNOWN, message="lost sight of it"))

    def is_followed(self, key: str) -> bool:
        """Whether an executor hears what becomes of an execution."""
        return self._entries[key].listener is not None

    def status(self, key: str) -> ExecutionStatus:
        """What the cluster knows."""
        entry = self._entries.get(key)
        return (
            entry.status
            if entry
            else ExecutionStatus(ExecutorState.UNKNOWN, message="no trace of it is left")
        )

    def attempt_of(self, key: str) -> int:
        """The number that the next submission of a key has to come with."""
        return self._attempts[key]

    def withdraw(self, key: str) -> bool:
        """Refuse all submissions on their way, unless the execution was accepted; whether it was not."""
        if key in self._entries:
            return False
        self._attempts[key] += 1
        return True

    def accept(self, execution: Execution, attempt: int) -> str:
        """Take an execution, or raise what `refuse_next` was given.

        Raises
        ------
        ConnectionError
            If it is taken, but the answer is lost.
        """
        if self._refusals:
            raise self._refusals.pop(0)
        if attempt != self._attempts[execution.key]:
            raise ExecutorError(f"{execution.key} was withdrawn")
        if execution.key in self._entries:
            raise ExecutorError(f"{execution.key} is being run already")
        waiting = ExecutionStatus(ExecutorState.WAITING)
        self._entries[execution.key] = _Entry(execution, waiting)
        asyncio.get_running_loop().call_soon(self._begin, execution.key)
        if self.loses_answers:
            self.loses_answers -= 1
            raise ConnectionError("the answer was lost")
        return f"fake-{execution.key}"

    def listen(self, key: str, listener: Listener | None) -> None:
        """Send the news of one execution to a listener."""
        if entry := self._entries.get(key):
            entry.listener = listener

    def cancel(self, key: str) -> None:
        """End an execution at a user's request."""
        self._end(key, ExecutorState.CANCELLED, -15, "cancelled")

    def _begin(self, key: str) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.status.state is not ExecutorState.WAITING:
            return
        self._set(entry, ExecutionStatus(ExecutorState.RUNNING, start_time=datetime.now(UTC)))
        loop = asyncio.get_running_loop()
        match entry.execution.command:
            case ("exit", code):
                self._exit(entry, int(code))
            case ("say", out, err):
                self._say(entry, out, err)
            case ("env",):
                pairs = entry.execution.environment.items()
                self._say(entry, "".join(f"{name}={value}\0" for name, value in pairs), "")
            case ("sleep", seconds):
                entry.timers.append(loop.call_later(float(seconds), self.finish, key))
            case ("note", seconds):
                with (entry.execution.directory / "begun").open("a", encoding="utf-8") as file:
                    file.write("begun\n")
                entry.timers.append(loop.call_later(float(seconds), self.finish, key))
            case ("wait" | "tidy" | "resist",):
                pass
            case ("take", ("disk" | "memory") as kind, size):
                limit: int | None = getattr(entry.execution, kind)
                if limit is not None and int(size) > limit:
                    message = f"it took {size} byte of {kind}, and may take {limit}"
                    self._end(key, ExecutorState.EXCEEDED, -15, message)
                    return
            case _:
                self._end(key, ExecutorState.FAILED, None, "the command cannot be run: no such command")
                return
        if time_limit := entry.execution.time_limit:
            timed_out = (key, ExecutorState.TIMED_OUT, -15, "the time limit was reached")
            entry.timers.append(loop.call_later(time_limit, self._end, *timed_out))

    def _exit(self, entry: _Entry, code: int) -> None:
        entry.timers.append(asyncio.get_running_loop().call_later(0, self.finish, entry.execution.key, code))

    def _say(self, entry: _Entry, out: str, err: str) -> None:
        """Write what the command says, and end it; a few bytes of a test may be written in the event loop."""
        limit = entry.execution.max_output
        for name, text in ((STDOUT, out), (STDERR, err)):
            if limit is None or len(text) <= limit:
                kept = text
            else:
                kept = f"{text[: limit // 2]}[...]{text[-(limit // 2) :]}"
            (entry.execution.directory / name).write_text(kept, encoding="utf-8")
        self._exit(entry, 0)

    def _end(self, key: str, state: ExecutorState, exit_code: int | None, message: str) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.status.state.is_final:
            return
        for timer in entry.timers:
            timer.cancel()
        start_time = entry.status.start_time
        match entry.execution.command:
            case ("tidy",):
                (entry.execution.directory / "tidied").touch()
                exit_code = 5
            case ("resist",) if exit_code == -signal.SIGTERM:
                exit_code = -signal.SIGKILL
        self._set(entry, ExecutionStatus(state, exit_code, message, start_time, datetime.now(UTC)))

    def _set(self, entry: _Entry, status: ExecutionStatus) -> None:
        entry.status = status
        if status.state.is_final and self.is_foggy:
            self.lose_sight(entry.execution.key)
        elif entry.listener is not None:
            entry.listener(entry.execution.key, status)


class FakeExecutor(Executor):
    """Runs nothing.

    Parameters
    ----------
    listener
        Told of each change.
    cluster
        Where the executions are; give the same one to a second executor to play a restart.
    """

    kind: ClassVar[str] = "fake"
    uses_this_machine: ClassVar[bool] = True

    def __init__(self, listener: Listener, *, cluster: FakeCluster | None = None) -> None:
        super().__init__(listener)
        self.cluster = cluster or FakeCluster()
        self._keys: set[str] = set()

    @override
    async def start(self) -> None:
        """Nothing has to be made ready."""

    @override
    async def submit(self, execution: Execution) -> str:
        key = execution.key
        try:
            native_id = self.cluster.accept(execution, self.cluster.attempt_of(key))
        except ConnectionError as error:
            # It may have been taken; nobody would follow it.
            self.cluster.lose(key)
            raise ExecutorError(str(error), transient=True) from error
        self._follow(key)
        return native_id

    @override
    async def withdraw(self, execution: Execution, native_id: str) -> bool:
        return self.cluster.withdraw(execution.key)

    @override
    async def attach(self, execution: Execution, native_id: str) -> ExecutionStatus:
        self._follow(execution.key)
        return self.cluster.status(execution.key)

    @override
    async def status(self, key: str) -> ExecutionStatus:
        return self.cluster.status(key) if key in self._keys else ExecutionStatus(ExecutorState.UNKNOWN)

    @override
    async def cancel(self, key: str) -> None:
        if key in self._keys:
            self.cluster.cancel(key)

    @override
    async def aclose(self) -> None:
        for key in self._keys:
            self.cluster.listen(key, None)
        self._keys.clear()

    def _follow(self, key: str) -> None:
        self._keys.add(key)
        self.cluster.listen(key, self._hear)

    def _hear(self, key: str, status: ExecutionStatus) -> None:
        if status.state is ExecutorState.UNKNOWN:
            self._keys.discard(key)
        self._listener(key, status)
