"""Many tasks at once leave room for others."""

import asyncio
import time
from contextlib import suppress

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.turns import take_turn

pytestmark = pytest.mark.asyncio


async def test_one_task_goes_on_at_once() -> None:
    taken = []

    async def take() -> None:
        await take_turn()
        taken.append(True)

    # Driven by hand: a task that had to wait would be suspended here.
    with suppress(StopIteration):
        take().send(None)
    assert taken


async def test_somebody_else_gets_to_run_between_many() -> None:
    """A hundred tasks become ready at once; another one gets round many times before the last has gone on."""
    start, rounds = asyncio.Event(), 0
    order: list[tuple[int, int]] = []

    async def crowd(number: int) -> None:
        await start.wait()
        await take_turn()
        order.append((number, rounds))

    async def other() -> None:
        nonlocal rounds
        while len(order) < 100:
            await asyncio.sleep(0)
            rounds += 1

    tasks = [asyncio.create_task(crowd(number)) for number in range(100)]
    await asyncio.sleep(0)
    start.set()
    await asyncio.gather(other(), *tasks)
    assert [number for number, _ in order] == list(range(100))
    last = order[-1][1]
    assert last >= 15
    assert max(sum(seen == which for _, seen in order) for which in range(last + 1)) <= 8


async def test_who_gives_up_waiting_takes_no_turn_away() -> None:
    start = asyncio.Event()
    done: list[int] = []

    async def crowd(number: int) -> None:
        await start.wait()
        await take_turn()
        done.append(number)

    tasks = [asyncio.create_task(crowd(number)) for number in range(50)]
    await asyncio.sleep(0)
    start.set()
    await asyncio.sleep(0)
    for task in tasks[20:40]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(done) == [*range(20), *range(40, 50)]
    await asyncio.wait_for(take_turn(), 5)


async def test_what_a_turn_takes_is_not_taken_from_the_time_for_a_call() -> None:
    deadlines = [Deadline("call", 10) for _ in range(60)]
    ends = [deadline._end for deadline in deadlines]

    async def crowd(deadline: Deadline) -> None:
        await take_turn(deadline)
        await asyncio.sleep(0)

    begin = time.monotonic()
    await asyncio.gather(*(crowd(deadline) for deadline in deadlines))
    waited = time.monotonic() - begin
    given = [deadline._end - end for deadline, end in zip(deadlines, ends, strict=True)]
    assert min(given) >= 0
    assert 0 < given[-1] <= waited
