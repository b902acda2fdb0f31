"""Run one command, and leave behind how it ended.

Run as a file, ``python -I -S launcher.py KEY DIRECTORY LIMIT GRACE COMMAND ARGUMENT…``, in a session of its
own. It outlives the program that started it, so the truth about the command survives a crash of that program:

* `STARTED` in the directory, created exclusively before the command is started, so that one key never runs
  twice: the identity of this launcher, which leads the session that the command lives in;
* `ENDED`, which appears whole or not at all: exit code, who asked for the end, start and end time.

The command gets a process group of its own. SIGTERM to this process cancels it: SIGTERM to the group, SIGKILL
after the grace. The time limit does the same. What is left of the group when the command has ended is killed.

Every job pays for the start of this program, so it imports next to nothing: the public ``signal`` module
alone would cost as much as all the rest together.
"""

# ruff: noqa: PTH105, PTH116, PTH123, PTH208 (pathlib costs more than this whole program)

import _signal  # type: ignore[import-not-found]
import os
import sys
import time

__all__ = ["ENDED", "STARTED", "boot_id", "main", "pid_namespace", "process_state"]

STARTED = ".started.json"
"""Name of the file that tells who runs the command."""

ENDED = ".ended.json"
"""Name of the file that tells how the command ended."""

_STOP_SIGNALS = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)
_WATCHED = (*_STOP_SIGNALS, _signal.SIGCHLD)
# Python ignores the last two for itself; the others may be ignored by whoever started the service.
_RESET = (*_WATCHED, _signal.SIGQUIT, _signal.SIGPIPE, _signal.SIGXFSZ)
_GROUP_POLL = 0.02
"""How often the rest of a group that was asked to end is looked at (s)."""

_DYING_TIME = 5.0
"""How long killed processes are waited for (s)."""


def boot_id() -> str:
    """The identity of this life of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def pid_namespace() -> int:
    """The identity of the world in which our process ids mean something."""
    return os.stat("/proc/self/ns/pid").st_ino


def process_state(pid: int | str) -> tuple[str, int, int, int] | None:
    """State letter, group, session and start time of a process (clock ticks since boot), if it exists.

    A process id together with a start time is never used twice in one life of the machine (proc(5)).
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in brackets, may contain anything, brackets and blanks too.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[2]), int(fields[3]), int(fields[19])


def main(arguments: list[str]) -> int:
    """Run the command and write the two files."""
    key, directory, limit_text, grace_text, *command = arguments
    limit, grace = float(limit_text), float(grace_text)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, _WATCHED)
    os.chdir(directory)
    start = time.time()
    _write_start(key, start)
    try:
        # In our session, so that it can be found if we are killed; in a group of its own.
        pid = os.posix_spawnp(
            command[0], command, _environment(), setpgroup=0, setsigmask=(), setsigdef=_RESET
        )
    except OSError as error:
        _write_end(key, f'"reason": "not_started", "errno": {error.errno}', start)
        return 0
    reason = _wait(pid, limit, grace)
    end = time.time()
    code = _clear_group(pid, 0.0 if reason == "exited" else grace)
    _write_end(key, f'"reason": "{reason}", "exit_code": {code}', start, end)
    return 0


def _write_start(key: str, start: float) -> None:
    state = process_state(os.getpid())
    ticks = state[3] if state else 0
    identity = (
        f'"pid": {os.getpid()}, "ticks": {ticks}, "boot": "{boot_id()}", "namespace": {pid_namespace()}'
    )
    file = os.open(STARTED, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    os.write(file, f'{{"key": "{key}", {identity}, "time": {start:.6f}}}\n'.encode())
    os.close(file)


def _environment() -> dict[bytes, bytes]:
    """What this program was given for the command, without what the interpreter adds (PEP 538)."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs}


def _wait(pid: int, limit: float, grace: float) -> str:
    """Wait for the end of the command, asking for it at the limit or when told; say why it ended."""
    reason = "exited"
    deadline = time.monotonic() + limit if limit > 0 else None
    while True:
        if deadline is None:
            received = _signal.sigwaitinfo(_WATCHED)
        else:
            received = _signal.sigtimedwait(_WATCHED, max(0.0, deadline - time.monotonic()))
        # The signals are blocked, not lost: an end that came before the request is what counts.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return reason
        if received is None and reason != "exited":
            # The grace is over.
            _signal_group(pid, _signal.SIGKILL)
            deadline = None
        elif reason == "exited" and (received is None or received.si_signo != _signal.SIGCHLD):
            reason = "timed_out" if received is None else "cancelled"
            _signal_group(pid, _signal.SIGTERM)
            deadline = time.monotonic() + grace


def _signal_group(group: int, signal_number: int) -> None:
    try:
        os.killpg(group, signal_number)
    except PermissionError as error:
        # The command took the rights of another user; its end is still waited for.
        os.write(2, f"cannot signal process group {group}: {error.strerror}\n".encode())


def _clear_group(group: int, grace: float) -> int:
    """End what is left of the group; the exit code of its leader, which has ended."""
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and _group_lives(group):
        time.sleep(_GROUP_POLL)  # noqa: TID251 (this program has no event loop)
    # While its leader is not reaped, the number cannot come to mean another group.
    _signal_group(group, _signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(group, 0)[1])
    deadline = time.monotonic() + _DYING_TIME
    while time.monotonic() < deadline and _group_exists(group) and _group_lives(group):
        time.sleep(_GROUP_POLL)  # noqa: TID251 (this program has no event loop)
    return code


def _group_exists(group: int) -> bool:
    """Whether anything of the group is left: a cheap question, and nearly always the last one."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _group_lives(group: int) -> bool:
    """Whether a process of the group runs; those that wait for their parent's attention do not count."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            state = process_state(name)
            if state is not None and state[1] == group and state[0] not in "ZX":
                return True
    return False


def _write_end(key: str, facts: str, start: float, end: float | None = None) -> None:
    text = f'{{"key": "{key}", {facts}, "start": {start:.6f}, "end": {end or time.time():.6f}}}\n'
    # Not synced to the disk: after a power failure the command is gone anyway, and a reader takes a file that
    # is not whole for none.
    with open(ENDED + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(ENDED + ".part", ENDED)


if __name__ == "__main__":
    # Without the tidying up of the interpreter, which the waiting service would have to wait for.
    os._exit(main(sys.argv[1:]))
