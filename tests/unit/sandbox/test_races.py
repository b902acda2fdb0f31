import asyncio
from typing import NoReturn

import pytest

from lsst.ts.ocps.sandbox.races import run_unless

pytestmark = pytest.mark.asyncio


class StopError(Exception):
    pass


async def never() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("it waits for ever")


async def interrupt() -> NoReturn:
    raise StopError


async def test_the_work_gives_its_result_when_nothing_interrupts_it() -> None:
    async def work() -> int:
        return 3

    assert await run_unless(work(), never(), name="test") == 3


async def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    async def work() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await run_unless(work(), never(), name="test")


async def test_an_interruption_ends_the_work_and_waits_until_it_has_cleaned_up() -> None:
    log = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    with pytest.raises(StopError):
        await run_unless(work(), interrupt(), name="test")
    assert log == ["cleaned up"]


async def test_cancelling_ends_both() -> None:
    begun = asyncio.Event()
    log = []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaned up")

    task = asyncio.create_task(run_unless(work(), never(), name="test"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up"]
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []


async def test_what_fails_while_the_work_is_ended_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("cannot clean up")

    with pytest.raises(StopError):
        await run_unless(work(), interrupt(), name="tidy")
    assert "tidy failed while it was being ended" in caplog.text
