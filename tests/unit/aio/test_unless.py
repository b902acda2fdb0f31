"""Waiting that an event ends."""

import asyncio

import pytest

from lsst.ts.ocps.aio.unless import unless

pytestmark = pytest.mark.asyncio


async def test_the_value_or_the_error_comes_if_nothing_happens() -> None:
    async def fail() -> None:
        raise ValueError("no")

    event = asyncio.Event()
    assert await unless(event, asyncio.sleep(0, "value")) == "value"
    with pytest.raises(ValueError, match="no"):
        await unless(event, fail())


async def test_an_event_ends_the_waiting_and_what_was_waited_for() -> None:
    event, ended = asyncio.Event(), list[str]()

    async def wait() -> bool:
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await unless(event, wait()) is None
    assert ended == ["cleaned up"]


async def test_who_waits_may_be_cancelled() -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless(asyncio.Event(), wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
