"""Starting a launcher in two steps, so that a command runs only if somebody follows it. Blocks."""

import errno
import os
import signal
import sys
from typing import Self

from . import launcher
from .base import STDERR, STDOUT, Execution
from .traces import choose_start

__all__ = ["Launch"]

_SHARED_MODE = 0o644


class Launch:
    """A launcher that waits for its go; without one it ends, and has run nothing.

    Parameters
    ----------
    pid
        The launcher, a child of this process.
    go_end
        Descriptor that it is told by; closed by `go` and `call_off`.
    """

    def __init__(self, pid: int, go_end: int) -> None:
        self._pid = pid
        self._go_end = go_end
        state = launcher.process_state(pid)
        self.native_id = f"{pid}.{state[3] if state else 0}.{launcher.boot_id()}"
        """What finds the launcher again."""

        self.pidfd = os.pidfd_open(pid)
        """Tells of its end; closed by `call_off`, else by the caller."""

    @classmethod
    def start(cls, execution: Execution, grace: float) -> Self:
        """Start the launcher of an execution.

        Raises
        ------
        OSError, ValueError
            If that is impossible; nothing is left of it.
        """
        start = choose_start(execution.directory, execution.key)
        if start.exists():
            raise FileExistsError(errno.EEXIST, "a command was run in this directory before", start.name)
        read_end, go_end = os.pipe()
        try:
            pid = _spawn(execution, grace, start.name, read_end)
        except BaseException:
            os.close(go_end)
            raise
        finally:
            os.close(read_end)
        try:
            return cls(pid, go_end)
        except BaseException:
            _end(pid, go_end)
            raise

    def go(self) -> None:
        """Let the command be run.

        Raises
        ------
        OSError
            If the launcher is gone; then nothing was run.
        """
        os.write(self._go_end, b"\n")
        os.close(self._go_end)

    def call_off(self) -> None:
        """End the launcher, which was not told to go."""
        os.close(self.pidfd)
        _end(self._pid, self._go_end)


def _end(pid: int, go_end: int) -> None:
    # Nobody else reaps it, so the number is still its own.
    os.kill(pid, signal.SIGKILL)
    os.close(go_end)
    os.waitpid(pid, 0)


def _spawn(execution: Execution, grace: float, start_name: str, go: int) -> int:
    # None is no limit.
    limits = (
        execution.time_limit or 0,
        grace,
        execution.max_output or 0,
        execution.disk or 0,
        execution.memory or 0,
    )
    directory = str(execution.directory)
    arguments = (
        *(sys.executable, "-I", "-S", launcher.__file__),
        *(execution.key, directory, start_name, *map(str, limits)),
        *execution.command,
    )
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    # All our other descriptors are closed on exec (PEP 446). Not subprocess.Popen: it takes a child that
    # outlives us for a mistake, and cannot block SIGTERM until the launcher is ready for it.
    return os.posix_spawn(
        sys.executable,
        arguments,
        execution.environment,
        file_actions=(
            (os.POSIX_SPAWN_DUP2, go, 0),
            (os.POSIX_SPAWN_OPEN, 1, f"{directory}/{STDOUT}", writing, _SHARED_MODE),
            (os.POSIX_SPAWN_OPEN, 2, f"{directory}/{STDERR}", writing, _SHARED_MODE),
        ),
        setsid=True,
        setsigmask=(signal.SIGTERM,),
        setsigdef=(signal.SIGTERM,),
    )
