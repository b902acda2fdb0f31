import asyncio
import time

import pytest

from lsst.ts.ocps.aio.periodic import run_periodically

pytestmark = pytest.mark.asyncio


class EnoughError(Exception):
    """Ends a loop from inside."""


async def test_calls_come_again_and_again_until_one_fails() -> None:
    calls = []

    async def call() -> None:
        calls.append(time.monotonic())
        if len(calls) == 4:
            raise EnoughError

    begin = time.monotonic()
    with pytest.raises(EnoughError):
        await run_periodically(call, interval=0.02)
    assert len(calls) == 4
    assert calls[-1] - begin >= 0.06 - 0.01  # the first at once, then three intervals


async def test_the_first_call_waits_if_asked_to() -> None:
    begin = time.monotonic()

    async def call() -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        await run_periodically(call, interval=60, first_delay=0.05)
    assert time.monotonic() - begin >= 0.05 - 0.01


async def test_a_slow_call_is_not_made_up_for() -> None:
    starts = []

    async def call() -> None:
        starts.append(time.monotonic())
        if len(starts) == 1:
            await asyncio.sleep(0.2)  # as long as four intervals
        if len(starts) == 4:
            raise EnoughError

    with pytest.raises(EnoughError):
        await run_periodically(call, interval=0.05)
    # After the slow one, the pace is the interval again: no burst of the calls that were missed.
    assert starts[1] - starts[0] >= 0.19
    assert starts[3] - starts[0] >= 0.2 + 2 * 0.05 - 0.01


async def test_it_runs_until_cancelled() -> None:
    ran = asyncio.Event()

    async def call() -> None:
        ran.set()

    task = asyncio.create_task(run_periodically(call, interval=60))
    async with asyncio.timeout(10):
        await ran.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
