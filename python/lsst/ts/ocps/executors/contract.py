"""What every executor promises, as tests that each executor inherits, those of other packages too.

A test class derives from `ExecutorContract`, with a fixture ``bench`` that yields a `.bench.ExecutorBench`::

    class SlurmBench(ExecutorBench):
        timeout = 300.0

        def create(self, listener): ...
        def refusing(self, *, transient): ...
        def failing_late(self): ...
        def losing_sight(self): ...
        async def delay(self, execution): ...


    @pytest.fixture
    def bench(tmp_path):
        return SlurmBench(tmp_path)


    class TestSlurmExecutor(ExecutorContract):
        pass

It needs pytest and pytest-asyncio, which this package does not install for its users; nothing else of the
package imports it. A ``conftest.py`` that calls ``pytest.register_assert_rewrite`` with the names of this
module and of ``contract_ends``, ``contract_lives`` and ``contract_submissions`` makes their failures talk.
"""

import asyncio
import signal
from typing import Any

import pytest

from .base import ExecutorError, ExecutorState
from .bench import ExecutorBench
from .contract_ends import EndsContract
from .contract_lives import LivesContract
from .contract_submissions import SubmissionsContract

__all__ = ["ExecutorContract"]

_ORDER = [ExecutorState.WAITING, ExecutorState.RUNNING]
"""The states before the end, in the order in which news may tell them."""

_MIB = 2**20
_ODD = (
    "two words",
    "",
    "-leading",
    "--dash=x",
    "'single'",
    '"double"',
    "back\\slash",
    "$HOME `id` $(id)",
    "a\nb",
    "\t",
)
_FOREIGN = ("*", "~", "{braces}", "%s", "\N{SNOWMAN}\N{PILE OF POO}", "; exit 3", "a&b|c>d")


