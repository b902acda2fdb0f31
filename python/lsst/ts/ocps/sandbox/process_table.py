"""What the kernel tells of processes, read from /proc.

A process is known by its pid *and* its start time, because pids are used again; and one that has ended but
has not been waited for (a zombie) is not running, although signal 0 still reaches it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = [
    "ProcessIdentity",
    "find_by_variable",
    "group_of",
    "identify",
    "is_running",
    "memory_bytes",
    "uptime_seconds",
]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class ProcessIdentity(BaseModel):
    """One process, unmistakably."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    start_ticks: int
    """Start time in clock ticks since boot (proc(5), ``stat`` field 22); clock steps do not change it."""


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    group: int
    start_ticks: int
    pages: int


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may itself hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], group=int(fields[2]), start_ticks=int(fields[19]), pages=int(fields[21]))


def identify(pid: int) -> ProcessIdentity | None:
    """Tell who has this pid now; None if nobody has."""
    stat = _read_stat(pid)
    return None if stat is None else ProcessIdentity(pid=pid, start_ticks=stat.start_ticks)


def _running_stat(identity: ProcessIdentity) -> _Stat | None:
    stat = _read_stat(identity.pid)
    if stat is None or stat.start_ticks != identity.start_ticks or stat.state in "ZXx":
        return None
    return stat


def is_running(identity: ProcessIdentity) -> bool:
    """Whether this very process exists and is not a zombie."""
    return _running_stat(identity) is not None


def group_of(identity: ProcessIdentity) -> int | None:
    """Process group of a running process; None if it does not run."""
    stat = _running_stat(identity)
    return None if stat is None else stat.group


def memory_bytes(identity: ProcessIdentity) -> int:
    """Resident memory (byte); 0 if the process does not run."""
    stat = _running_stat(identity)
    return 0 if stat is None else stat.pages * _PAGE_SIZE


def uptime_seconds(identity: ProcessIdentity) -> float:
    """Time since the process started (s)."""
    since_boot = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return since_boot - identity.start_ticks / _TICKS_PER_SECOND


def find_by_variable(name: str, below: Path) -> Iterator[ProcessIdentity]:
    """Find the running processes that were started with a variable naming a path inside a folder.

    Parameters
    ----------
    name
        Name of the environment variable.
    below
        The folder, absolute.

    Yields
    ------
    ProcessIdentity
        Processes of this user, this process excepted; those of others cannot be read and are passed over.
    """
    wanted = f"{name}={below}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        identity = identify(int(entry.name))
        if identity and any(v.startswith(wanted) for v in variables) and is_running(identity):
            yield identity
