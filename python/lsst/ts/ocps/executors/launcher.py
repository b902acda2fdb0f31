"""Run one command, and leave behind how it ended.

Run as a file, ``python -I -S launcher.py KEY DIRECTORY START LIMITS COMMAND ARGUMENT…``, in a session of
its own; LIMITS are five numbers (see `Limits`), 0 for none. It does nothing before it has read a byte from
standard input, and ends where none is to come: whoever starts it may fail, or die, before it is followed. It
outlives the program that started it, so the truth about the command survives a crash of that program:

* START in the directory (`STARTED` or, after a withdrawal, another name), created exclusively before the
  command is started, so that one key never runs twice: the identity of this launcher, which leads the session
  that the command lives in. Where it is there already, somebody else runs the command, or has made sure that
  this launcher does not;
* `ENDED`, which appears whole or not at all: exit code, who asked for the end, start and end time.

The command gets a process group of its own. SIGTERM to this process cancels it: SIGTERM to all others of the
session, SIGKILL after the grace. The limits of time, disk and memory do the same; disk and memory are looked
at every second, so that what is taken for a shorter time is not seen. What is left of the session at the end
is killed. What the command says passes through pipes, so that no more of it is kept than allowed.

Every job pays for the start of this program, so it imports next to nothing: the public ``signal`` module
alone would cost as much as all the rest together.
"""

# ruff: noqa: PTH105, PTH116, PTH123, PTH208 (pathlib costs more than this whole program)

import _signal  # type: ignore[import-not-found]
import _thread
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
_EXITED = '"reason": "exited"'
_REST_POLL = 0.02
"""How often the rest of a session that was asked to end is looked at (s)."""

_DYING_TIME = 5.0
"""How long killed processes are waited for (s)."""

_LOOK = 1.0
"""How often disk and memory are looked at (s)."""

_CHUNK = 64 * 1024
_TAIL = 64 * 1024
"""How much of the end is kept where too much was said (byte); the rest is kept of the beginning."""

_DRAIN_TIME = 1.0
"""How long the last words are waited for (s): what escaped from the group may keep a pipe open for ever."""


class Limits:
    """What the command may take.

    Parameters
    ----------
    texts
        Longest running time (s), grace (s), kept output of each stream (byte), disk (byte), memory (byte).
    """

    NUMBER = 5

    def __init__(self, texts: list[str]) -> None:
        time_limit, grace, output, disk, memory = texts
        self.time, self.grace = float(time_limit), float(grace)
        self.output, self.disk, self.memory = int(output), int(disk), int(memory)

    def find_excess(self) -> str:
        """What the command has taken too much of, as JSON members; nothing if it has not."""
        if self.disk and (used := _disk_used(".")) > self.disk:
            return f'"reason": "disk", "used": {used}, "limit": {self.disk}'
        if self.memory and (used := _memory_used(self.memory)) > self.memory:
            return f'"reason": "memory", "used": {used}, "limit": {self.memory}'
        return ""


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
    key, directory, start_name, *rest = arguments
    limits, command = Limits(rest[: Limits.NUMBER]), rest[Limits.NUMBER :]
    _signal.pthread_sigmask(_signal.SIG_BLOCK, _WATCHED)
    os.chdir(directory)
    if not _wait_for_go():
        return 0
    start = time.time()
    if not _write_start(start_name, key, start):
        # In silence: what is said here is said by the command.
        return 3
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    try:
        # In our session, so that it can be found if we are killed; in a group of its own.
        pid = os.posix_spawnp(
            command[0],
            command,
            _environment(),
            file_actions=((os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)),
            setpgroup=0,
            setsigmask=(),
            setsigdef=_RESET,
        )
    except OSError as error:
        _write_end(key, f'"reason": "not_started", "errno": {error.errno}', start)
        return 0
    os.close(out_end)
    os.close(err_end)
    streams = [Stream(out, 1, limits.output), Stream(err, 2, limits.output)]
    reason = _wait(pid, limits)
    end = time.time()
    code = _clear_session(pid, 0.0 if reason == _EXITED else limits.grace)
    deadline = time.monotonic() + _DRAIN_TIME
    for stream in streams:
        stream.finish(deadline)
    _write_end(key, f'{reason}, "exit_code": {code}', start, end)
    return 0


