import asyncio

import pytest

from lsst.ts.ocps.csc.slots import Slots

pytestmark = pytest.mark.asyncio


async def start(slots: Slots, run_id: str, limit: int | None = 1, payload: str = "p") -> asyncio.Task[None]:
    task = asyncio.create_task(slots.acquire(payload, run_id, limit))
    await asyncio.sleep(0)
    return task


async def test_slots_are_given_in_the_order_of_asking() -> None:
    slots = Slots()
    tasks = [await start(slots, name) for name in "abc"]
    assert [task.done() for task in tasks] == [True, False, False]
    slots.release("p", "a")
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True, False]
    slots.release("p", "b")
    await tasks[2]


async def test_payloads_do_not_wait_for_each_other_and_no_limit_is_no_limit() -> None:
    slots = Slots()
    await slots.acquire("p", "a", 1)
    await slots.acquire("q", "b", 1)
    for name in "cde":
        await slots.acquire("r", name, None)


async def test_who_gives_up_waiting_leaves_the_line() -> None:
    slots = Slots()
    await slots.acquire("p", "a", 1)
    second, third = await start(slots, "b"), await start(slots, "c")
    second.cancel()
    await asyncio.wait([second])
    slots.release("p", "a")
    await third


async def test_a_slot_given_at_the_moment_of_giving_up_goes_to_the_next() -> None:
    slots = Slots()
    await slots.acquire("p", "a", 1)
    second, third = await start(slots, "b"), await start(slots, "c")
    slots.release("p", "a")
    second.cancel()
    await asyncio.wait([second])
    await asyncio.wait_for(third, 5)


async def test_a_job_that_runs_already_takes_a_slot_though_none_is_free() -> None:
    slots = Slots()
    slots.occupy("p", "a")
    slots.occupy("p", "b")
    third = await start(slots, "c", 2)
    slots.release("p", "a")
    await asyncio.wait_for(third, 5)
    await slots.acquire("p", "c", 2)
