"""Events and telemetry as a Controller writes them, on a broker of each kind."""

import asyncio
import math
import warnings
from typing import Any

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.golden import load_golden
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_log import read_log, read_samples

pytestmark = pytest.mark.asyncio


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
        monkeypatch.setattr("lsst.ts.ocps.sal.topics.write_topic.PERISHABLE_AGE", WAIT)
        await controller.tel_scalars.set_write(int0=3)
        assert len(sent) == 2


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
