"""What other programs write in transactions on Apache Kafka: nothing is heard of those that were aborted."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from lsst.ts.ocps.sal.broker.base import TopicPartition, TopicSpec
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench, started
from support.sal_fixtures import WAIT

pytestmark = [pytest.mark.asyncio, pytest.mark.system]


async def write_transactions(settings: SalSettings, topic: str) -> None:
    """Write one record in a transaction that is aborted, and one in another that is committed."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker_address, transactional_id=topic)
    await producer.start()
    try:
        for value in (b"aborted", b"committed"):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, key=b"k", value=value)
            await (producer.commit_transaction() if value == b"committed" else producer.abort_transaction())
    finally:
        await producer.stop()


async def read_all(settings: SalSettings, topic: str) -> list[bytes | None]:
    """Read until the record that was written after the transactions."""
    values: list[bytes | None] = []
    async with asyncio.timeout(WAIT), started(settings) as broker:
        reader = broker.create_reader()
        try:
            await reader.assign({TopicPartition(topic, 0): 0})
            while values[-1:] != [b"last"]:
                values += [record.value for record in await reader.read(timeout=WAIT)]
        finally:
            await reader.aclose()
    return values


async def test_only_what_was_committed_is_read_unless_a_file_says_otherwise(
    apache_bench: BrokerBench, tmp_path: Path
) -> None:
    settings = apache_bench.settings
    topic = f"lsst.{settings.topic_subname}.T.x"
    async with asyncio.timeout(WAIT), started(settings) as broker:
        await broker.ensure_topics([TopicSpec(topic)])
        await write_transactions(settings, topic)
        await broker.send(topic, key=b"k", value=b"last")
    assert await read_all(settings, topic) == [b"committed", b"last"]
    file = tmp_path / "consumer.yaml"
    file.write_text("isolation.level: read_uncommitted\n", encoding="utf-8")
    loose = SalSettings(**(settings.model_dump() | {"consumer_file": file}))
    assert await read_all(await asyncio.to_thread(loose.with_files), topic) == [
        *(b"aborted", b"committed", b"last"),
    ]
