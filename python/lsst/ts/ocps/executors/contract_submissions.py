"""What every executor promises of submissions that do not go well, as tests."""

import asyncio

import pytest

from .base import Executor, ExecutorError, ExecutorState
from .bench import ExecutorBench

__all__ = ["SubmissionsContract"]

_ALIVE = {ExecutorState.WAITING, ExecutorState.RUNNING}


@pytest.mark.asyncio
class SubmissionsContract:
    """The promises of `.base.Executor.submit` and `.base.Executor.withdraw`."""

    @pytest.mark.parametrize("transient", [True, False])
    async def test_a_refusal_starts_nothing_and_tells_whether_it_may_pass(
        self, bench: ExecutorBench, transient: bool
    ) -> None:
        news = bench.news()
        execution = bench.execution(bench.exiting(0))
        async with bench.life(news) as executor:
            with bench.refusing(transient=transient), pytest.raises(ExecutorError) as raised:
                await executor.submit(execution)
            assert raised.value.transient is transient
            assert str(raised.value)
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            assert news.heard == []
            # The key was not used up.
            await executor.submit(execution)
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED

    async def test_a_submission_that_fails_late_starts_nothing_and_can_be_made_again(
        self, bench: ExecutorBench
    ) -> None:
        news = bench.news()
        execution = bench.execution(bench.noting())
        async with bench.life(news) as executor:
            with bench.failing_late(), pytest.raises(ExecutorError) as raised:
                await executor.submit(execution)
            assert raised.value.transient
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            assert news.heard == []
            await executor.submit(execution)
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        assert bench.times_begun() == 1

    async def test_of_two_submissions_at_once_one_is_refused(self, bench: ExecutorBench) -> None:
        news = bench.news()
        execution = bench.execution(bench.noting())
        async with bench.life(news) as executor:
            two = (executor.submit(execution), executor.submit(execution))
            answers = await asyncio.gather(*two, return_exceptions=True)
            assert [type(answer) for answer in answers] == [str, ExecutorError]
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        assert bench.times_begun() == 1

    # What an earlier life was submitting when it died

    async def test_what_was_never_submitted_is_withdrawn_however_often_and_can_be_submitted_after_that(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.noting())
        async with bench.life(bench.news()) as executor:
            preliminary_id = executor.preliminary_id()
        news = bench.news()
        async with bench.life(news) as executor:
            assert (await executor.attach(execution, preliminary_id)).state is ExecutorState.UNKNOWN
            assert await executor.withdraw(execution, preliminary_id)
            assert await executor.withdraw(execution, preliminary_id)
            assert (await executor.attach(execution, preliminary_id)).state is ExecutorState.UNKNOWN
            assert news.heard == []
            await executor.submit(execution)
            assert not await executor.withdraw(execution, preliminary_id)
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
            assert not await executor.withdraw(execution, preliminary_id)
        assert bench.times_begun() == 1

    async def test_what_runs_or_has_ended_cannot_be_withdrawn(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.noting(60))
        async with bench.life(bench.news()) as executor:
            preliminary_id = executor.preliminary_id()
            await executor.submit(execution)
            await bench.until(lambda: bench.times_begun() == 1)
        news = bench.news()
        async with bench.life(news) as executor:
            assert not await executor.withdraw(execution, preliminary_id)
            assert (await executor.attach(execution, preliminary_id)).state in _ALIVE
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED
        async with bench.life(bench.news()) as executor:
            assert not await executor.withdraw(execution, preliminary_id)
            with pytest.raises(ExecutorError):
                await executor.submit(execution)
        assert bench.times_begun() == 1

    async def test_a_submission_that_is_late_starts_nothing_after_it_was_withdrawn(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.noting())
        news = bench.news()
        async with bench.life(news) as executor:
            preliminary_id = executor.preliminary_id()
            go_on = await bench.delay(execution)
            assert await executor.withdraw(execution, preliminary_id)
            await go_on()
            assert bench.times_begun() == 0
            assert (await executor.attach(execution, preliminary_id)).state is ExecutorState.UNKNOWN
            await executor.submit(execution)
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED
        assert bench.times_begun() == 1

    async def test_a_submission_that_is_late_starts_nothing_beside_the_next_one(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.noting(60))
        news = bench.news()
        async with bench.life(news) as executor:
            go_on = await bench.delay(execution)
            assert await executor.withdraw(execution, executor.preliminary_id())
            await executor.submit(execution)
            await bench.until(lambda: bench.times_begun() == 1)
            await go_on()
            assert (await executor.status("1a")).state is ExecutorState.RUNNING
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED
        assert bench.times_begun() == 1

    async def test_a_submission_that_was_late_but_has_begun_is_found_and_not_withdrawn(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.noting(60))
        news = bench.news()
        async with bench.life(news) as executor:
            preliminary_id = executor.preliminary_id()
            go_on = await bench.delay(execution)
            await go_on()
            await bench.until(lambda: bench.times_begun() == 1)
            assert not await executor.withdraw(execution, preliminary_id)
            await self._find(executor, bench, preliminary_id)
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED
        assert bench.times_begun() == 1

    @staticmethod
    async def _find(executor: Executor, bench: ExecutorBench, preliminary_id: str) -> None:
        found = await executor.attach(bench.execution(()), preliminary_id)
        assert found.state in _ALIVE
