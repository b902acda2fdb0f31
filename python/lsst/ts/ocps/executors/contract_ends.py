"""What every executor promises of the ends that it makes, as tests."""

import asyncio
from typing import Any

import pytest

from .base import Executor, ExecutorState
from .bench import ExecutorBench, News

__all__ = ["EndsContract"]

_MIB = 2**20
_ENDS = {
    "cancel": ("wait", ExecutorState.CANCELLED),
    "time limit": ("wait", ExecutorState.TIMED_OUT),
    "disk limit": ("disk", ExecutorState.EXCEEDED),
    "its own": ("exit", ExecutorState.FAILED),
}
"""What ends a command; what it does, and what is told then."""


async def _cancel(executor: Executor, bench: ExecutorBench) -> None:
    await bench.until(bench.is_ready)
    await executor.cancel("1a")


@pytest.mark.asyncio
class EndsContract:
    """The promises of `.base.Executor.cancel` and of the limits: first the request, then the end of all."""

    async def test_a_command_that_is_cancelled_may_tidy_up(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.tidying()))
            await _cancel(executor, bench)
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED
        assert bench.has_tidied()

    async def test_a_command_that_comes_to_its_time_limit_may_tidy_up(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.tidying(), time_limit=bench.brief))
            assert (await news.end_of("1a")).state is ExecutorState.TIMED_OUT
        assert bench.has_tidied()

    @pytest.mark.parametrize("how", _ENDS)
    async def test_the_end_is_that_of_all_its_processes_whether_they_mind_the_request_or_not(
        self, bench: ExecutorBench, how: str
    ) -> None:
        then, state = _ENDS[how]
        limits: dict[str, dict[str, Any]] = {
            "time limit": {"time_limit": bench.brief},
            "disk limit": {"disk": _MIB},
        }
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.with_children(then), **limits.get(how, {})))
            if how == "cancel":
                await _cancel(executor, bench)
            end = await news.end_of("1a")
        assert bench.is_ready()
        assert end.state is state
        assert bench.is_gone()

    async def test_a_cancel_in_another_life_is_the_end_of_all_its_processes_too(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.with_children("wait"))
        async with bench.life(bench.news()) as executor:
            native_id = await executor.submit(execution)
            await bench.until(bench.is_ready)
        news = bench.news()
        async with bench.life(news) as executor:
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED
        assert bench.is_gone()

    async def test_a_cancel_during_the_submission_holds(self, bench: ExecutorBench) -> None:
        news = bench.news()
        async with bench.life(news) as executor:
            for number in range(5):
                key = f"{number}"
                execution = bench.execution(bench.lasting(60), key=key)
                submission = asyncio.create_task(executor.submit(execution))
                for _ in range(number):
                    # Each time a little later.
                    await asyncio.sleep(0)
                await asyncio.gather(submission, self._cancel_when_submitting(executor, key))
                assert await self._end_of(news, key) is ExecutorState.CANCELLED

    @staticmethod
    async def _cancel_when_submitting(executor: Executor, key: str) -> None:
        await asyncio.sleep(0)
        await executor.cancel(key)

    @staticmethod
    async def _end_of(news: News, key: str) -> ExecutorState:
        return (await news.end_of(key)).state
