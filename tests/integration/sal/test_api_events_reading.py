"""Events as a Remote reads them: queue, callbacks, ends, on a broker of each kind."""

import asyncio
from functools import partial
from unittest.mock import AsyncMock

import pytest

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.topics.remote_topics import RemoteEvent
from support.sal_fixtures import WAIT, open_pair, until

pytestmark = pytest.mark.asyncio


async def test_get_and_next_and_flush_take_what_they_should(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event: RemoteEvent = remote.evt_scalars
        assert event.get() is None
        assert event.get_oldest() is None
        assert not event.has_data
        waiting = asyncio.create_task(event.aget(timeout=WAIT))
        await asyncio.sleep(0)
        for n in range(1, 4):
            await controller.evt_scalars.set_write(int0=n)
        await until(lambda: event.nqueued == 3)
        assert (await waiting).int0 == 1
        assert event.get() is await event.aget(timeout=0)
        newest = event.get()
        assert newest is not None
        assert newest.int0 == 3
        assert (await event.next(flush=False, timeout=0)).int0 == 1
        oldest = event.get_oldest()
        assert oldest is not None
        assert oldest.int0 == 2
        event.flush()
        assert event.nqueued == 0
        assert event.get() is newest
        assert event.has_data
        with pytest.raises(TimeoutError):
            await event.next(flush=False, timeout=0.01)
        with pytest.raises(TypeError):
            await remote.evt_arrays.next()
        await controller.evt_scalars.set_write(int0=4)
        await until(lambda: event.nqueued == 1)
        waiting = asyncio.create_task(event.next(flush=True, timeout=WAIT))
        await asyncio.sleep(0)
        await controller.evt_scalars.set_write(int0=5)
        assert (await waiting).int0 == 5


async def test_all_who_wait_get_one_sample_and_it_is_taken_once(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event = remote.evt_scalars
        impatient = asyncio.create_task(event.next(flush=False, timeout=0.01))
        tasks = [asyncio.create_task(event.next(flush=False, timeout=WAIT)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await impatient
        await controller.evt_scalars.set_write(int0=1)
        first, second, third = await asyncio.gather(*tasks)
        assert first is second is third
        assert event.nqueued == 0
        assert event.get() is first


async def test_a_full_queue_drops_the_oldest(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        await asyncio.gather(*(controller.evt_scalars.set_write(int0=n) for n in range(1, 131)))
        await until(lambda: remote.evt_scalars.has_data and remote.evt_scalars.get().int0 == 130)
        assert remote.evt_scalars.nqueued == 100
        assert remote.evt_scalars.num_dropped == 30
        assert remote.evt_scalars.get_oldest().int0 == 31


async def test_the_queue_of_a_slow_callback_says_how_long_it_is_when_it_is_full(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.topics.read_topic.CALLBACK_QUEUE_LEN", 120)
    async with open_pair() as (controller, remote):
        held = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            await held.wait()

        remote.evt_scalars.callback = callback
        await asyncio.gather(*(controller.evt_scalars.set_write(int0=n) for n in range(1, 131)))
        await until(lambda: remote.evt_scalars.num_dropped)
        assert "queue of evt_scalars is full (120)" in caplog.text
        held.set()


async def test_a_callback_gets_every_sample_and_rules_out_the_queue(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event = remote.evt_scalars
        await controller.evt_scalars.set_write(int0=1)
        await event.aget(timeout=WAIT)
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)
            await asyncio.sleep(0)

        event.callback = callback
        assert event.has_callback
        for n in range(2, 6):
            await controller.evt_scalars.set_write(int0=n)
        await until(lambda: len(seen) == 4)
        assert seen == [2, 3, 4, 5]  # the first one was in the queue, which is emptied
        assert event.get().int0 == 5
        for method in (event.get_oldest, event.flush):
            with pytest.raises(RuntimeError, match="Not allowed because there is a callback function"):
                method()
        for coroutine in (event.aget(), event.next(flush=False)):
            with pytest.raises(RuntimeError, match="Not allowed because there is a callback function"):
                await coroutine
        with pytest.raises(TypeError, match="is not callable"):
            event.callback = 5
        assert event.callback is callback
        event.callback = None
        await controller.evt_scalars.set_write(int0=6)
        assert (await event.next(flush=False, timeout=WAIT)).int0 == 6
        assert seen == [2, 3, 4, 5]


async def test_a_failing_callback_does_not_stop_the_others(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        seen: list[int] = []
        failures = [ValueError("x"), ExpectedError("x"), asyncio.CancelledError(), KeyError("x")]

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)
            if failures:
                raise failures.pop()

        remote.evt_scalars.callback = callback
        for n in range(1, 6):
            await controller.evt_scalars.set_write(int0=n)
        await until(lambda: len(seen) == 5)


async def test_callbacks_of_every_kind_work_and_plain_functions_warn(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event = remote.evt_scalars
        seen: list[int] = []

        async def take(data: BaseMsgType, offset: int = 0) -> None:
            seen.append(data.int0 + offset)

        def take_plainly(data: BaseMsgType) -> None:
            seen.append(-data.int0)

        class Callable:
            async def __call__(self, data: BaseMsgType) -> None:
                await take(data)

        mock = AsyncMock()
        # Setting a callback empties the queue, so each one has to be seen at work before the next.
        for number, callback, has_run in (
            (1, partial(take, offset=100), lambda: seen == [101]),
            (2, mock, lambda: mock.await_count == 1),
            (3, Callable(), lambda: seen == [101, 3]),
        ):
            event.callback = callback
            await controller.evt_scalars.set_write(int0=number)
            await until(has_run)
        with pytest.warns(DeprecationWarning, match="should be a coroutine function"):
            event.callback = take_plainly
        await controller.evt_scalars.set_write(int0=9)
        await until(lambda: seen[-1] == -9)


async def test_parallel_callbacks_overlap(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        is_second = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            if data.int0 == 2:
                is_second.set()
            await asyncio.wait_for(is_second.wait(), WAIT)

        remote.evt_scalars.allow_multiple_callbacks = True
        remote.evt_scalars.callback = callback
        for n in (1, 2):
            await controller.evt_scalars.set_write(int0=n)
        await asyncio.wait_for(is_second.wait(), WAIT)


async def test_nothing_can_be_read_before_the_start(sal_environment: SalSettings) -> None:
    async with Domain() as domain:
        remote = Remote(domain, "Test", 1, start=False)
        event = remote.evt_scalars
        event.flush()
        assert event.nqueued == 0
        for call in (event.get, event.get_oldest, partial(getattr, event, "has_data")):
            with pytest.raises(RuntimeError, match="Not started"):
                call()
        for coroutine in (event.aget(), event.next(flush=False)):
            with pytest.raises(RuntimeError, match="Not started"):
                await coroutine


async def test_after_the_end_the_last_sample_stays_and_waits_are_cancelled(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        await controller.evt_scalars.set_write(int0=1)
        data = await remote.evt_scalars.next(flush=False, timeout=WAIT)
        tasks = [
            asyncio.create_task(remote.evt_scalars.next(flush=False)),
            asyncio.create_task(remote.evt_arrays.aget()),
        ]
        await asyncio.sleep(0)
        await remote.close()
        await remote.close()
        await asyncio.wait(tasks, timeout=WAIT)
        assert all(task.cancelled() for task in tasks)
        assert remote.evt_scalars.get() is data
        assert await remote.evt_scalars.aget() is data


async def test_one_reader_and_one_writer_per_topic_and_none_after_the_start(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        for salinfo in (controller.salinfo, remote.salinfo):
            with pytest.raises(RuntimeError, match="has been started"):
                RemoteEvent(salinfo, "scalars")
        late = Remote(controller.domain, "Test", 1, start=False)
        with pytest.raises(ValueError, match="exists already"):
            RemoteEvent(late.salinfo, "scalars")
        with pytest.raises(RuntimeError, match=r"Failed to create topic Test\.evt_nosuch"):
            RemoteEvent(late.salinfo, "nosuch")


@pytest.mark.parametrize(
    ("index", "arguments"),
    [
        (1, {"max_history": -1}),
        (1, {"max_history": 12, "queue_len": 11}),
        (1, {"queue_len": 10}),
        (0, {"max_history": 2}),
    ],
)
async def test_impossible_queues_are_refused(
    memory_environment: SalSettings, index: int, arguments: dict[str, int]
) -> None:
    async with Domain() as domain:
        remote = Remote(domain, "Test", index, start=False, include=[])
        name = next(iter(arguments))
        with pytest.raises(ValueError, match=name):
            RemoteEvent(remote.salinfo, "scalars", **arguments)
        RemoteEvent(remote.salinfo, "scalars", queue_len=11)
