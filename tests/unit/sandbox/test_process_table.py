import os
import subprocess
import sys
import time
from pathlib import Path

from lsst.ts.ocps.sandbox.process_table import (
    ProcessIdentity,
    find_by_variable,
    group_of,
    identify,
    is_running,
    memory_bytes,
    uptime_seconds,
)

SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")


def start_sleeper(**options: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    assert process.stdout.readline() == "up\n"
    return process  # type: ignore[no-any-return]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_this_process_is_known_and_running() -> None:
    identity = identify(os.getpid())
    assert identity is not None
    assert identity.pid == os.getpid()
    assert is_running(identity)
    assert group_of(identity) == os.getpgid(0)
    assert memory_bytes(identity) > 1_000_000
    assert 0 < uptime_seconds(identity) < 3600 * 24


def test_a_pid_that_is_used_again_is_another_process() -> None:
    identity = identify(os.getpid())
    assert identity is not None
    stranger = ProcessIdentity(pid=identity.pid, start_ticks=identity.start_ticks - 1)
    assert not is_running(stranger)
    assert group_of(stranger) is None
    assert memory_bytes(stranger) == 0


def test_a_zombie_does_not_run_although_it_has_a_pid() -> None:
    process = start_sleeper()
    identity = identify(process.pid)
    assert identity is not None
    process.kill()
    deadline = time.monotonic() + 30
    while is_running(identity) and time.monotonic() < deadline:
        os.sched_yield()
    try:
        assert not is_running(identity)
        assert identify(process.pid) == identity, "it was not waited for, so the kernel still knows it"
    finally:
        process.communicate()
    assert identify(process.pid) != identity


def test_processes_are_found_by_a_folder_in_their_environment(tmp_path: Path) -> None:
    inside = start_sleeper(env={"JOB_DIR": f"{tmp_path}/jobs/1"})
    beside = start_sleeper(env={"JOB_DIR": f"{tmp_path}-other/jobs/1"})
    other = start_sleeper(env={"HOME": f"{tmp_path}/jobs/1"})
    try:
        assert [found.pid for found in find_by_variable("JOB_DIR", tmp_path)] == [inside.pid]
    finally:
        for process in (inside, beside, other):
            end(process)
    assert list(find_by_variable("JOB_DIR", tmp_path)) == []
