"""What can go wrong with a sandbox.

::

    SandboxError
    ├── AlreadyRunningError       another process runs a sandbox in this folder
    ├── NotRunningError           no sandbox runs in this folder
    ├── FolderError               the folder cannot be used
    ├── InstallationError         the configuration that comes with the package is not found
    ├── PartFailedError           a part did not become ready, or ended; carries the tail of its log
    ├── BringUpError              the CSC did not reach the wanted state
    └── StoppedBySignalError      somebody asked this process to end
"""

import signal
from pathlib import Path

from typing_extensions import override

__all__ = [
    "AlreadyRunningError",
    "BringUpError",
    "FolderError",
    "InstallationError",
    "NotRunningError",
    "PartFailedError",
    "SandboxError",
    "StoppedBySignalError",
]


class SandboxError(Exception):
    """The sandbox cannot do what was asked."""


class AlreadyRunningError(SandboxError):
    """Another process runs a sandbox in this folder.

    Parameters
    ----------
    folder
        The sandbox folder.
    pid
        The process that holds its lock; None if it has not told yet.
    """

    def __init__(self, folder: Path, pid: int | None) -> None:
        owner = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"a sandbox already runs in {folder} ({owner}); "
            f"end it with 'ocps sandbox down --folder {folder}' or choose another --folder"
        )
        self.folder = folder
        self.pid = pid


class NotRunningError(SandboxError):
    """No sandbox runs in this folder.

    Parameters
    ----------
    folder
        The sandbox folder.
    last_failure
        Why the last one there ended, if it did not end as asked for.
    """

    def __init__(self, folder: Path, last_failure: str = "") -> None:
        why = f"; the last one failed: {last_failure}" if last_failure else ""
        super().__init__(
            f"no sandbox runs in {folder}; start one with 'ocps sandbox up' "
            f"or name its folder with --folder{why}"
        )
        self.folder = folder


class FolderError(SandboxError):
    """The sandbox folder, or a file in it, cannot be used; the message names it."""


class InstallationError(SandboxError):
    """The configuration that comes with the package is not where it should be."""


class PartFailedError(SandboxError):
    """One of the processes of the sandbox did not start, did not become ready in time, or ended by itself.

    Parameters
    ----------
    part
        Name of the part.
    reason
        What happened.
    log
        The log file of the part.
    tail
        The last lines of that file.
    """

    def __init__(self, part: str, reason: str, *, log: Path, tail: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason
        self.log = log
        self.tail = tail

    @override
    def __str__(self) -> str:
        end = f"the end of {self.log}:\n{self.tail}" if self.tail else f"{self.log} is empty"
        return f"{self.part} {self.reason}; {end}"

    @property
    def is_port_taken(self) -> bool:
        """Whether the log says that somebody else took the port since it was chosen."""
        text = self.tail.lower()
        return "address already in use" in text or "address in use" in text


class BringUpError(SandboxError):
    """The CSC did not reach the wanted state; the message says which and why."""


class StoppedBySignalError(SandboxError):
    """Somebody asked this process to end.

    Parameters
    ----------
    signal_number
        The signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number
