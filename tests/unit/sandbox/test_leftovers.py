import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.environment import PART_VARIABLE
from lsst.ts.ocps.sandbox.layout import SandboxLayout
from lsst.ts.ocps.sandbox.leftovers import end_leftovers, end_processes, wait_until_gone
from lsst.ts.ocps.sandbox.process_table import ProcessIdentity, identify, is_running
from lsst.ts.ocps.sandbox.state import PartState, SandboxPhase, SandboxState

pytestmark = pytest.mark.asyncio

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(60)"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPER}"


@contextmanager
def running(program: str = SLEEPER, **environment: str) -> Iterator[ProcessIdentity]:
    """A process that is not ours to wait for: nobody reaps it while the body runs."""
    process = subprocess.Popen(
        (sys.executable, "-c", program),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        identity = identify(process.pid)
        assert identity is not None
        yield identity
    finally:
        process.kill()
        process.communicate()


def make_state(layout: SandboxLayout, *processes: ProcessIdentity) -> SandboxState:
    return SandboxState(
        folder=layout.folder,
        phase=SandboxPhase.RUNNING,
        supervisor=ProcessIdentity(pid=1, start_ticks=-1),
        start_time=datetime.now(UTC),
        parts=tuple(
            PartState(name=f"part{n}", process=process, log=layout.log("part"))
            for n, process in enumerate(processes)
        ),
    )


async def test_what_the_state_file_names_is_ended(tmp_path: Path) -> None:
    layout = SandboxLayout.from_folder(tmp_path)
    with running() as first, running() as second, running() as stranger:
        assert await end_leftovers(layout, make_state(layout, first, second)) == 2
        assert not is_running(first)
        assert not is_running(second)
        assert is_running(stranger)
        assert await end_leftovers(layout, make_state(layout, first, second)) == 0


async def test_a_pid_that_means_another_process_now_is_left_alone(tmp_path: Path) -> None:
    layout = SandboxLayout.from_folder(tmp_path)
    with running() as process:
        old = ProcessIdentity(pid=process.pid, start_ticks=process.start_ticks - 1)
        assert await end_leftovers(layout, make_state(layout, old)) == 0
        assert is_running(process)


async def test_marked_processes_and_jobs_are_ended_without_a_state_file(tmp_path: Path) -> None:
    layout = SandboxLayout.from_folder(tmp_path / "box")
    other = SandboxLayout.from_folder(tmp_path / "box2")
    with (
        running(**{PART_VARIABLE: f"{layout.folder}/csc"}) as part,
        running(JOB_DIR=f"{layout.service_data}/jobs/1") as job,
        running(**{PART_VARIABLE: f"{other.folder}/csc"}) as part_of_other,
        running(JOB_DIR=f"{other.service_data}/jobs/1") as job_of_other,
    ):
        assert await end_leftovers(layout, None) == 2
        assert not is_running(part)
        assert not is_running(job)
        assert is_running(part_of_other)
        assert is_running(job_of_other)


async def test_a_process_that_ignores_sigterm_is_killed() -> None:
    with running(STUBBORN) as process:
        await end_processes([process], grace=0.2)
        assert not is_running(process)


async def test_the_group_of_a_process_ends_with_it() -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open(sys.argv[1], 'w').write(str(child.pid)) if len(sys.argv) > 1 else None\n{SLEEPER}"
    )
    with running(program) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()  # noqa: ASYNC240 (/proc)
        child = identify(int(children.split()[0]))
        assert child is not None
        await end_processes([process], grace=20)
        deadline = time.monotonic() + 30
        while is_running(child) and time.monotonic() < deadline:  # noqa: ASYNC110 (foreign process)
            await asyncio.sleep(0.01)
        assert not is_running(child)


async def test_waiting_tells_who_is_still_there() -> None:
    with running() as process:
        assert await wait_until_gone([process], seconds=0.1) == [process]
