"""Sal-on-kafka section 20, points 3, 4 and 15: how records are written."""

import asyncio
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from lsst.ts.ocps.sal.broker.base import TopicPartition
from lsst.ts.ocps.sal.broker.kafka import KafkaBroker
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.settings import SalSettings
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_log import read_samples

pytestmark = pytest.mark.asyncio


async def test_weakness_03_a_write_that_fails_raises_and_the_next_one_writes_what_is_owed(
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


async def test_weakness_04_writes_arrive_in_the_order_in_which_they_were_begun(
    sal_environment: SalSettings,
) -> None:
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


async def test_weakness_03_a_write_returns_when_the_broker_has_the_record(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, _):
        event = controller.evt_scalars
        partition = TopicPartition(event.topic_info.kafka_name(sal_environment.topic_subname), 0)
        for value in range(1, 6):
            await event.set_write(int0=value)
            assert (await controller.salinfo.broker.offsets([partition]))[partition].end == value


async def test_weakness_04_the_producer_is_idempotent_and_waits_for_all_replicas(
    kafka_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Any] = []
    real_send = AIOKafkaConnection.send

    def send(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
        requests.append(request)
        return real_send(self, request, expect_response)

    monkeypatch.setattr(AIOKafkaConnection, "send", send)
    # What the site asks for makes it weaker; the producer stays as it is.
    monkeypatch.setenv("LSST_KAFKA_PRODUCER_WAIT_ACKS", "1")
    async with open_pair() as (controller, _):
        await controller.evt_scalars.set_write(int0=1)
        broker = controller.salinfo.broker
        assert isinstance(broker, KafkaBroker)
        assert broker._writer is not None
        producer = broker._writer._producer
        assert producer is not None
        assert producer._txn_manager.producer_id >= 0
    assert any("InitProducerId" in type(request).__name__ for request in requests)
    acks = {request.required_acks for request in requests if hasattr(request, "required_acks")}
    assert acks == {-1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int0", 2**31),
        ("int0", -(2**31) - 1),
        ("short0", 2**31),
        ("unsignedShort0", 2**40),
        ("unsignedInt0", 2**63),
        ("longLong0", 2**63),
        ("longLong0", -(2**63) - 1),
    ],
)
async def test_weakness_15_an_integer_out_of_range_is_refused_with_field_and_value(
    memory_environment: SalSettings, name: str, value: int
) -> None:
    async with open_pair() as (controller, remote):
        text = rf"Test\.evt_scalars\.{name}={value}: out of the range"
        with pytest.raises(ValueError, match=text):
            await controller.evt_scalars.set_write(**{name: value})
        with pytest.raises(ValueError, match=rf"Test\.cmd_setScalars\.{name}={value}: out of the range"):
            await remote.cmd_setScalars.set_start(**{name: value}, timeout=WAIT)
        for topic in ("logevent_scalars", "command_setScalars"):
            partition = TopicPartition(f"lsst.{memory_environment.topic_subname}.Test.{topic}", 0)
            assert (await controller.salinfo.broker.offsets([partition]))[partition].end == 0


async def test_weakness_15_an_element_of_an_array_is_named(memory_environment: SalSettings) -> None:
    async with open_pair() as (controller, _):
        with pytest.raises(ValueError, match=rf"evt_arrays\.int0\[3\]={2**31}: out of the range"):
            await controller.evt_arrays.set_write(int0=[0, 0, 0, 2**31, 0])
