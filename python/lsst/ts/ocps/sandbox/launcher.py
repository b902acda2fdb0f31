"""Become another program that is ended when its parent dies.

Run as a file, ``python -I -S launcher.py PARENT_PID COMMAND ARGUMENT…``, so that it costs a few milliseconds
and imports nothing of ours. It asks the kernel to send SIGTERM when the parent dies, whatever ends the parent
(prctl(2), PR_SET_PDEATHSIG; kept over exec), and then becomes the command.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Ask for the signal, then replace this program; returns only where that is not possible."""
    parent, *command = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            print(f"prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)  # noqa: T201 (its log)
            return 126
    # A parent that died before the call above sends nothing any more.
    if os.getppid() != int(parent):
        return 125
    try:
        os.execvp(command[0], command)  # nosec B606 # noqa: S606 (an argument list, no shell)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 (its log)
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
