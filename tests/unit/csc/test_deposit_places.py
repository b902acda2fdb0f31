"""A place that is out of reach costs each run little; the clock is a virtual one."""

import asyncio
import time

import pytest

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.csc.deposit_places import BRIEF, MAX_AT_ONCE, MEMORY, Place
from lsst.ts.ocps.csc.errors import DepositError
from support.virtual_time import run_in_virtual_time

TIMEOUT = 300.0
DOWN = DepositError("connection refused", transient=True)


async def answer() -> str:
    return "answer"


async def refuse() -> str:
    raise DOWN


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def fail(place: Place) -> None:
    with pytest.raises(DepositError):
        await place.reach(refuse)


def test_the_runs_of_one_outage_share_one_timeout_and_later_ones_are_brief() -> None:
    async def main() -> None:
        place = Place()
        assert place.time_to_begin(TIMEOUT) == TIMEOUT
        assert place.trouble == ""
        await fail(place)
        await asyncio.sleep(100)
        assert place.time_to_begin(TIMEOUT) == pytest.approx(TIMEOUT - 100)
        await fail(place)
        await asyncio.sleep(TIMEOUT)
        assert place.time_to_begin(TIMEOUT) == BRIEF
        assert place.time_to_begin(1.0) == 1.0
        assert place.trouble == "; out of reach since 2027-01-15T08:00:00Z"

    run_in_virtual_time(main())


@pytest.mark.parametrize("ending", ["success", "lasting error", "time"])
def test_an_outage_is_over(ending: str) -> None:
    async def refuse_for_good() -> str:
        raise DepositError("no such bucket")

    async def main() -> None:
        place = Place()
        await fail(place)
        await asyncio.sleep(TIMEOUT)
        if ending == "success":
            assert await place.reach(answer) == "answer"
        elif ending == "time":
            await asyncio.sleep(MEMORY)
        else:
            with pytest.raises(DepositError):
                await place.reach(refuse_for_good)
        assert place.time_to_begin(TIMEOUT) == TIMEOUT
        assert place.trouble == ""
        # Another outage begins anew.
        await fail(place)
        assert place.time_to_begin(TIMEOUT) == TIMEOUT

    run_in_virtual_time(main())


def test_a_place_that_says_nothing_is_out_of_reach_before_anyone_gives_up() -> None:
    async def main() -> None:
        place = Place()
        first = asyncio.create_task(place.reach(hang))
        await asyncio.sleep(50)
        assert place.time_to_begin(TIMEOUT) == pytest.approx(TIMEOUT - 50)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(TIMEOUT)
        began = time.monotonic()
        brief = Deadline("deposit", place.time_to_begin(TIMEOUT))
        with pytest.raises(DeadlineExceededError, match="no end after 10 s"):
            async with brief.enforce():
                await place.reach(hang)
        assert time.monotonic() - began == pytest.approx(BRIEF)

    run_in_virtual_time(main())


def test_who_waited_for_a_turn_while_others_failed_does_not_try_too() -> None:
    async def main() -> None:
        place, tries = Place(), 0

        async def deposit() -> None:
            nonlocal tries
            async with place.turn(TIMEOUT):
                tries += 1
                await asyncio.sleep(BRIEF)
                await place.reach(refuse)

        await fail(place)
        await asyncio.sleep(TIMEOUT)
        began = time.monotonic()
        ends = await asyncio.gather(*(deposit() for _ in range(200)), return_exceptions=True)
        assert time.monotonic() - began == pytest.approx(BRIEF)
        assert tries == MAX_AT_ONCE
        assert {type(end) for end in ends} == {DepositError}
        # The next one tries again: the place may be back.
        with pytest.raises(DepositError):
            await deposit()
        assert tries == MAX_AT_ONCE + 1

    run_in_virtual_time(main())
