import asyncio
from typing import Any

import pytest

from lsst.ts.ocps.sal.topics.waiters import SampleWaiters

pytestmark = pytest.mark.asyncio


async def start_waiting(waiters: SampleWaiters, count: int, given_back: list[Any]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(waiters.wait(give_back=given_back.append)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_everybody_gets_the_same_sample() -> None:
    waiters, sample = SampleWaiters(), object()
    tasks = await start_waiting(waiters, 3, [])
    assert waiters.resolve(sample)  # type: ignore[arg-type]
    assert [await task for task in tasks] == [sample] * 3
    assert not waiters.resolve(sample)  # type: ignore[arg-type]


async def test_one_who_gives_up_does_not_disturb_the_others() -> None:
    waiters, sample = SampleWaiters(), object()
    first, second = await start_waiting(waiters, 2, [])
    first.cancel()
    await asyncio.wait([first])
    assert waiters.resolve(sample)  # type: ignore[arg-type]
    assert await second is sample


async def test_a_sample_that_nobody_could_take_is_given_back() -> None:
    waiters, sample = SampleWaiters(), object()
    given_back: list[Any] = []
    tasks = await start_waiting(waiters, 2, given_back)
    assert waiters.resolve(sample)  # type: ignore[arg-type]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert given_back == [sample]


async def test_a_sample_that_somebody_has_taken_is_not_given_back() -> None:
    waiters, sample = SampleWaiters(), object()
    given_back: list[Any] = []
    first, second = await start_waiting(waiters, 2, given_back)
    assert waiters.resolve(sample)  # type: ignore[arg-type]
    assert await first is sample
    second.cancel()
    await asyncio.wait([second])
    assert given_back == []


async def test_waits_can_be_ended() -> None:
    waiters = SampleWaiters()
    (task,) = await start_waiting(waiters, 1, [])
    waiters.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