class Stream:
    """Copies what the command says into a file; of too much, the beginning and the end.

    Parameters
    ----------
    source, target
        Descriptors of the pipe and of the file.
    limit
        How much is kept (byte); 0: everything.
    """

    def __init__(self, source: int, target: int, limit: int) -> None:
        self._source, self._target = source, target
        self._tail_size = min(limit // 2, _TAIL)
        self._head_left = limit - self._tail_size if limit else 2**63
        self._tail = bytearray()
        self._left_out = 0
        self._at_end = _thread.allocate_lock()
        self._at_end.acquire()
        _thread.start_new_thread(self._copy, ())

    def finish(self, deadline: float) -> None:
        """Wait for the end of the pipe, not for ever, and write down the end."""
        self._at_end.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if self._left_out:
            self._write(f"\n[... {self._left_out} bytes are left out ...]\n".encode())
        self._write(self._tail)

    def _copy(self) -> None:
        while chunk := os.read(self._source, _CHUNK):
            head, tail = chunk[: self._head_left], chunk[self._head_left :]
            self._head_left -= len(head)
            # A disk that is full must not stop the command.
            self._left_out += len(head) - self._write(head)
            self._tail += tail
            if (excess := len(self._tail) - self._tail_size) > 0:
                self._left_out += excess
                del self._tail[:excess]
        self._at_end.release()

    def _write(self, data: bytes | bytearray) -> int:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._target, data[done:])
        except OSError:
            # The file is where it would be told.
            return done
        return done


def _wait_for_go() -> bool:
    """Wait until somebody follows us; False if nobody ever will. Standard input is empty afterwards."""
    is_followed = bool(os.read(0, 1))
    with open(os.devnull, "rb", 0) as null:
        os.dup2(null.fileno(), 0)
    return is_followed


def _write_start(name: str, key: str, start: float) -> bool:
    """Tell who runs the command; False if it is not for us to do so."""
    state = process_state(os.getpid())
    ticks = state[3] if state else 0
    identity = (
        f'"pid": {os.getpid()}, "ticks": {ticks}, "boot": "{boot_id()}", "namespace": {pid_namespace()}'
    )
    try:
        file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    os.write(file, f'{{"key": "{key}", {identity}, "time": {start:.6f}}}\n'.encode())
    os.close(file)
    return True


