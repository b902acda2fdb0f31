"""What every executor promises over restarts of the program that uses it, as tests."""

import asyncio

import pytest

from .base import ExecutorError, ExecutorState
from .bench import ExecutorBench

__all__ = ["LivesContract"]

_ALIVE = {ExecutorState.WAITING, ExecutorState.RUNNING}


@pytest.mark.asyncio
class LivesContract:
    """The promises of `.base.Executor.attach` and `.base.Executor.aclose`."""

    async def test_a_running_command_outlives_the_executor_and_is_found_again(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.lasting(0.8))
        async with bench.life(bench.news()) as executor:
            native_id = await executor.submit(execution)
        news = bench.news()
        async with bench.life(news) as executor:
            assert (await executor.attach(execution, native_id)).state in _ALIVE
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.SUCCEEDED, 0)

    async def test_a_command_that_was_found_again_can_be_cancelled(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.lasting(60))
        first = bench.news()
        async with bench.life(first) as executor:
            native_id = await executor.submit(execution)
            await first.running("1a")
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED

    async def test_the_end_in_an_earlier_life_is_told_with_its_exit_code(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.exiting(7))
        news = bench.news()
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.end_of("1a")
        async with bench.life(bench.news()) as executor:
            attached = await executor.attach(execution, native_id)
            assert (attached.state, attached.exit_code) == (ExecutorState.FAILED, 7)
            assert (await executor.status("1a")).exit_code == 7

    async def test_the_end_between_two_lives_is_told(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.lasting(0.1))
        async with bench.life(bench.news()) as executor:
            native_id = await executor.submit(execution)
        async with asyncio.timeout(bench.timeout):
            while True:
                # Nobody follows it when it ends, unless that is now.
                await asyncio.sleep(0.05)
                async with bench.life(bench.news()) as executor:
                    attached = await executor.attach(execution, native_id)
                if attached.state not in _ALIVE:
                    break
        assert (attached.state, attached.exit_code) == (ExecutorState.SUCCEEDED, 0)

    async def test_the_time_limit_holds_in_another_life(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.lasting(60), time_limit=0.5)
        async with bench.life(bench.news()) as executor:
            native_id = await executor.submit(execution)
        news = bench.news()
        async with bench.life(news) as executor:
            attached = await executor.attach(execution, native_id)
            end = attached if attached.state.is_final else await news.end_of("1a")
        assert end.state is ExecutorState.TIMED_OUT

    async def test_the_key_alone_finds_an_execution_whose_native_id_was_lost(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.exiting(0))
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(execution)
            await news.end_of("1a")
        async with bench.life(bench.news()) as executor:
            assert (await executor.attach(execution, "")).state is ExecutorState.SUCCEEDED

    async def test_what_was_not_attached_is_unknown_in_another_life(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.lasting(60))
        async with bench.life(bench.news()) as executor:
            native_id = await executor.submit(execution)
        news = bench.news()
        async with bench.life(news) as executor:
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            await news.end_of("1a")

    async def test_attaching_what_is_followed_changes_nothing(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            execution = bench.execution(bench.lasting(60))
            native_id = await executor.submit(execution)
            await news.running("1a")
            assert (await executor.attach(execution, native_id)).state is ExecutorState.RUNNING
            await executor.cancel("1a")
            end = await news.end_of("1a")
            assert await executor.attach(execution, native_id) == end
        assert [status.state.is_final for status in news.of("1a")].count(True) == 1

    async def test_a_key_is_never_run_twice_in_another_life_either(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.saying("once", ""))
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(execution)
            await news.end_of("1a")
        async with bench.life(bench.news()) as executor:
            with pytest.raises(ExecutorError):
                await executor.submit(execution)
        assert bench.stdout() == "once"

    async def test_closing_tells_nothing_more(self, bench: ExecutorBench) -> None:
        news = bench.news()
        execution = bench.execution(bench.lasting(60))
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.running("1a")
        heard = len(news.heard)
        later = bench.news()
        async with bench.life(later) as executor:
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            await later.end_of("1a")
        assert len(news.heard) == heard

    async def test_losing_sight_is_no_end_and_attaching_again_finds_it(self, bench: ExecutorBench) -> None:
        news = bench.news()
        execution = bench.execution(bench.exiting(7))
        async with bench.life(news) as executor:
            with bench.losing_sight():
                native_id = await executor.submit(execution)
                assert (await news.unknown("1a")).message
                assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            assert not any(status.state.is_final for status in news.of("1a"))
            found = await executor.attach(execution, native_id)
            end = found if found.state.is_final else await news.end_of("1a")
            assert (end.state, end.exit_code) == (ExecutorState.FAILED, 7)
            assert await executor.status("1a") == end
