"""What the files of a local execution are taken for, whole, torn or made up."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsst.ts.ocps.executors import launcher
from lsst.ts.ocps.executors.base import ExecutorState
from lsst.ts.ocps.executors.launcher import ENDED, STARTED, boot_id, pid_namespace, process_state
from lsst.ts.ocps.executors.traces import (
    ProcessIdentity,
    end_orphans,
    is_alive,
    open_process,
    read_end,
    read_start,
)

END = {"key": "1a", "reason": "exited", "exit_code": 0, "start": 1.5, "end": 2.5}
START = {"key": "1a", "pid": 10, "ticks": 20, "boot": "b", "namespace": 5, "time": 1.5}


def write(path: Path, *records: object) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def own_identity() -> ProcessIdentity:
    state = process_state(os.getpid())
    assert state is not None
    return ProcessIdentity(os.getpid(), state[3])


def test_a_whole_end_is_read(tmp_path: Path) -> None:
    write(tmp_path / ENDED, END)
    end = read_end(tmp_path, "1a")
    assert end is not None
    assert (end.state, end.exit_code, end.message) == (ExecutorState.SUCCEEDED, 0, "")
    assert end.start_time is not None
    assert end.end_time is not None
    assert (end.end_time - end.start_time).total_seconds() == 1


def test_every_beginning_of_an_end_is_no_end(tmp_path: Path) -> None:
    whole = json.dumps(END)
    for length in range(len(whole)):
        (tmp_path / ENDED).write_text(whole[:length])
        assert read_end(tmp_path, "1a") is None, whole[:length]


def test_the_marker_of_the_end_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = '"reason": "disk", "used": 2999999, "limit": 1048576, "exit_code": -15'

    def fail(source: str, target: str) -> None:
        assert json.loads(Path(source).read_text())["exit_code"] == -15
        raise OSError(errno.ENOSPC, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="ended"):
            launcher._write_end("1a", facts, 1.0)
    assert read_end(tmp_path, "1a") is None
    launcher._write_end("1a", facts, 1.0)
    end = read_end(tmp_path, "1a")
    assert end is not None
    assert (end.state, end.exit_code) == (ExecutorState.EXCEEDED, -15)
    assert end.message == "it took 2.861 MiB of disk, and may take 1 MiB"


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({**END, "key": "2b"}, id="of another execution"),
        pytest.param({**END, "reason": "bored"}, id="for an unknown reason"),
        pytest.param({**END, "end": "late"}, id="without a time"),
        pytest.param([END], id="not an object"),
    ],
)
def test_an_end_that_makes_no_sense_is_no_end(tmp_path: Path, record: object) -> None:
    write(tmp_path / ENDED, record)
    assert read_end(tmp_path, "1a") is None


@pytest.mark.parametrize(
    ("facts", "state", "message"),
    [
        ({"exit_code": 2}, ExecutorState.FAILED, "exit code 2"),
        ({"exit_code": -9}, ExecutorState.FAILED, "ended by SIGKILL"),
        ({"exit_code": -250}, ExecutorState.FAILED, "ended by signal 250"),
        ({"reason": "cancelled", "exit_code": 0}, ExecutorState.CANCELLED, "cancelled"),
        ({"reason": "timed_out", "exit_code": -15}, ExecutorState.TIMED_OUT, "the time limit was reached"),
    ],
)
def test_an_end_says_how_and_why(
    tmp_path: Path, facts: dict[str, object], state: ExecutorState, message: str
) -> None:
    write(tmp_path / ENDED, END | facts)
    end = read_end(tmp_path, "1a")
    assert end is not None
    assert (end.state, end.message) == (state, message)


def test_a_start_names_the_launcher(tmp_path: Path) -> None:
    write(tmp_path / STARTED, START)
    trace = read_start(tmp_path, "1a")
    assert trace is not None
    assert trace.launcher == ProcessIdentity(10, 20)
    assert trace.start_time.timestamp() == 1.5
    assert not trace.is_of_this_boot
    assert not trace.is_visible


def test_the_start_of_another_execution_or_no_start_is_none(tmp_path: Path) -> None:
    assert read_start(tmp_path, "1a") is None
    write(tmp_path / STARTED, {**START, "key": "2b"})
    assert read_start(tmp_path, "1a") is None


def test_a_reused_process_id_is_not_taken_for_the_old_process() -> None:
    own = own_identity()
    assert is_alive(own)
    assert not is_alive(ProcessIdentity(own.pid, own.ticks - 1))


@pytest.fixture
def bait() -> Iterator[subprocess.Popen[bytes]]:
    """The leader of a session of its own, which would be found if anybody were looked for there."""
    process = subprocess.Popen(
        (sys.executable, "-c", "input()"), stdin=subprocess.PIPE, start_new_session=True
    )
    yield process
    process.kill()
    process.communicate()


def test_nobody_is_killed_for_a_launcher_that_lives_or_whose_number_is_used_anew(
    tmp_path: Path, bait: subprocess.Popen[bytes]
) -> None:
    state = process_state(bait.pid)
    assert state is not None
    ticks = state[3]
    here = {**START, "pid": bait.pid, "ticks": ticks, "boot": boot_id(), "namespace": pid_namespace()}
    for record in (
        here,
        {**here, "ticks": ticks - 1},
        {**here, "boot": "another", "pid": 2**22 + 1},
        {**here, "namespace": 1, "pid": 2**22 + 1},
    ):
        write(tmp_path / STARTED, record)
        trace = read_start(tmp_path, "1a")
        assert trace is not None
        assert end_orphans(trace) == 0
        assert bait.poll() is None


IN_A_SESSION_WITHOUT_A_LEADER = """
import os, sys
from pathlib import Path
if os.fork():
    os._exit(0)
session = os.getsid(0)
while os.getppid() == session:
    os.sched_yield()
from lsst.ts.ocps.executors.launcher import STARTED, boot_id, pid_namespace, process_state
from lsst.ts.ocps.executors.traces import end_orphans, read_start
directory = Path(sys.argv[1])
leader = process_state(session)  # dead, and perhaps not yet reaped
ticks = leader[3] if leader else 1
for pid in (session, 0):
    (directory / STARTED).write_text(
        f'{{"key": "1a", "pid": {pid}, "ticks": {ticks}, "time": 1.5,'
        f' "boot": "{boot_id()}", "namespace": {pid_namespace()}}}'
    )
    print(end_orphans(read_start(directory, "1a")), flush=True)
"""


def test_our_own_session_is_spared_although_its_leader_is_gone(tmp_path: Path) -> None:
    """So it is where a continuous-integration system or a daemon manager has started us."""
    done = subprocess.run(
        (sys.executable, "-c", IN_A_SESSION_WITHOUT_A_LEADER, str(tmp_path)),
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_a_process_is_opened_only_if_it_is_the_very_one() -> None:
    own = own_identity()
    pidfd = open_process(own)
    assert pidfd is not None
    os.close(pidfd)
    assert open_process(ProcessIdentity(own.pid, own.ticks - 1)) is None
    assert open_process(ProcessIdentity(2**22 + 1, 0)) is None
