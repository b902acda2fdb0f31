"""Events and telemetry between a Controller and a Remote, on a broker of each kind."""

import asyncio
import math
import warnings
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import BrokerError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.topics.remote_topics import RemoteEvent
from support.golden import load_golden
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_log import read_log, read_samples

pytestmark = pytest.mark.asyncio


# Writing


async def test_an_event_is_written_when_a_value_changes_or_when_forced(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event = controller.evt_scalars
        outcomes = [
            await event.set_write(int0=0),  # the first time everything counts as a change
            await event.set_write(int0=0),
            await event.set_write(int0=5, double0=math.nan),
            await event.set_write(int0=5.0, double0=math.nan, string0=None),
            await event.set_write(int0=5, force_output=True),
            await event.set_write(),
        ]
        assert [(each.did_change, each.was_written) for each in outcomes] == [
            (True, True),
            (False, False),
            (True, True),
            (False, False),
            (False, True),
            (False, False),
        ]
        seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(3)]
        assert [data.int0 for data in seen] == [0, 5, 5]
        assert [data.private_seqNum for data in seen] == [1, 2, 3]
        assert remote.evt_scalars.nqueued == 0


async def test_telemetry_is_written_unless_told_otherwise(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        telemetry = controller.tel_scalars
        outcomes = [
            await telemetry.set_write(int0=1),
            await telemetry.set_write(int0=1),
            await telemetry.set_write(int0=1, force_output=False),
            await telemetry.set_write(int0=2, force_output=False),
        ]
        assert [(each.did_change, each.was_written) for each in outcomes] == [
            (True, True),
            (False, True),
            (False, False),
            (True, True),
        ]
        telemetry.default_force_output = False
        assert not (await telemetry.set_write(int0=2)).was_written
        seen = [await remote.tel_scalars.next(flush=False, timeout=WAIT) for _ in range(3)]
        assert [data.int0 for data in seen] == [1, 1, 2]


async def test_the_comparison_is_with_what_was_last_set(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, _):
        event = controller.evt_scalars
        assert not event.has_data
        assert event.set(int0=1)
        assert event.has_data
        assert event.set(int0=2)
        assert not (await event.set_write()).was_written
        written = await event.write()
        assert written.int0 == 2
        assert written is not event.data


async def test_write_alone_does_not_count_as_set(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, _):
        await controller.evt_scalars.write()
        assert not controller.evt_scalars.has_data
        assert (await controller.evt_scalars.set_write()).was_written


async def test_wrong_names_and_values_change_nothing(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        event = controller.evt_arrays
        await event.set_write(int0=[1, 2, 3, 4, 5])
        with pytest.raises(AttributeError, match=r"evt_arrays has no fields \['nosuch'\]"):
            await event.set_write(short0=[9] * 5, nosuch=1)
        with pytest.raises(TypeError, match="int0=3 is not an array"):
            await event.set_write(short0=[9] * 5, int0=3)
        assert event.data.short0 == [0] * 5
        with pytest.raises(TypeError, match="is not an instance of evt_arrays"):
            event.data = controller.evt_scalars.DataType()
        with pytest.raises(TypeError, match=r"evt_scalars\.string0=5"):
            await controller.evt_scalars.set_write(string0=5)
        with pytest.raises(ValueError, match="int0"):
            await controller.evt_scalars.set_write(int0=2**40, string0="")
        assert remote.evt_scalars.get() is None


async def test_a_list_of_the_writer_is_not_shared(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        mine = [1, 2, 3, 4, 5]
        first = await controller.evt_arrays.set_write(int0=mine)
        mine[0] = 9
        assert (await controller.evt_arrays.set_write(int0=mine)).was_written
        assert first.data.int0 == [1, 2, 3, 4, 5]
        seen = [await remote.evt_arrays.next(flush=False, timeout=WAIT) for _ in range(2)]
        assert [data.int0[0] for data in seen] == [1, 9]


async def test_an_array_of_the_wrong_length_is_written_with_a_warning(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="int0 has 2 values"):
                await controller.evt_arrays.set_write(int0=[1, 2])
        with pytest.warns(UserWarning, match="int0 has 2 values"):
            await controller.evt_arrays.set_write(int0=[1, 2])
        assert (await remote.evt_arrays.next(flush=False, timeout=WAIT)).int0 == [1, 2]


async def test_a_write_that_fails_raises_and_the_next_one_writes_what_is_owed(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair() as (controller, remote):
        event = controller.evt_scalars
        with pytest.raises(BrokerError):
            await event.set_write(string0="x" * 2_000_000)
        with pytest.raises(BrokerError):
            # Unchanged since, but nobody has it.
            await event.set_write(string0="x" * 2_000_000)
        assert event.is_owed
        await event.set_write(string0="short")
        assert not event.is_owed
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).string0 == "short"


async def test_telemetry_that_the_broker_does_not_take_is_dropped_and_not_queued(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair() as (controller, _):
        broker = controller.salinfo.broker
        gate = asyncio.Event()
        real_send = broker.send
        sent: list[str] = []

        async def send(topic: str, *, key: bytes, value: bytes) -> Any:
            sent.append(topic)
            await gate.wait()
            return await real_send(topic, key=key, value=value)

        monkeypatch.setattr(broker, "send", send)
        monkeypatch.setattr("lsst.ts.ocps.sal.topics.write_topic.PERISHABLE_AGE", 0.1)
        with pytest.raises(BrokerError, match="tel_scalars: dropped, not delivered within"):
            await controller.tel_scalars.set_write(int0=1)
        with pytest.raises(BrokerError, match="tel_scalars: dropped, because an earlier record"):
            await controller.tel_scalars.set_write(int0=2)
        assert len(sent) == 1
        gate.set()
        stalled: asyncio.Task[None] = controller.tel_scalars._stalled
        await until(stalled.done)
        await controller.tel_scalars.set_write(int0=3)
        assert len(sent) == 2


async def test_writes_arrive_in_the_order_in_which_they_were_begun(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        remote.evt_scalars.callback = callback
        await asyncio.gather(*(controller.evt_scalars.set_write(int0=n) for n in range(1, 301)))
        await until(lambda: len(seen) == 300)
        assert seen == list(range(1, 301))
    samples = await read_samples(sal_environment, "Test", "evt_scalars", count=300)
    stamps = [sample["private_sndStamp"] for sample in samples]
    assert stamps == sorted(set(stamps))


async def test_records_on_the_wire_are_those_of_the_real_library(sal_environment: SalSettings) -> None:
    golden = load_golden("Test")["topics"]
    async with open_pair(index=5) as (controller, _):
        await controller.evt_summaryState.set_write(summaryState=5)
        await controller.tel_scalars.set_write(int0=7)
        origin = controller.domain.origin
    for attr_name in ("evt_summaryState", "tel_scalars"):
        topic = f"lsst.{sal_environment.topic_subname}.Test.{golden[attr_name]['sal_name']}"
        (record,) = await read_log(sal_environment, topic)
        assert (record.key or b"").decode() == golden[attr_name]["key"]
        assert (record.value or b"")[:1] == b"\0"
        (sample,) = await read_samples(sal_environment, "Test", attr_name)
        stamp = sample["private_sndStamp"]
        assert sample["salIndex"] == 5
        assert sample["private_rcvStamp"] == 0
        assert sample["private_kafkaStamp"] == stamp
        assert stamp - sample["private_efdStamp"] == pytest.approx(37, abs=1e-3)
        assert sample["private_seqNum"] == 1
        assert sample["private_revCode"] == golden[attr_name]["rev_code"]
        assert sample["private_identity"] == "Test:5"
        assert sample["private_origin"] == origin


async def test_a_writer_of_index_0_may_choose_the_index(sal_environment: SalSettings) -> None:
    async with Controller("Test", 0) as controller, Domain() as domain, Remote(domain, "Test", 3) as remote:
        await controller.evt_scalars.set_write(int0=1, salIndex=4)
        await controller.evt_scalars.set_write(int0=2, salIndex=3)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 2


async def test_nothing_is_written_before_the_start_or_after_the_end(sal_environment: SalSettings) -> None:
    controller = Controller("Test", 1)
    controller.evt_scalars.set(int0=3)
    with pytest.raises(RuntimeError, match="Not started"):
        await controller.evt_scalars.write()
    await controller.start_task
    assert (await controller.evt_scalars.write()).int0 == 3
    await controller.close()
    with pytest.raises(RuntimeError, match="No longer open"):
        await controller.evt_scalars.write()
    assert not controller.evt_scalars.isopen


# Reading


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
