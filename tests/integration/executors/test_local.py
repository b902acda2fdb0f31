"""The local executor on real processes: the contract, and what only processes can get wrong."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lsst.ts.ocps.executors import local
from lsst.ts.ocps.executors.base import (
    Execution,
    ExecutionStatus,
    ExecutorState,
)
from lsst.ts.ocps.executors.bench import News
from lsst.ts.ocps.executors.contract import ExecutorContract
from lsst.ts.ocps.executors.launcher import ENDED, STARTED, process_state
from lsst.ts.ocps.executors.traces import read_start
from support.local_bench import LocalBench
from support.processes import end_commands, until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    yield LocalBench(tmp_path)
    end_commands(tmp_path)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def pid_written(path: Path) -> int:
    await until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path} is written")
    return int(await asyncio.to_thread(path.read_text))


class TestLocalExecutor(ExecutorContract):
    async def test_output_goes_to_files_and_input_is_empty(self, bench: LocalBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.shell("cat; echo said; echo complained >&2; pwd > where"))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        assert bench.output("stdout.txt") == "said\n"
        assert bench.output("stderr.txt") == "complained\n"
        assert bench.output("where").strip() == str(bench.directory / "1a")

    async def test_the_environment_is_what_was_given_and_nothing_else(
        self, bench: LocalBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_SERVICE", "hunter2")
        directory = bench.execution(()).directory
        given = {"PATH": "/usr/bin:/bin", "EMPTY": "", "ODD": "a=b c\n\N{SNOWMAN}"}
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(Execution("1a", ("env", "-0"), directory, given))
            await news.end_of("1a")
        pairs = (entry.partition("=") for entry in bench.output("stdout.txt").split("\0") if entry)
        assert {name: value for name, _, value in pairs} == given

    async def test_arguments_never_meet_a_shell(self, bench: LocalBench) -> None:
        arguments = ("$(touch pwned)", "; touch pwned", "`touch pwned`", "* ~ $HOME", "two\nlines", "")
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(("printf", "%s|", *arguments)))
            await news.end_of("1a")
        assert bench.output("stdout.txt") == "".join(f"{argument}|" for argument in arguments)
        assert not (bench.directory / "1a" / "pwned").exists()

    async def test_cancel_lets_a_command_tidy_up(self, bench: LocalBench) -> None:
        bench.grace = 20.0
        news = News()
        async with bench.life(news) as executor:
            script = "trap 'echo tidied; exit 5' TERM; echo ready > ready; while :; do sleep 0.02; done"
            await executor.submit(bench.shell(script))
            await until((bench.directory / "1a" / "ready").exists, "the trap is set")
            await executor.cancel("1a")
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.CANCELLED, 5)
        assert "tidied" in bench.output("stdout.txt")

    async def test_a_command_that_ignores_the_request_is_killed_after_the_grace(
        self, bench: LocalBench
    ) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.shell("trap '' TERM; echo > ready; while :; do sleep 0.02; done"))
            await until((bench.directory / "1a" / "ready").exists, "the trap is set")
            await executor.cancel("1a")
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.CANCELLED, -signal.SIGKILL)

    async def test_memory_that_processes_share_is_counted_once(self, bench: LocalBench) -> None:
        program = """
