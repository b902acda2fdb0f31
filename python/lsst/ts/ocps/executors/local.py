"""Commands as processes of this machine."""

import asyncio
import errno
import logging
import os
import signal
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from . import launcher
from .base import Execution, ExecutionStatus, Executor, ExecutorError, ExecutorState, Listener
from .launching import Launch
from .traces import ProcessIdentity, end_orphans, open_process, read_end, read_start, take_start

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
        self._submitting: set[str] = set()
        self._unwanted: set[str] = set()
        self._ended: OrderedDict[str, ExecutionStatus] = OrderedDict()
        self._log = logging.getLogger(__name__)
        self._tasks = TaskSupervisor("local executor", log=self._log)

    @override
    async def start(self) -> None:
        if not hasattr(os, "pidfd_open"):
            raise ExecutorError("the local executor needs pidfd_open(2): Linux 5.3 or newer")

    @override
    async def submit(self, execution: Execution) -> str:
        key = execution.key
        if key in self._followed or key in self._submitting:
            raise ExecutorError(f"{key} is being run already")
        self._submitting.add(key)
        try:
            launch = await self._launch(execution)
        except (OSError, ValueError) as error:
            reason = f"{key} cannot be started in {execution.directory}: {error}"
            transient = isinstance(error, OSError) and error.errno in _TRANSIENT
            raise ExecutorError(reason, transient=transient) from error
        finally:
            is_unwanted = key in self._unwanted
            self._submitting.discard(key)
            self._unwanted.discard(key)
        if is_unwanted:
            await self.cancel(key)
        # After the caller has the native_id.
        asyncio.get_running_loop().call_soon(self._tell_running, key)
        return launch.native_id

    async def _launch(self, execution: Execution) -> Launch:
        """Start a launcher, and let it run the command as soon as it is followed."""
        start_time = datetime.now(UTC)
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(None, Launch.start, execution, self._grace)
        try:
            launch = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be stopped; what it has started must not be left waiting.
            await loop.run_in_executor(None, (await starting).call_off)
            raise
        try:
            self._follow(execution, launch.pidfd, start_time)
            launch.go()
        except OSError:
            self._unfollow(execution.key)
            await asyncio.to_thread(launch.call_off)
            raise
        return launch

    @override
    def preliminary_id(self) -> str:
        return f"..{launcher.boot_id()}"

    @override
    async def withdraw(self, execution: Execution, native_id: str) -> bool:
        if execution.key in self._followed or execution.key in self._submitting:
            return False
        return await asyncio.to_thread(_withdraw, execution, native_id)

    @override
    async def attach(self, execution: Execution, native_id: str) -> ExecutionStatus:
        key = execution.key
        if key in self._followed or key in self._ended:
            return await self.status(key)
        status, pidfd = await asyncio.to_thread(_find, execution, native_id)
        if pidfd is not None:
            try:
                self._follow(execution, pidfd, status.start_time or datetime.now(UTC))
            except OSError:
                os.close(pidfd)
                raise
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
        if key in self._submitting:
            self._unwanted.add(key)
        elif followed := self._followed.get(key):
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
        asyncio.get_running_loop().add_reader(pidfd, self._note_end, execution.key)
        # Only now: what nobody watches must not pass for followed.
        self._followed[execution.key] = _Followed(execution, pidfd, start_time)

    def _unfollow(self, key: str) -> None:
        if followed := self._followed.pop(key, None):
            asyncio.get_running_loop().remove_reader(followed.pidfd)

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
        # Its number may be that of a stranger now; and what it had written may have been lost.
        return ExecutionStatus(ExecutorState.FAILED, message=_RESTARTED), None
    # Perhaps it is only just starting.
    pidfd = open_process(process) if process else None
    if pidfd is None:
        return ExecutionStatus(ExecutorState.UNKNOWN, message="no trace of it is left"), None
    return ExecutionStatus(ExecutorState.RUNNING), pidfd


def _withdraw(execution: Execution, native_id: str) -> bool:
    """Make sure that nothing was run, and nothing will be; False if it was, or nobody can tell."""
    _, boot = _parse_native_id(native_id)
    if boot != launcher.boot_id():
        # What has been written just before the machine went down may be lost: an absent file tells nothing.
        return False
    execution.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return take_start(execution.directory, execution.key)


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
