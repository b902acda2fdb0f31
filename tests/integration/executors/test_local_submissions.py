"""How the local executor starts commands, on real processes: what only processes can get wrong."""

import asyncio
import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lsst.ts.ocps.executors.base import Execution, ExecutorError, ExecutorState
from lsst.ts.ocps.executors.bench import News
from lsst.ts.ocps.executors.launcher import STARTED
from lsst.ts.ocps.executors.launching import Launch
from lsst.ts.ocps.executors.local import LocalExecutor
from support.local_bench import LocalBench, failing_once
from support.processes import end_commands

pytestmark = pytest.mark.asyncio


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    yield LocalBench(tmp_path)
    end_commands(tmp_path)


async def test_a_directory_of_an_earlier_run_is_refused_and_left_as_it_is(bench: LocalBench) -> None:
    news = News()
    async with bench.life(news) as executor:
        await executor.submit(bench.shell("echo first"))
        await news.end_of("1a")
    async with bench.life(news) as executor:
        with pytest.raises(ExecutorError, match="before"):
            await executor.submit(bench.shell("echo second"))
    assert bench.output("stdout.txt") == "first\n"


async def test_a_second_launcher_in_the_same_directory_runs_nothing(bench: LocalBench) -> None:
    news = News()
    async with bench.life(news) as executor:
        await executor.submit(bench.shell("echo first"))
        await news.end_of("1a")
    script = Path(sys.modules[LocalExecutor.__module__].__file__ or "").with_name("launcher.py")
    arguments = ("1a", str(bench.directory / "1a"), STARTED, "0", "1", "0", "0", "0", "touch", "twice")
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", str(script), *arguments],
        input=b"\n",
        capture_output=True,
        check=False,
    )
    # In silence: what it says goes where the command says it.
    assert (second.returncode, second.stdout, second.stderr) == (3, b"", b"")
    assert not (bench.directory / "1a" / "twice").exists()


async def test_a_launcher_that_nobody_tells_to_go_runs_nothing(bench: LocalBench) -> None:
    execution = bench.execution(bench.noting())
    launch = await asyncio.to_thread(Launch.start, execution, 1.0)
    # So it is when the service dies in between: the pipe has no writer any more.
    await asyncio.to_thread(launch.call_off)
    script = Path(sys.modules[LocalExecutor.__module__].__file__ or "").with_name("launcher.py")
    arguments = ("1a", str(execution.directory), STARTED, "0", "1", "0", "0", "0", *execution.command)
    alone = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-I", "-S", str(script), *arguments], input=b"", check=False
    )
    assert alone.returncode == 0
    assert not (execution.directory / STARTED).exists()
    assert bench.times_begun() == 0


async def test_a_launcher_that_cannot_be_followed_is_ended_and_leaves_nothing(bench: LocalBench) -> None:
    this = psutil.Process()
    news = bench.news()
    async with bench.life(news) as executor:
        descriptors, children = this.num_fds(), len(this.children())
        with (
            failing_once(asyncio.get_running_loop(), "add_reader", errno.ENOSPC),
            pytest.raises(ExecutorError) as raised,
        ):
            await executor.submit(bench.execution(bench.noting()))
        assert raised.value.transient
        assert (this.num_fds(), len(this.children())) == (descriptors, children)
        await executor.submit(bench.execution(bench.noting()))
        assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
    assert bench.times_begun() == 1


async def test_a_submission_that_is_broken_off_leaves_no_command_and_no_launcher(bench: LocalBench) -> None:
    this = psutil.Process()
    news = bench.news()
    async with bench.life(news) as executor:
        children = len(this.children())
        execution = bench.execution(bench.noting(60))
        submission = asyncio.create_task(executor.submit(execution))
        await asyncio.sleep(0)
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission
        assert len(this.children()) == children
        assert await executor.withdraw(execution, executor.preliminary_id())
    assert bench.times_begun() == 0


async def test_nothing_is_withdrawn_that_may_have_been_lost_with_an_earlier_life_of_the_machine(
    bench: LocalBench,
) -> None:
    execution = bench.execution(bench.noting())
    async with bench.life(bench.news()) as executor:
        # The last word is of a version of this package that told nothing.
        for earlier in (f"{executor.preliminary_id()[:-4]}0000", ""):
            assert not await executor.withdraw(execution, earlier)
        attached = await executor.attach(execution, f"{executor.preliminary_id()[:-4]}0000")
    assert attached.state is ExecutorState.FAILED
    assert "machine was restarted" in attached.message
    assert not (execution.directory / STARTED).exists()


@pytest.mark.parametrize("argument", ["nul\0byte", "x" * 200_000])
async def test_an_argument_that_no_process_can_have_is_refused_without_a_start(
    bench: LocalBench, argument: str
) -> None:
    async with bench.life(News()) as executor:
        with pytest.raises(ExecutorError) as raised:
            await executor.submit(bench.execution(("printf", argument)))
    assert not raised.value.transient
    assert not (bench.directory / "1a" / STARTED).exists()


async def test_a_missing_directory_is_refused_by_name(bench: LocalBench) -> None:
    missing = bench.directory / "gone"
    async with bench.life(News()) as executor:
        with pytest.raises(ExecutorError, match="gone"):
            await executor.submit(Execution("1a", bench.exiting(0), missing, {}))


async def test_no_descriptor_and_no_child_is_left_behind(bench: LocalBench) -> None:
    this = psutil.Process()
    news = News()
    async with bench.life(news) as executor:
        await executor.submit(bench.execution(bench.exiting(0), key="first"))
        await news.end_of("first")
        descriptors, children = this.num_fds(), len(this.children())
        for number in range(10):
            await executor.submit(bench.execution(bench.exiting(0), key=f"{number}"))
            await news.end_of(f"{number}")
        assert this.num_fds() <= descriptors
        assert len(this.children()) <= children