@pytest.mark.asyncio
class ExecutorContract(LivesContract, SubmissionsContract, EndsContract):
    """The promises of `lsst.ts.ocps.executors.base.Executor`."""

    async def test_exit_code_0_is_success_and_the_times_are_told_in_order(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(0)))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.SUCCEEDED, 0)
        assert end.start_time is not None
        assert end.end_time is not None
        assert end.start_time <= end.end_time

    async def test_another_exit_code_is_failure_and_is_told(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(3)))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, 3)
        assert "3" in end.message

    async def test_a_command_that_cannot_be_run_is_failure_without_exit_code(
        self, bench: ExecutorBench
    ) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.unrunnable))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, None)
        assert "cannot be run" in end.message

    async def test_news_never_goes_back_and_the_end_comes_once(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            for number in range(5):
                await executor.submit(bench.execution(bench.exiting(number % 2), key=f"{number}"))
            for number in range(5):
                await news.end_of(f"{number}")
            await executor.cancel("0")
        for number in range(5):
            *before, last = [status.state for status in news.of(f"{number}")]
            assert last.is_final
            assert before == sorted(before, key=_ORDER.index)
            assert ExecutorState.RUNNING in before

    async def test_the_time_limit_ends_a_command(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60), time_limit=0.2))
            end = await news.end_of("1a")
        assert end.state is ExecutorState.TIMED_OUT
        assert "time limit" in end.message

    async def test_cancel_ends_a_command_however_often_it_is_asked_for(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60)))
            await asyncio.gather(executor.cancel("1a"), executor.cancel("1a"))
            end = await news.end_of("1a")
            await executor.cancel("1a")
            assert (await executor.status("1a")).state is ExecutorState.CANCELLED
        assert end.state is ExecutorState.CANCELLED
        assert [status.state.is_final for status in news.of("1a")].count(True) == 1

    async def test_cancel_after_the_end_does_not_change_it(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(0)))
            end = await news.end_of("1a")
            await executor.cancel("1a")
            assert await executor.status("1a") == end

    async def test_what_was_never_submitted_is_unknown_and_cancelling_it_is_harmless(
        self, bench: ExecutorBench
    ) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.cancel("9z")
            assert (await executor.status("9z")).state is ExecutorState.UNKNOWN
            attached = await executor.attach(bench.execution((), key="9z"), "")
        assert attached.state is ExecutorState.UNKNOWN
        assert not attached.state.is_final
        assert news.heard == []

    async def test_a_key_is_never_run_twice(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            execution = bench.execution(bench.lasting(60))
            await executor.submit(execution)
            with pytest.raises(ExecutorError):
                await executor.submit(execution)
            await executor.cancel("1a")
            await news.end_of("1a")
            with pytest.raises(ExecutorError):
                await executor.submit(execution)

    async def test_a_signal_is_told_as_a_negative_exit_code(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.killing_itself(signal.SIGKILL)))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, -signal.SIGKILL)
        assert "SIGKILL" in end.message

    async def test_what_runs_tells_when_it_began(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60)))
            assert (await news.running("1a")).start_time is not None
            status = await executor.status("1a")
            assert (status.state, status.exit_code) == (ExecutorState.RUNNING, None)
            await executor.cancel("1a")
            await news.end_of("1a")

    async def test_many_at_once_all_end_with_their_own_exit_codes(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            executions = [bench.execution(bench.exiting(n), key=f"{n}") for n in range(20)]
            await asyncio.gather(*(executor.submit(execution) for execution in executions))
            codes = [(await news.end_of(f"{n}")).exit_code for n in range(20)]
        assert codes == list(range(20))

    # What a command is given, and what it says

    async def test_arguments_arrive_verbatim(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.telling_arguments(*_ODD, *_FOREIGN)))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        assert bench.stdout().split("\0")[:-1] == [*_ODD, *_FOREIGN]

    async def test_the_environment_is_built_from_nothing(
        self, bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_SERVICE", "hunter2")
        given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "EMPTY": "", "ODD": "a=b 'c'\n$HOME \N{SNOWMAN}"}
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.telling_environment(), environment=given))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        told = dict(pair.split("=", 1) for pair in bench.stdout().split("\0")[:-1])
        # Clusters add variables of their own.
        assert {name: told.get(name) for name in given} == given
        assert "hunter2" not in bench.stdout()

    async def test_both_streams_are_kept_apart(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.saying("said\n", "complained")))
            await news.end_of("1a")
        assert (bench.stdout(), bench.stderr()) == ("said\n", "complained")

    async def test_of_too_much_said_the_beginning_and_the_end_are_kept(self, bench: ExecutorBench) -> None:
        out = "first " + "x" * 20_000 + " last"
        news = bench.news()
        async with bench.life(news) as executor:
            execution = bench.execution(bench.saying(out, "short"), max_output=1000)
            await executor.submit(execution)
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        kept = bench.stdout()
        assert kept.startswith("first ")
        assert kept.endswith(" last")
        assert len(kept) < 1100
        assert bench.stderr() == "short"

    # Limits

    async def test_a_command_that_takes_too_much_disk_is_ended(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.taking_disk(3 * _MIB), disk=_MIB))
            end = await news.end_of("1a")
        assert end.state is ExecutorState.EXCEEDED
        assert "disk" in end.message

    async def test_a_command_that_takes_too_much_memory_is_ended(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.taking_memory(100 * _MIB), memory=40 * _MIB))
            end = await news.end_of("1a")
        assert end.state is ExecutorState.EXCEEDED
        assert "memory" in end.message

    async def test_a_command_within_its_limits_is_not_disturbed(self, bench: ExecutorBench) -> None:
        news = bench.news()
        limits: dict[str, Any] = {"time_limit": 30, "disk": 100 * _MIB, "memory": 500 * _MIB}
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(1.2), **limits))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED

    # Requests to end that come early

    async def test_cancel_at_once_ends_a_command_that_may_not_even_run(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60)))
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED

    async def test_cancel_before_the_submission_means_nothing(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.cancel("1a")
            await executor.submit(bench.execution(bench.exiting(0)))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
