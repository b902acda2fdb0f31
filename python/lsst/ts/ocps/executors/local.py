"""Commands as processes of this machine."""

import asyncio
import errno
import logging
import os
import signal
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from . import launcher
from .base import STDERR, STDOUT, Execution, ExecutionStatus, Executor, ExecutorError, ExecutorState, Listener
from .traces import ProcessIdentity, end_orphans, open_process, read_end, read_start

__all__ = ["LocalExecutor"]

_REMEMBERED = 1000
"""How many ended executions `LocalExecutor.status` can still tell of."""

_RESTARTED = "the machine was restarted while the command ran"
_TRANSIENT = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class _Followed:
    """A launcher that we watch."""

    execution: Execution
    pidfd: int
    start_time: datetime


class LocalExecutor(Executor):
    """Runs each command under a small launcher of its own (see ``launcher.py``).

    The launcher enforces the time limit and survives this process, so that `attach` finds the truth. Linux
    only: processes are watched by pidfd_open(2), which also works for those that are not our children.

    Parameters
    ----------
    listener
        Told of each change.
    grace
        Time between the request to end (SIGTERM) and SIGKILL (s).
    """

    kind: ClassVar[str] = "local"
    uses_this_machine: ClassVar[bool] = True

    def __init__(self, listener: Listener, *, grace: float = 10.0) -> None:
        super().__init__(listener)
        self._grace = grace
        self._followed: dict[str, _Followed] = {}
        self._ended: OrderedDict[str, ExecutionStatus] = OrderedDict()
        self._log = logging.getLogger(__name__)
        self._tasks = TaskSupervisor("local executor", log=self._log)

    @override
    async def start(self) -> None:
        if not hasattr(os, "pidfd_open"):
            raise ExecutorError("the local executor needs pidfd_open(2): Linux 5.3 or newer")

    @override
    async def submit(self, execution: Execution) -> str:
        if execution.key in self._followed:
            raise ExecutorError(f"{execution.key} is being run already")
        start_time = datetime.now(UTC)
        try:
            native_id, pidfd = await asyncio.to_thread(_launch, execution, self._grace)
        except (OSError, ValueError) as error:
            reason = f"{execution.key} cannot be started in {execution.directory}: {error}"
            transient = isinstance(error, OSError) and error.errno in _TRANSIENT
            raise ExecutorError(reason, transient=transient) from error
        self._follow(execution, pidfd, start_time)
        # After the caller has the native_id.
        asyncio.get_running_loop().call_soon(self._tell_running, execution.key)
        return native_id

    @override
    async def attach(self, execution: Execution, native_id: str) -> ExecutionStatus:
        key = execution.key
        if key in self._followed or key in self._ended:
            return await self.status(key)
        status, pidfd = await asyncio.to_thread(_find, execution, native_id)
        if pidfd is not None:
            self._follow(execution, pidfd, status.start_time or datetime.now(UTC))
        elif status.state.is_final:
            self._remember(key, status)
        return status

    @override
    async def status(self, key: str) -> ExecutionStatus:
        if followed := self._followed.get(key):
            return ExecutionStatus(ExecutorState.RUNNING, start_time=followed.start_time)
        return self._ended.get(key) or ExecutionStatus(ExecutorState.UNKNOWN)

    @override
    async def cancel(self, key: str) -> None:
        if followed := self._followed.get(key):
            try:
                signal.pidfd_send_signal(followed.pidfd, signal.SIGTERM)
            except ProcessLookupError:
                self._log.debug("%s ended before it could be cancelled", key)

    @override
    async def aclose(self) -> None:
        loop = asyncio.get_running_loop()
        for followed in self._followed.values():
            loop.remove_reader(followed.pidfd)
        await self._tasks.aclose()
        for followed in self._followed.values():
            os.close(followed.pidfd)
        self._followed.clear()

    def _follow(self, execution: Execution, pidfd: int, start_time: datetime) -> None:
        try:
            asyncio.get_running_loop().add_reader(pidfd, self._note_end, execution.key)
        except OSError:
            os.close(pidfd)
            raise
        # Only now: what nobody watches must not pass for followed.
        self._followed[execution.key] = _Followed(execution, pidfd, start_time)

    def _note_end(self, key: str) -> None:
        followed = self._followed[key]
        asyncio.get_running_loop().remove_reader(followed.pidfd)
        _ = self._tasks.start(self._report_end(followed), name=f"end of {key}")

    async def _report_end(self, followed: _Followed) -> None:
        execution = followed.execution
        try:
            status = await asyncio.to_thread(_learn_end, execution.directory, execution.key, followed.pidfd)
        except Exception as error:  # noqa: BLE001 (it goes to the listener, who follows again or gives up)
            self._log.exception("how %s ended cannot be learned", execution.key)
            message = f"how it ended cannot be learned: {type(error).__name__}: {error}"
            status = ExecutionStatus(ExecutorState.UNKNOWN, message=message, start_time=followed.start_time)
        if self._followed.pop(execution.key, None) is not None:
            os.close(followed.pidfd)
        if status.state.is_final:
            self._remember(execution.key, status)
        self._listener(execution.key, status)

    def _remember(self, key: str, status: ExecutionStatus) -> None:
        self._ended[key] = status
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _tell_running(self, key: str) -> None:
        if followed := self._followed.get(key):
            self._listener(key, ExecutionStatus(ExecutorState.RUNNING, start_time=followed.start_time))


