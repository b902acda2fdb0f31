"""What this machine, or its container, has for jobs."""

import os
from pathlib import Path

from lsst.ts.ocps.service.machine import measure_capacity
from lsst.ts.ocps.service.queue import Capacity

_CPUS = len(os.sched_getaffinity(0))


def measure(directory: Path, **files: str) -> Capacity:
    """Measure with the files of control groups; ``__`` in a name is a slash, ``_`` a dot."""
    own = directory / "self"
    own.write_text("1:cpuset:/elsewhere\n0::/outer/inner\n")
    for name, text in files.items():
        path = directory / "groups" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return measure_capacity(directory / "groups", own)


def test_without_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    measured = measure(tmp_path)
    assert measured.millicpus == 1000 * _CPUS
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert abs(measured.memory - total) < 2**20


def test_the_tightest_group_around_this_process_counts(tmp_path: Path) -> None:
    measured = measure(
        tmp_path,
        outer__cpu_max="max 100000\n",
        outer__inner__cpu_max=f"{(_CPUS * 2 - 1) * 50000} 100000\n",
        outer__memory_max="1048576\n",
        outer__inner__memory_max="max\n",
        elsewhere__memory_max="1\n",
    )
    assert measured == Capacity.of(_CPUS - 0.5, 2**20)


def test_there_is_never_less_than_one_processor(tmp_path: Path) -> None:
    assert measure(tmp_path, cpu_max="50000 100000\n").millicpus == 1000
