import asyncio
import threading

import pytest

from lsst.ts.ocps.aio.threads import run_in_thread

pytestmark = pytest.mark.asyncio
WAIT = 20.0


async def test_value_and_error_come_back() -> None:
    assert await run_in_thread(lambda: threading.current_thread().name, name="x") == "x"

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await run_in_thread(fail, name="x")


async def test_a_call_that_hangs_holds_up_neither_others_nor_the_end() -> None:
    go_on, has_ended = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        go_on.wait(WAIT)
        has_ended.set()

    tasks = [asyncio.create_task(run_in_thread(hang, name="x")) for _ in range(50)]
    async with asyncio.timeout(WAIT):
        while len(threads) < 50:  # noqa: ASYNC110 (the threads know of no event of a loop)
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: 1) == 1
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert all(thread.daemon for thread in threads)
    # Nobody hears of the end, and that is no error.
    go_on.set()
    assert await asyncio.to_thread(has_ended.wait, WAIT)
    for thread in threads:
        await asyncio.to_thread(thread.join, WAIT)
