"""Telemetry topics with several partitions on Apache Kafka, and partitions that an operator adds."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from lsst.ts.ocps.sal.broker.base import TopicSpec
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.tai import current_tai
from support.brokers import started
from support.sal_fixtures import open_pair, until

pytestmark = [pytest.mark.asyncio, pytest.mark.system, pytest.mark.timeout(300)]

TELEMETRY = load_component("Test").topics["tel_scalars"]
LIMIT = 60.0


class Writer:
    """Writes telemetry of index 1 into the partition that it is told, as other programs choose freely."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, stream: Any) -> None:
        self._producer = producer
        self._topic = topic
        self._stream = stream
        self.count = 0

    async def wait_for_partitions(self, count: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(await self._producer.partitions_for(self._topic)) < count:  # noqa: ASYNC110 (not told)
                await asyncio.sleep(0.05)

    async def write(self, partitions: Iterable[int], each: int) -> None:
        sends = []
        for partition in list(partitions) * each:
            fields = {"salIndex": 1, "int0": self.count, "private_sndStamp": current_tai()}
            value = self._stream.codec.encode(fields, schema_id=self._stream.schema_id)
            sends.append(await self._producer.send(self._topic, key=b"", value=value, partition=partition))
            self.count += 1
        await asyncio.gather(*sends)


@asynccontextmanager
async def open_writer(settings: SalSettings, stream: Any) -> AsyncIterator[Writer]:
    topic = TELEMETRY.kafka_name(settings.topic_subname)
    # It asks for the partitions of the topic more often than the default of 5 min.
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker_address, metadata_max_age_ms=500)
    await producer.start()
    try:
        yield Writer(producer, topic, stream)
    finally:
        await producer.stop()


async def expand(settings: SalSettings, topic: str, total: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker_address)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(total_count=total)})
    finally:
        await admin.close()


async def test_every_partition_is_read_and_those_that_are_added_too(
    rough_settings: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.partition_watch.LOOK_EVERY", 1.0)
    topic = TELEMETRY.kafka_name(rough_settings.topic_subname)
    async with started(rough_settings) as broker:
        await broker.ensure_topics([TopicSpec(topic, partitions=3)])
        async with (
            open_pair(index=1, discard_out_of_order_telemetry=False) as (controller, remote),
            Remote(controller.domain, "Test", 1) as strict,
            open_writer(rough_settings, controller.tel_scalars) as writer,
        ):
            seen: list[int] = []

            async def note(data: Any) -> None:
                seen.append(data.int0)

            async def wait_for_all() -> None:
                async with asyncio.timeout(LIMIT):
                    while len(seen) < writer.count:  # noqa: ASYNC110 (a callback sets no event)
                        await asyncio.sleep(0.01)

            stamps: list[float] = []

            async def note_stamp(data: Any) -> None:
                stamps.append(data.private_sndStamp)

            remote.tel_scalars.callback = note
            strict.tel_scalars.callback = note_stamp
            # Never more at once than the queue of a Remote holds.
            for _ in range(5):
                await writer.write(range(3), each=30)
                await wait_for_all()
            await expand(rough_settings, topic, 5)
            await writer.wait_for_partitions(5)
            # Into new partitions, before and after the Remote knows of them.
            await writer.write(range(5), each=20)
            await wait_for_all()
            await writer.write(range(5), each=20)
            await wait_for_all()
            assert sorted(seen) == list(range(writer.count))
            # Our own writer goes on too.
            await controller.tel_scalars.set_write(int0=writer.count)
            writer.count += 1
            await wait_for_all()
            # Who does not want late samples gets none, and the last one all the same.
            await until(lambda: strict.tel_scalars.get().int0 == writer.count - 1)
            assert stamps == sorted(stamps)