import os, time
shared = b"x" * 100_000_000
children = [os.fork() for _ in range(2)]
time.sleep(1.5)
"""
        news = bench.news()
        async with bench.life(news) as executor:
            command = (sys.executable, "-I", "-S", "-c", program)
            await executor.submit(bench.execution(command, memory=250 * 2**20))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED

    async def test_a_child_is_given_the_grace_too_when_its_parent_ends_at_once(
        self, bench: LocalBench
    ) -> None:
        bench.grace = 20.0
        trap = "trap 'sleep 0.1; echo child tidied > tidied; exit' TERM"
        child = f"{trap}; echo > ready; while :; do sleep 0.02; done"
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(("sh", "-c", 'sh -c "$0" & wait', child)))
            await until((bench.directory / "1a" / "ready").exists, "the child runs")
            await executor.cancel("1a")
            await news.end_of("1a")
        assert bench.output("tidied") == "child tidied\n"

    async def test_what_a_command_leaves_running_is_killed_when_it_ends(self, bench: LocalBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.shell("trap '' TERM; sleep 60 & echo $! > child; exit 4"))
            child = await pid_written(bench.directory / "1a" / "child")
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, 4)
        assert not is_running(child)

    async def test_the_time_limit_holds_while_no_executor_lives(self, bench: LocalBench) -> None:
        execution = bench.execution(bench.lasting(60), time_limit=0.4)
        async with bench.life(News()) as executor:
            native_id = await executor.submit(execution)
        await until((execution.directory / ENDED).exists, "the command was ended")
        async with bench.life(News()) as executor:
            assert (await executor.attach(execution, native_id)).state is ExecutorState.TIMED_OUT

    async def test_a_killed_launcher_is_failure_and_its_command_does_not_go_on_unseen(
        self, bench: LocalBench
    ) -> None:
        news = News()
        async with bench.life(news) as executor:
            execution = bench.shell("sleep 60 & echo $! > child; echo $$ > command; wait")
            await executor.submit(execution)
            command = await pid_written(execution.directory / "command")
            child = await pid_written(execution.directory / "child")
            trace = read_start(execution.directory, "1a")
            assert trace is not None
            os.kill(trace.launcher.pid, signal.SIGKILL)
            end = await news.end_of("1a")
            await until(lambda: not is_running(command) and not is_running(child), "both are gone")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, None)
        assert "launcher was killed" in end.message

    async def test_a_launcher_killed_between_two_lives_is_failure(self, bench: LocalBench) -> None:
        execution = bench.shell("echo $$ > command; sleep 60")
        async with bench.life(News()) as executor:
            native_id = await executor.submit(execution)
            command = await pid_written(execution.directory / "command")
        trace = read_start(execution.directory, "1a")
        assert trace is not None
        os.kill(trace.launcher.pid, signal.SIGKILL)
        await until(lambda: not is_running(trace.launcher.pid), "the launcher is gone")
        async with bench.life(News()) as executor:
            attached = await executor.attach(execution, native_id)
        assert attached.state is ExecutorState.FAILED
        await until(lambda: not is_running(command), "the command is gone")

    async def test_an_end_that_cannot_be_learned_is_told_as_unknown_and_is_found_by_attaching_again(
        self, bench: LocalBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object) -> ExecutionStatus:
            raise OSError(errno.EMFILE, "Too many open files")

        news = News()
        descriptors = psutil.Process().num_fds
        async with bench.life(news) as executor:
            before = descriptors()
            execution = bench.execution(bench.exiting(7))
            with monkeypatch.context() as patch:
                patch.setattr(local, "_learn_end", fail)
                native_id = await executor.submit(execution)
                lost = await news.unknown("1a")
            assert "Too many open files" in lost.message
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            assert descriptors() <= before
            found = await executor.attach(execution, native_id)
            assert (found.state, found.exit_code) == (ExecutorState.FAILED, 7)

    async def test_a_restart_of_the_machine_is_told(self, bench: LocalBench) -> None:
        execution = bench.execution(bench.lasting(60))
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(execution)
            await until((execution.directory / STARTED).exists, "the launcher runs")
            await executor.cancel("1a")
            await news.end_of("1a")
        (execution.directory / ENDED).unlink()
        started = execution.directory / STARTED
        started.write_text(json.dumps(json.loads(started.read_text()) | {"boot": "an earlier one"}))
        async with bench.life(News()) as executor:
            attached = await executor.attach(execution, "")
        assert attached.state is ExecutorState.FAILED
        assert "machine was restarted" in attached.message

    async def test_a_restart_of_the_machine_is_told_when_no_trace_was_left_either(
        self, bench: LocalBench
    ) -> None:
        execution = bench.execution(bench.exiting(0))
        news = bench.news()
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.end_of("1a")
        # The power failed before the traces were on the disk, and this test's process has the number now.
        for name in (STARTED, ENDED):
            (execution.directory / name).unlink()
        _, _, boot = native_id.split(".")
        state = process_state(os.getpid())
        assert state is not None
        async with bench.life(bench.news()) as executor:
            attached = await executor.attach(execution, f"{os.getpid()}.{state[3]}.{boot[:-4]}0000")
        assert attached.state is ExecutorState.FAILED
        assert "machine was restarted" in attached.message

    async def test_of_too_much_said_the_file_tells_how_much_is_missing(self, bench: LocalBench) -> None:
        execution = bench.execution(
            ("sh", "-c", "printf begin; head -c 500000 /dev/zero; printf end"), max_output=200_000
        )
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(execution)
            await news.end_of("1a")
        kept = bench.stdout()
        assert kept.startswith("begin\0")
        assert kept.endswith("\0end")
        head, mark, tail = kept.partition("\n[... 300008 bytes are left out ...]\n")
        assert mark
        assert (len(head), len(tail)) == (200_000 - 65_536, 65_536)

    async def test_what_escapes_and_keeps_a_pipe_open_does_not_keep_the_end(self, bench: LocalBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            escape = (
                "setsid sh -c 'echo $$ > child; exec sleep 60' & while [ ! -s child ]; do sleep 0.02; done"
            )
            await executor.submit(bench.shell(f"{escape}; echo said; exit 3"))
            end = await news.end_of("1a")
            child = await pid_written(bench.directory / "1a" / "child")
        assert is_running(child)
        os.kill(child, signal.SIGKILL)
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, 3)
        assert bench.stdout() == "said\n"

    async def test_the_limit_of_disk_counts_folders_in_folders_and_is_told_whatever_the_exit_code(
        self, bench: LocalBench
    ) -> None:
        bench.grace = 20.0
        # It is there as a whole, whenever somebody looks.
        script = "head -c 3000000 /dev/zero > ../large; mkdir -p a/b; mv ../large a/b; sleep 60 & wait"
        script = f"trap 'exit 0' TERM; {script}"
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(("sh", "-c", script), disk=2**20))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.EXCEEDED, 0)
        assert end.message.startswith("it took 2.8")
        assert end.message.endswith(" MiB of disk, and may take 1 MiB")

    async def test_processes_of_another_container_are_unknown_and_never_an_end(
        self, bench: LocalBench
    ) -> None:
        execution = bench.execution(bench.lasting(60))
        async with bench.life(News()) as executor:
            await executor.submit(execution)
            await until(lambda: read_start(execution.directory, "1a"), "the launcher has begun")
        started = execution.directory / STARTED
        whole = started.read_text()
        started.write_text(json.dumps(json.loads(whole) | {"namespace": 1}))
        async with bench.life(News()) as executor:
            attached = await executor.attach(execution, "")
        started.write_text(whole)
        assert attached.state is ExecutorState.UNKNOWN
