import asyncio

import pytest

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError

pytestmark = pytest.mark.asyncio


async def test_the_body_is_cut_off_when_the_time_is_spent() -> None:
    deadline = Deadline("asking the moon", 0.05)
    with pytest.raises(DeadlineExceededError, match=r"asking the moon: no end after 0\.05 s"):
        async with deadline.enforce():
            await asyncio.sleep(60)
    assert deadline.expired
    assert deadline.left() == 0


async def test_a_body_that_ends_in_time_is_left_alone() -> None:
    deadline = Deadline("quick", 60)
    async with deadline.enforce():
        await asyncio.sleep(0)
    assert not deadline.expired
    assert 0 < deadline.left() <= 60


async def test_one_budget_is_shared_by_a_chain_of_calls() -> None:
    deadline = Deadline("chain", 60)
    async with deadline.enforce():
        before = deadline.left()
        await asyncio.sleep(0.02)
    assert deadline.left() < before


async def test_a_timeout_of_the_body_keeps_its_own_name() -> None:
    with pytest.raises(TimeoutError, match="theirs") as caught:
        async with Deadline("ours", 60).enforce():
            raise TimeoutError("theirs")
    assert not isinstance(caught.value, DeadlineExceededError)


async def test_a_spent_deadline_lets_nothing_begin_to_wait() -> None:
    deadline = Deadline("late", 0)
    with pytest.raises(DeadlineExceededError):
        async with deadline.enforce():
            await asyncio.sleep(60)


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        async with Deadline("work", 60).enforce():
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_is_a_timeout_for_those_who_do_not_know_it() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline("x", 0).enforce():
            await asyncio.sleep(60)
