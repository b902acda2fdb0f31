import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.errors import PartFailedError
from lsst.ts.ocps.sandbox.process_table import ProcessIdentity, identify, is_running
from lsst.ts.ocps.sandbox.processes import ProcessSpec, SupervisedProcess, read_tail

pytestmark = pytest.mark.asyncio

READY = "print('ready', flush=True)\n"
SLEEP = "import time\ntime.sleep(60)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
WITH_CHILD = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('child', child.pid, flush=True)\n"
)


async def never() -> None:
    await asyncio.Event().wait()


def wait_for_line(log: Path, text: str) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        while not log.exists() or text not in log.read_text():  # noqa: ASYNC110, ASYNC240 (a small local file)
            await asyncio.sleep(0.01)

    return wait


def make_spec(
    tmp_path: Path,
    program: str,
    *,
    ready: Callable[[], Awaitable[None]] | None = None,
    ready_timeout: float = 30.0,
    stop_timeout: float = 20.0,
) -> ProcessSpec:
    log = tmp_path / "logs" / "part.log"
    return ProcessSpec(
        name="part",
        command=(sys.executable, "-c", program),
        environment={"PART": "1"},
        log=log,
        wait_until_ready=ready or wait_for_line(log, "ready"),
        ready_timeout=ready_timeout,
        stop_timeout=stop_timeout,
    )


@asynccontextmanager
async def started(spec: ProcessSpec) -> AsyncIterator[SupervisedProcess]:
    process = SupervisedProcess(spec)
    try:
        await process.start()
        yield process
    finally:
        await process.aclose()


async def wait_until_ended(process: ProcessIdentity) -> bool:
    deadline = time.monotonic() + 30
    while is_running(process) and time.monotonic() < deadline:  # noqa: ASYNC110 (foreign process)
        await asyncio.sleep(0.01)
    return not is_running(process)


def child_of(log: Path) -> ProcessIdentity:
    identity = identify(int(log.read_text().split("child ")[1].split()[0]))
    assert identity is not None
    return identity


async def test_a_process_is_ready_when_its_check_returns_and_has_a_log_of_its_own(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, READY + SLEEP)
    async with started(spec) as process:
        await process.wait_until_ready()
        assert spec.log.read_text() == "ready\n"
        assert is_running(process.identity)
    assert not is_running(process.identity)


async def test_the_log_of_the_life_before_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        spec = make_spec(tmp_path, f"import os\nprint('ready', os.getpid(), flush=True)\n{SLEEP}")
        async with started(spec) as process:
            await process.wait_until_ready()
        assert spec.log.read_text() == f"ready {process.identity.pid}\n"
    assert (tmp_path / "logs" / "part.log.1").read_text().startswith("ready ")


async def test_the_environment_is_the_given_one_and_nothing_else(tmp_path: Path) -> None:
    program = "import os\nprint(sorted(set(os.environ) - {'LC_CTYPE'}))\n" + READY + SLEEP
    spec = make_spec(tmp_path, program)
    async with started(spec) as process:
        await process.wait_until_ready()
        assert spec.log.read_text().startswith("['PART']")


async def test_a_process_that_ends_before_it_is_ready_is_reported_with_the_tail_of_its_log(
    tmp_path: Path,
) -> None:
    program = "print('cannot open the database')\nraise SystemExit(3)"
    async with started(make_spec(tmp_path, program, ready=never)) as process:
        with pytest.raises(
            PartFailedError, match=r"part ended with status 3; the end of .*part\.log"
        ) as info:
            await process.wait_until_ready()
    assert info.value.tail == "cannot open the database"


async def test_a_process_that_is_not_ready_in_time_is_reported_as_such(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, READY + SLEEP, ready=never, ready_timeout=0.3)
    async with started(spec) as process:
        with pytest.raises(PartFailedError, match=r"part was not ready after 0\.3 s"):
            await process.wait_until_ready()


async def test_a_readiness_check_that_fails_itself_is_not_hidden(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ValueError("a mistake in the check")

    async with started(make_spec(tmp_path, SLEEP, ready=broken)) as process:
        with pytest.raises(ValueError, match="a mistake in the check"):
            await process.wait_until_ready()


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    spec = ProcessSpec(
        name="part", command=("/no/such/program",), environment={}, log=log, wait_until_ready=never
    )
    async with started(spec) as process:
        with pytest.raises(PartFailedError, match="cannot run /no/such/program: No such file or directory"):
            await process.wait_until_ready()


async def test_a_killed_process_is_reported_by_the_name_of_the_signal(tmp_path: Path) -> None:
    async with started(make_spec(tmp_path, READY + SLEEP)) as process:
        await process.wait_until_ready()
        os.kill(process.identity.pid, signal.SIGKILL)
        with pytest.raises(PartFailedError, match="part was ended by SIGKILL"):
            await process.wait_for_exit()


async def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    async with started(make_spec(tmp_path, STUBBORN + READY + SLEEP, stop_timeout=0.2)) as process:
        await process.wait_until_ready()
    with pytest.raises(PartFailedError, match="SIGKILL"):
        await process.wait_for_exit()


async def test_children_of_a_process_end_with_it_although_they_ignore_sigterm(tmp_path: Path) -> None:
    # Ignored signals are inherited over exec; the parent itself ends by SIGTERM.
    program = STUBBORN + WITH_CHILD + "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n" + READY + SLEEP
    spec = make_spec(tmp_path, program)
    async with started(spec) as process:
        await process.wait_until_ready()
        child = child_of(spec.log)
        assert is_running(child)
    assert await wait_until_ended(child)


async def test_closing_twice_and_closing_what_was_not_started_is_harmless(tmp_path: Path) -> None:
    process = SupervisedProcess(make_spec(tmp_path, READY + SLEEP))
    await process.aclose()
    await process.start()
    await process.aclose()
    await process.aclose()


async def test_a_process_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_processes import READY, SLEEP, make_spec
from lsst.ts.ocps.sandbox.processes import SupervisedProcess

async def main():
    process = SupervisedProcess(make_spec(Path({str(tmp_path)!r}), READY + SLEEP))
    await process.start()
    await process.wait_until_ready()
    print(process.identity.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen((sys.executable, "-c", supervisor), stdout=subprocess.PIPE, text=True) as parent:  # noqa: ASYNC220 (a test)
        assert parent.stdout is not None
        part = identify(int(await asyncio.to_thread(parent.stdout.readline)))
        parent.kill()
    assert part is not None
    assert await wait_until_ended(part)


async def test_only_the_last_lines_of_a_long_log_are_the_tail(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {n}\n" for n in range(10_000)))
    assert read_tail(log, lines=2) == "line 9998\nline 9999"
    assert read_tail(tmp_path / "absent.log") == ""
