"""What a local execution leaves in its directory, and what the process table says of it. Blocks."""

import itertools
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .base import ExecutionStatus, ExecutorState
from .launcher import ENDED, STARTED, boot_id, pid_namespace, process_state

__all__ = [
    "ProcessIdentity",
    "StartTrace",
    "choose_start",
    "end_orphans",
    "is_alive",
    "open_process",
    "read_end",
    "read_start",
    "take_start",
]

_STATES = {
    "exited": ExecutorState.FAILED,  # unless the exit code is 0
    "cancelled": ExecutorState.CANCELLED,
    "timed_out": ExecutorState.TIMED_OUT,
    "not_started": ExecutorState.FAILED,
    "disk": ExecutorState.EXCEEDED,
    "memory": ExecutorState.EXCEEDED,
}
_MAX_BYTES = 4096
"""Far more than a trace has; the command can write into the directory too."""

_MAX_ORPHANS = 10_000
"""An end of the hunt for processes that start others faster than they are killed."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told from all others of this life of the machine."""

    pid: int
    ticks: int
    """Start time in clock ticks since boot."""


@dataclass(frozen=True, slots=True)
class StartTrace:
    """What the launcher wrote before it started the command."""

    launcher: ProcessIdentity
    """It leads the session of the command."""

    boot: str
    namespace: int
    start_time: datetime

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the machine has not been restarted since."""
        return self.boot == boot_id()

    @property
    def is_visible(self) -> bool:
        """Whether the process ids mean the same to us (containers have their own)."""
        return self.namespace == pid_namespace()


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process runs; one that only waits to be reaped does not."""
    state = process_state(process.pid)
    return state is not None and state[0] not in "ZX" and state[3] == process.ticks


def open_process(process: ProcessIdentity) -> int | None:
    """A descriptor of exactly this process (pidfd_open(2)); None if it has ended."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Looked at after opening: from here on the number cannot come to mean another process unnoticed.
    if is_alive(process):
        return pidfd
    os.close(pidfd)
    return None


def choose_start(directory: Path, key: str) -> Path:
    """The file that the next launcher has to create; if it exists, the execution ``key`` is run already."""
    return next(path for path in _start_files(directory) if not _is_withdrawn(path, key))


def take_start(directory: Path, key: str) -> bool:
    """Keep every launcher of the execution ``key`` that there may be from running anything, if none did yet.

    The file that a launcher has to create exclusively is created here: who comes second, leaves.
    `choose_start` names another one then.

    Returns
    -------
    bool
        Whether nothing was run, and nothing will be.
    """
    if (directory / ENDED).exists():
        return False
    path = choose_start(directory, key)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "withdrawn": True}) + "\n")
    except FileExistsError:
        return False
    return True


def _start_files(directory: Path) -> Iterator[Path]:
    first = directory / STARTED
    yield first
    for number in itertools.count(1):
        yield first.with_name(f"{first.stem}.{number}{first.suffix}")


def _is_withdrawn(path: Path, key: str) -> bool:
    match _read_record(path):
        case {"key": str(found), "withdrawn": True}:
            return found == key
        case _:
            return False


def read_start(directory: Path, key: str) -> StartTrace | None:
    """Read who runs the execution ``key``; None if nothing usable is there."""
    match _read_record(choose_start(directory, key)):
        case {
            "key": str(found),
            "pid": int(pid),
            "ticks": int(ticks),
            "boot": str(boot),
            "namespace": int(namespace),
            "time": float(start),
        } if found == key:
            return StartTrace(ProcessIdentity(pid, ticks), boot, namespace, _time(start))
        case _:
            return None


def read_end(directory: Path, key: str) -> ExecutionStatus | None:
    """Read how the execution ``key`` ended; None if it has not, or nothing usable is there."""
    match _read_record(directory / ENDED):
        case {
            "key": str(found),
            "reason": str(reason),
            "start": float(start),
            "end": float(end),
        } as record if found == key and reason in _STATES:
            code = record.get("exit_code")
            exit_code = code if isinstance(code, int) else None
            state = ExecutorState.SUCCEEDED if (reason, exit_code) == ("exited", 0) else _STATES[reason]
            message = _message(reason, exit_code, record)
            return ExecutionStatus(state, exit_code, message, _time(start), _time(end))
        case _:
            return None


def end_orphans(trace: StartTrace) -> int:
    """Kill the processes of the command if its launcher died before them.

    Returns
    -------
    int
        How many there were.
    """
    if not (trace.is_of_this_boot and trace.is_visible):
        return 0
    if trace.launcher.pid in {0, os.getsid(0)}:
        # A launcher leads a session of its own, so this names none; and ours, whose leader may well
        # be gone, would take us with it.
        return 0
    killed = 0
    # More than once, because they may be starting others.
    while orphans := _orphans(trace.launcher):
        for pidfd in orphans:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        killed += len(orphans)
        if killed > _MAX_ORPHANS:
            break
    return killed


def _orphans(launcher: ProcessIdentity) -> list[int]:
    """Descriptors of the running processes in the session of a launcher that is gone."""
    leader = process_state(launcher.pid)
    if leader is not None and (leader[3] != launcher.ticks or leader[0] not in "ZX"):
        # It lives, or its number is used anew, which it is only when nobody is left of its session.
        return []
    found = []
    for entry in os.scandir("/proc"):
        state = process_state(entry.name) if entry.name.isdigit() else None
        if state is not None and state[2] == launcher.pid and state[0] not in "ZX":
            found.append(open_process(ProcessIdentity(int(entry.name), state[3])))
    return [pidfd for pidfd in found if pidfd is not None]


def _read_record(path: Path) -> Any:
    """The JSON object in a file; None if there is no such file or it is not whole."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        # Absent, or cut by a crash of the machine: both mean that nothing is known.
        return None


def _message(reason: str, exit_code: int | None, record: Mapping[str, Any]) -> str:
    if reason in {"disk", "memory"}:
        used, limit = _size(record.get("used")), _size(record.get("limit"))
        return f"it took {used} of {reason}, and may take {limit}"
    if reason == "not_started":
        errno = record.get("errno")
        return (
            f"the command cannot be run: {os.strerror(errno) if isinstance(errno, int) else 'unknown error'}"
        )
    if reason == "timed_out":
        return "the time limit was reached"
    if reason == "cancelled":
        return "cancelled"
    if exit_code is not None and exit_code < 0:
        return f"ended by {_signal_name(-exit_code)}"
    return f"exit code {exit_code}" if exit_code else ""


def _size(number: Any) -> str:
    """A size for people, never rounded to the same text as another one that differs by a percent."""
    size = float(number) if isinstance(number, int) else 0.0
    for unit in ("byte", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
