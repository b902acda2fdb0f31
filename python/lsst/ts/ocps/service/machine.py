"""What this machine has for jobs. Blocks."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .queue import Capacity

__all__ = ["measure_capacity"]

_CGROUPS = Path("/sys/fs/cgroup")


def measure_capacity(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> Capacity:
    """The processors and the memory that this process may use: those of the machine, or of its container.

    Parameters
    ----------
    cgroups
        Where the control groups (version 2) are.
    own
        The file that names the group of this process.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _groups(cgroups, own):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            cpus = min(cpus, int(quota) / int(period))
        limit = _read(group / "memory.max")
        if limit.isdigit():
            memory = min(memory, int(limit))
    # A payload asks for one processor unless it says otherwise: a part of one is taken for a slow one.
    return Capacity.of(max(1.0, cpus), memory)


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """The control group of this process and those around it."""
    for line in _read(own).splitlines():
        number, _, path = line.partition("::")
        if number == "0":
            inner = PurePosixPath(path.lstrip("/"))
            yield from (cgroups / group for group in (inner, *inner.parents))


def _read(path: Path) -> str:
    """The text of a file; nothing if it is not there, as where there are no groups of version 2."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
