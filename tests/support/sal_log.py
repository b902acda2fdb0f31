"""Look at what is in a topic, whoever wrote it."""

from typing import Any

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.avro import TopicCodec, schema_id_of
from lsst.ts.ocps.sal.broker.base import OffsetRange, Record, TopicPartition
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import create_registry
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.stretch import read_stretches
from support.brokers import started

__all__ = ["read_log", "read_samples"]

PATIENCE = 20.0
"""Longest wait for the records (s)."""


async def read_log(settings: SalSettings, topic: str, *, count: int = 0) -> list[Record]:
    """All records of a topic, when there are at least so many."""
    deadline = Deadline(f"reading {topic}", PATIENCE)
    async with deadline.enforce(), started(settings) as broker:
        partition = TopicPartition(topic, 0)
        stretch = OffsetRange(0, 0)
        while stretch.end < max(count, 1):
            stretch = (await broker.offsets([partition]))[partition]
        reading = read_stretches(broker, {partition: stretch}, deadline=deadline, idle=PATIENCE)
        return [record async for record in reading]


async def read_samples(
    settings: SalSettings, component: str, attr_name: str, *, count: int = 0
) -> list[dict[str, Any]]:
    """The records of a topic, decoded."""
    topic = load_component(component).topics[attr_name]
    codec = TopicCodec(topic)
    registry = create_registry(settings)
    try:
        return [
            codec.decode(record.value, await registry.schema(schema_id_of(record.value)))
            for record in await read_log(settings, topic.kafka_name(settings.topic_subname), count=count)
        ]
    finally:
        await registry.aclose()
