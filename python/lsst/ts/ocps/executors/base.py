"""The seam between the service and whatever runs commands."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

__all__ = ["STDERR", "STDOUT", "Execution", "ExecutionStatus", "Executor", "ExecutorError", "ExecutorState"]

STDOUT = "stdout.txt"
STDERR = "stderr.txt"
"""What a command says on standard output and error, in its directory."""


class ExecutorError(Exception):
    """A command could not be handed over; nothing was started.

    Parameters
    ----------
    message
        What was tried and what happened.
    transient
        Whether the same execution may be accepted later.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class ExecutorState(StrEnum):
    """What an execution is doing."""

    WAITING = "waiting"
    """Accepted, not yet running."""

    RUNNING = "running"
    """The command runs."""

    SUCCEEDED = "succeeded"
    """The command ended with exit code 0."""

    FAILED = "failed"
    """The command ended with another exit code, by a signal, or could not be run."""

    CANCELLED = "cancelled"
    """Ended because `Executor.cancel` was asked for."""

    TIMED_OUT = "timed_out"
    """Ended by the executor at the time limit."""

    EXCEEDED = "exceeded"
    """Ended by the executor because it took more than it may: disk or memory."""

    UNKNOWN = "unknown"
    """Nothing is known now. Absence of news is not news: never an end."""

    @property
    def is_final(self) -> bool:
        """Whether the execution has ended."""
        return self not in {ExecutorState.WAITING, ExecutorState.RUNNING, ExecutorState.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Execution:
    """One command to run."""

    key: str
    """The caller's own unique key (``[A-Za-z0-9_-]``); executors find an execution again by it."""

    command: tuple[str, ...]
    """Argument list; never given to a shell."""

    directory: Path
    """Working directory, existing, absolute; standard output and error are written into it as
    ``STDOUT`` and ``STDERR``."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the command: nothing is inherited."""

    time_limit: float | None = None
    """Longest running time (s); None: none."""

    cpus: float = 1
    """Processors asked for."""

    memory: int | None = None
    """Memory asked for (byte); it may be ended when it takes more. None: none is asked for, and there is no
    limit."""

    disk: int | None = None
    """Disk space that its directory may take (byte); it is ended when it takes more. None: no limit."""

    max_output: int | None = None
    """How much is kept of what it says on each of standard output and error (byte): of more, the beginning
    and the end. None: everything."""


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """What is known of an execution."""

    state: ExecutorState
    exit_code: int | None = None
    """Exit code of the command; minus the signal number if a signal ended it."""

    message: str = ""
    """Why it did not succeed, for people."""

    start_time: datetime | None = None
    """When the command began (UTC)."""

    end_time: datetime | None = None
    """When the command ended (UTC)."""


Listener = Callable[[str, ExecutionStatus], None]
"""Called in the event loop with the key and the new status, for each change; must not block.

UNKNOWN says that the executor lost sight of the execution: no more news comes until `Executor.attach`."""


class Executor(ABC):
    """Something that runs commands.

    Contract: `submit` returning means that all later news comes to the listener; `submit` raising means
    that nothing was started and nothing will be, however far it had come. `cancel` is only a request, but one
    that holds for a submission under way, too. The end of an execution is the end of all its processes:
    those that the command has started, and those of them that have left its process group. They are asked to
    end first (SIGTERM), and killed after a time of grace. `attach` finds an execution of an earlier life of
    this process again, and one that the listener was told is UNKNOWN; for one that is followed it changes
    nothing. `withdraw` settles what became of a submission in which an earlier life has died.
    """

    kind: ClassVar[str]
    """Name of the executor in payload definitions: ``local``, ``slurm`` …"""

    uses_this_machine: ClassVar[bool] = False
    """Whether its commands share the processors and the memory of this machine. Whoever submits must then not
    ask for more than there is; other executors keep what has no room yet WAITING."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @abstractmethod
    async def start(self) -> None:
        """Make ready to submit."""

    @abstractmethod
    async def submit(self, execution: Execution) -> str:
        """Hand over a command.

        Returns
        -------
        str
            The native_id, to be kept for `attach`.

        Raises
        ------
        ExecutorError
            If nothing was started.
        """

    def preliminary_id(self) -> str:
        """What is to be kept as the native_id from before `submit` until that returns.

        After a crash between, `attach` and `withdraw` are given it. It may tell them, say, in which life of
        the machine the submission was to happen. Here: nothing.
        """
        return ""

    @abstractmethod
    async def attach(self, execution: Execution, native_id: str) -> ExecutionStatus:
        """Follow again what an earlier process submitted.

        Returns
        -------
        ExecutionStatus
            What is known now. If it is not final, news follows through the listener. An execution of which
            no trace is found is UNKNOWN.
        """

    @abstractmethod
    async def withdraw(self, execution: Execution, native_id: str) -> bool:
        """Make sure that what an earlier life has perhaps submitted never runs, if it has not begun.

        Of a command that begins at the same time and this call, one wins, for good: a submission on its way
        starts nothing after this. `submit` takes the same key again then.

        Parameters
        ----------
        execution
            Key and directory of the execution.
        native_id
            What was kept of it: the ``preliminary_id``.

        Returns
        -------
        bool
            Whether it is certain that nothing was started and nothing will be. If not, nothing was changed.
        """

    @abstractmethod
    async def status(self, key: str) -> ExecutionStatus:
        """What is known now of an execution submitted or attached by this object."""

    @abstractmethod
    async def cancel(self, key: str) -> None:
        """Ask for the end of an execution; harmless when it has ended or is unknown."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop following. Commands keep running; a later process may attach."""