def _environment() -> dict[bytes, bytes]:
    """What this program was given for the command, without what the interpreter adds (PEP 538)."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs}


def _wait(pid: int, limits: Limits) -> str:
    """Wait for the end of the command, asking for it at a limit or when told; say why it ended."""
    reason = _EXITED
    deadline = time.monotonic() + limits.time if limits.time > 0 else None
    looks = bool(limits.disk or limits.memory)
    while True:
        received = _wait_for_signal(deadline, _LOOK if looks and reason == _EXITED else None)
        # The signals are blocked, not lost: an end that came before the request is what counts.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return reason
        is_late = deadline is not None and time.monotonic() >= deadline
        if reason != _EXITED:
            if is_late:
                # The grace is over.
                _signal_all(pid, _signal.SIGKILL)
                deadline = None
            continue
        if received is not None and received.si_signo != _signal.SIGCHLD:
            reason = '"reason": "cancelled"'
        elif is_late:
            reason = '"reason": "timed_out"'
        else:
            reason = limits.find_excess() or _EXITED
        if reason != _EXITED:
            _signal_all(pid, _signal.SIGTERM)
            deadline = time.monotonic() + limits.grace


def _wait_for_signal(deadline: float | None, longest: float | None) -> "_signal.struct_siginfo | None":
    """Wait for a signal, to the deadline, but not longer than so many seconds."""
    times = [] if longest is None else [longest]
    if deadline is not None:
        times.append(max(0.0, deadline - time.monotonic()))
    return _signal.sigtimedwait(_WATCHED, min(times)) if times else _signal.sigwaitinfo(_WATCHED)


def _disk_used(directory: str) -> int:
    """The disk space of everything below a directory (byte); what cannot be read counts nothing."""
    used, seen, directories = 0, set(), [directory]
    while directories:
        try:
            with os.scandir(directories.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) not in seen:
                        used += status.st_blocks * 512
                    if status.st_nlink > 1:
                        seen.add((status.st_dev, status.st_ino))
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
        except OSError:
            # It was removed meanwhile, or the command has locked itself out of it.
            continue
    return used


def _memory_used(limit: int) -> int:
    """The memory of the command and of its descendants (byte), exact only if it may be too much."""
    processes = _descendants(os.getpid())
    # In pages: all, resident…
    pages = sum(int(words[1]) for pid in processes if (words := _read_words(f"/proc/{pid}/statm")))
    used = pages * os.sysconf("SC_PAGE_SIZE")
    if used <= limit:
        return used
    # Pages that processes share were counted once for each. What follows is right, but takes longer.
    used = 0
    for pid in processes:
        words = _read_words(f"/proc/{pid}/smaps_rollup")
        if "Pss:" in words:
            used += int(words[words.index("Pss:") + 1]) * 1024
    return used


def _descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found, unseen = [], [pid]
    while unseen:
        parent = unseen.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            # It has ended meanwhile.
            continue
        for thread in threads:
            children = [int(child) for child in _read_words(f"/proc/{parent}/task/{thread}/children")]
            found += children
            unseen += children
    return found


def _read_words(path: str) -> list[str]:
    """The words in a file; none if it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _signal_all(group: int, signal_number: int) -> None:
    """Signal the group of the command, all at once, and what has left it for a group of its own."""
    try:
        os.killpg(group, signal_number)
    except PermissionError as error:
        # The command took the rights of another user; its end is still waited for.
        os.write(2, f"cannot signal process group {group}: {error.strerror}\n".encode())
    for pid, its_group in _list_session():
        if its_group != group:
            _signal_member(pid, signal_number)


def _signal_member(pid: int, signal_number: int) -> None:
    """Signal a process of our session."""
    try:
        with open(os.pidfd_open(pid), "rb", 0) as pidfd:
            # Looked at after opening: from here on the number cannot come to mean another process unnoticed.
            if os.getsid(pid) == os.getpid():
                _signal.pidfd_send_signal(pidfd.fileno(), signal_number)
    except OSError as error:
        if not isinstance(error, ProcessLookupError):
            os.write(2, f"cannot signal process {pid}: {error.strerror}\n".encode())


def _clear_session(group: int, grace: float) -> int:
    """End what is left of our session; the exit code of the leader of the group, which has ended."""
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and _list_session():
        time.sleep(_REST_POLL)  # noqa: TID251 (this program has no event loop)
    # While its leader is not reaped, the number cannot come to mean another group.
    _signal_all(group, _signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(group, 0)[1])
    deadline = time.monotonic() + _DYING_TIME
    while time.monotonic() < deadline and (rest := _list_session()):
        for pid, _ in rest:
            _signal_member(pid, _signal.SIGKILL)
        time.sleep(_REST_POLL)  # noqa: TID251 (this program has no event loop)
    return code


def _list_session() -> list[tuple[int, int]]:
    """The processes of our session that run, but ourselves, each with its group; zombies do not count."""
    found, own = [], os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            # A call for each; to read a file for each would take ten times as long.
            is_ours = int(name) != own and os.getsid(int(name)) == own
        except OSError:
            # It has ended.
            continue
        state = process_state(name) if is_ours else None
        if state is not None and state[0] not in "ZX":
            found.append((int(name), state[1]))
    return found


def _write_end(key: str, facts: str, start: float, end: float | None = None) -> None:
    text = f'{{"key": "{key}", {facts}, "start": {start:.6f}, "end": {end or time.time():.6f}}}\n'
    # Not synced to the disk: after a power failure the command is gone, and half a file counts for none.
    with open(ENDED + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(ENDED + ".part", ENDED)


if __name__ == "__main__":
    # Without the tidying up of the interpreter, which the waiting service would have to wait for.
    os._exit(main(sys.argv[1:]))