def _launch(execution: Execution, grace: float) -> tuple[str, int]:
    """Start the launcher; its native_id, and a descriptor that tells of its end."""
    directory = str(execution.directory)
    if (execution.directory / launcher.STARTED).exists():
        raise FileExistsError(errno.EEXIST, "a command was run in this directory before", launcher.STARTED)
    # None is no limit.
    limits = (
        execution.time_limit or 0,
        grace,
        execution.max_output or 0,
        execution.disk or 0,
        execution.memory or 0,
    )
    arguments = (
        *(sys.executable, "-I", "-S", launcher.__file__),
        *(execution.key, directory, *map(str, limits)),
        *execution.command,
    )
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    # All our own descriptors are closed on exec (PEP 446). Not subprocess.Popen: it takes a child that
    # outlives us for a mistake, and cannot block SIGTERM until the launcher is ready for it.
    pid = os.posix_spawn(
        sys.executable,
        arguments,
        execution.environment,
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, f"{directory}/{STDOUT}", writing, 0o644),
            (os.POSIX_SPAWN_OPEN, 2, f"{directory}/{STDERR}", writing, 0o644),
        ),
        setsid=True,
        setsigmask=(signal.SIGTERM,),
        setsigdef=(signal.SIGTERM,),
    )
    state = launcher.process_state(pid)
    return f"{pid}.{state[3] if state else 0}.{launcher.boot_id()}", os.pidfd_open(pid)


def _find(execution: Execution, native_id: str) -> tuple[ExecutionStatus, int | None]:
    """What is known of an execution of an earlier life, and a descriptor if its launcher runs."""
    directory, key = execution.directory, execution.key
    if ended := read_end(directory, key):
        return ended, None
    trace = read_start(directory, key)
    if trace is None:
        return _find_without_trace(native_id)
    if not trace.is_of_this_boot:
        return ExecutionStatus(ExecutorState.FAILED, message=_RESTARTED, start_time=trace.start_time), None
    if not trace.is_visible:
        message = "its processes belong to another container"
        return ExecutionStatus(ExecutorState.UNKNOWN, message=message, start_time=trace.start_time), None
    if (pidfd := open_process(trace.launcher)) is not None:
        return ExecutionStatus(ExecutorState.RUNNING, start_time=trace.start_time), pidfd
    return _learn_end(directory, key, None), None


def _find_without_trace(native_id: str) -> tuple[ExecutionStatus, int | None]:
    """What is known of an execution whose launcher has written nothing, or whose trace is lost."""
    process, boot = _parse_native_id(native_id)
    if boot not in {"", launcher.boot_id()}:
        # Its number may be that of a stranger now.
        return ExecutionStatus(ExecutorState.FAILED, message=_RESTARTED), None
    # Perhaps it is only just starting.
    pidfd = open_process(process) if process else None
    if pidfd is None:
        return ExecutionStatus(ExecutorState.UNKNOWN, message="no trace of it is left"), None
    return ExecutionStatus(ExecutorState.RUNNING), pidfd


def _learn_end(directory: Path, key: str, pidfd: int | None) -> ExecutionStatus:
    """How an execution ended whose launcher is gone."""
    if pidfd is not None:
        _reap(pidfd)
    if ended := read_end(directory, key):
        return ended
    trace = read_start(directory, key)
    if trace is None:
        message = "its launcher failed before the command was started"
    elif end_orphans(trace):
        message = (
            "its launcher was killed, and so was the command, because nobody could have told how it ended"
        )
    else:
        message = "its launcher was killed; nobody can tell how the command ended"
    start_time = trace.start_time if trace else None
    return ExecutionStatus(ExecutorState.FAILED, None, message, start_time, datetime.now(UTC))


def _reap(pidfd: int) -> None:
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        # A launcher that an earlier life of this process started is not our child.
        return


def _parse_native_id(native_id: str) -> tuple[ProcessIdentity | None, str]:
    """The launcher, and the life of the machine that it belongs to ("" if that was not told)."""
    pid, ticks, boot = (*native_id.split("."), "", "", "")[:3]
    return (ProcessIdentity(int(pid), int(ticks)) if pid.isdigit() and ticks.isdigit() else None), boot
