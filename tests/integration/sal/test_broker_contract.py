"""What every broker must do, in memory or real: the same tests for all."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import pytest_asyncio

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.broker.base import Broker, BrokerReader, OffsetRange, Record, TopicPartition, TopicSpec
from lsst.ts.ocps.sal.errors import BrokerError
from support.brokers import BrokerBench, started

pytestmark = [pytest.mark.asyncio, pytest.mark.every_broker]

LIMIT = 20.0


@pytest_asyncio.fixture
async def broker(broker_bench: BrokerBench) -> AsyncIterator[Broker]:
    async with started(broker_bench.settings) as broker:
        yield broker


@pytest_asyncio.fixture
async def topic(broker: Broker) -> str:
    name = f"lsst.test.T.{uuid.uuid4().hex}"
    await broker.ensure_topics([TopicSpec(name)])
    return name


@pytest_asyncio.fixture
async def reader(broker: Broker) -> AsyncIterator[BrokerReader]:
    reader = broker.create_reader()
    yield reader
    await reader.aclose()


async def send_all(broker: Broker, topic: str, values: Sequence[bytes], key: bytes = b"k") -> None:
    for value in values:
        await broker.send(topic, key=key, value=value)


async def read_until(reader: BrokerReader, count: int, *, max_records: int = 500) -> list[Record]:
    records: list[Record] = []
    async with Deadline(f"read {count} records", LIMIT).enforce():
        while len(records) < count:
            records += await reader.read(timeout=1.0, max_records=max_records)
    return records


async def offsets_of(broker: Broker, topic: str) -> OffsetRange:
    partition = TopicPartition(topic, 0)
    return (await broker.offsets([partition]))[partition]


def numbered(count: int, prefix: str = "") -> list[bytes]:
    return [f"{prefix}{n}".encode() for n in range(count)]


async def test_records_come_back_in_order_with_key_value_and_offset(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    await reader.assign({TopicPartition(topic, 0): 0})
    await send_all(broker, topic, numbered(20))
    records = await read_until(reader, 20)
    assert [record.value for record in records] == numbered(20)
    assert [record.offset for record in records] == list(range(20))
    assert {(record.topic, record.partition, record.key) for record in records} == {(topic, 0, b"k")}
    assert all(record.timestamp > 1_600_000_000_000 for record in records)


async def test_records_sent_at_once_are_stored_in_the_order_of_the_calls_each_once(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    values = numbered(2000)
    partitions = await asyncio.gather(*(broker.send(topic, key=b"k", value=value) for value in values))
    assert set(partitions) == {TopicPartition(topic, 0)}
    await reader.assign({TopicPartition(topic, 0): 0})
    assert [record.value for record in await read_until(reader, 2000)] == values
    assert await offsets_of(broker, topic) == OffsetRange(0, 2000)


async def test_a_record_is_there_when_send_returns(broker: Broker, topic: str) -> None:
    assert await offsets_of(broker, topic) == OffsetRange(0, 0)
    await broker.send(topic, key=b"", value=b"x")
    assert await offsets_of(broker, topic) == OffsetRange(0, 1)


async def test_an_empty_key_stays_empty(broker: Broker, reader: BrokerReader, topic: str) -> None:
    await broker.send(topic, key=b"", value=b"x")
    await reader.assign({TopicPartition(topic, 0): 0})
    assert [record.key for record in await read_until(reader, 1)] == [b""]


async def test_reading_starts_at_the_given_offset(broker: Broker, reader: BrokerReader, topic: str) -> None:
    await send_all(broker, topic, numbered(10))
    await reader.assign({TopicPartition(topic, 0): 7})
    assert [record.offset for record in await read_until(reader, 3)] == [7, 8, 9]


async def test_a_reader_at_the_end_gets_only_what_comes(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    await send_all(broker, topic, numbered(5))
    await reader.assign({TopicPartition(topic, 0): 5})
    assert not await reader.read(timeout=0.3)
    await broker.send(topic, key=b"k", value=b"new")
    assert [record.value for record in await read_until(reader, 1)] == [b"new"]


async def test_a_waiting_reader_is_woken_by_a_record(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    await reader.assign({TopicPartition(topic, 0): 0})
    waiting = asyncio.create_task(reader.read(timeout=LIMIT))
    await asyncio.sleep(0)
    await broker.send(topic, key=b"k", value=b"x")
    async with Deadline("wake the reader", LIMIT / 2).enforce():
        assert [record.value for record in await waiting] == [b"x"]


async def test_a_new_assignment_replaces_the_old_one(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    other = f"{topic}.other"
    await broker.ensure_topics([TopicSpec(other)])
    await send_all(broker, topic, numbered(3, "a"))
    await send_all(broker, other, numbered(3, "b"))
    await reader.assign({TopicPartition(topic, 0): 0})
    await read_until(reader, 3)
    await reader.assign({TopicPartition(other, 0): 1})
    await broker.send(topic, key=b"k", value=b"not wanted")
    assert [record.value for record in await read_until(reader, 2)] == [b"b1", b"b2"]
    assert not await reader.read(timeout=0.3)
    await reader.assign({TopicPartition(topic, 0): 3})
    assert [record.value for record in await read_until(reader, 1)] == [b"not wanted"]


async def test_further_partitions_are_read_and_the_others_go_on_where_they_are(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    other = f"{topic}.other"
    await broker.ensure_topics([TopicSpec(other)])
    await send_all(broker, topic, numbered(10, "a"))
    await send_all(broker, other, numbered(3, "b"))
    await reader.assign({TopicPartition(topic, 0): 2})
    records = list(await reader.read(timeout=LIMIT, max_records=3))
    await reader.extend({TopicPartition(other, 0): 1})
    records += await read_until(reader, 10 - len(records))
    by_topic = {name: [r.value for r in records if r.topic == name] for name in (topic, other)}
    assert by_topic == {topic: numbered(10, "a")[2:], other: [b"b1", b"b2"]}


async def test_no_more_records_at_once_than_asked_for(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    await send_all(broker, topic, numbered(25))
    await reader.assign({TopicPartition(topic, 0): 0})
    first = await reader.read(timeout=LIMIT, max_records=4)
    assert 1 <= len(first) <= 4
    rest = await read_until(reader, 25 - len(first), max_records=4)
    assert [record.offset for record in [*first, *rest]] == list(range(25))


async def test_many_topics_are_read_by_one_reader(broker: Broker, reader: BrokerReader, topic: str) -> None:
    topics = [f"{topic}.{n}" for n in range(40)]
    await broker.ensure_topics([TopicSpec(name, is_compacted=True) for name in topics])
    await reader.assign({TopicPartition(name, 0): 0 for name in topics})
    await asyncio.gather(*(send_all(broker, name, numbered(10)) for name in topics))
    records = await read_until(reader, 400)
    for name in topics:
        assert [record.value for record in records if record.topic == name] == numbered(10)


async def test_two_readers_do_not_disturb_each_other(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    second = broker.create_reader()
    try:
        await reader.assign({TopicPartition(topic, 0): 0})
        await second.assign({TopicPartition(topic, 0): 0})
        await send_all(broker, topic, numbered(5))
        assert [record.value for record in await read_until(reader, 5)] == numbered(5)
        assert [record.value for record in await read_until(second, 5)] == numbered(5)
    finally:
        await second.aclose()


async def test_a_topic_with_several_partitions_is_read_completely(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    wide = f"{topic}.wide"
    await broker.ensure_topics([TopicSpec(wide, partitions=3)])
    partitions = await broker.partitions([wide])
    assert sorted(partitions[wide]) == [0, 1, 2]
    await reader.assign({TopicPartition(wide, number): 0 for number in partitions[wide]})
    sent = [await broker.send(wide, key=f"k{n}".encode(), value=b"%d" % n) for n in range(30)]
    records = await read_until(reader, 30)
    assert {TopicPartition(record.topic, record.partition) for record in records} == set(sent)
    for number in partitions[wide]:
        own = [int(record.value or b"") for record in records if record.partition == number]
        assert own == sorted(own)


async def test_partitions_that_are_read_together_come_in_the_order_of_writing(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    wide = f"{topic}.wide"
    await broker.ensure_topics([TopicSpec(wide, partitions=3)])
    for n in range(30):
        await broker.send(wide, key=f"k{n}".encode(), value=b"%d" % n)
    await reader.assign({TopicPartition(wide, number): 0 for number in range(3)})
    count = 0
    async with Deadline("read 30 records", LIMIT).enforce():
        while count < 30:
            stamps = [record.timestamp for record in await reader.read(timeout=1.0)]
            assert stamps == sorted(stamps)
            count += len(stamps)


async def test_tombstones_and_null_keys_are_read_as_they_are(
    broker_bench: BrokerBench, broker: Broker, reader: BrokerReader, topic: str
) -> None:
    await broker_bench.write_raw(topic, key=b"k", value=None)
    await broker_bench.write_raw(topic, key=None, value=b"x")
    await broker.send(topic, key=b"k", value=b"after")
    await reader.assign({TopicPartition(topic, 0): 0})
    records = await read_until(reader, 3)
    assert [(record.key, record.value) for record in records] == [
        (b"k", None),
        (None, b"x"),
        (b"k", b"after"),
    ]


async def test_a_large_record_passes(broker: Broker, reader: BrokerReader, topic: str) -> None:
    value = bytes(range(256)) * 3500  # 896 000 bytes
    await broker.send(topic, key=b"k", value=value)
    await broker.send(topic, key=b"k", value=b"small")
    await reader.assign({TopicPartition(topic, 0): 0})
    assert [record.value for record in await read_until(reader, 2)] == [value, b"small"]


async def test_a_record_that_is_too_large_is_refused_and_the_next_passes(
    broker: Broker, reader: BrokerReader, topic: str
) -> None:
    with pytest.raises(BrokerError, match=topic):
        await broker.send(topic, key=b"k", value=bytes(3_000_000))
    await broker.send(topic, key=b"k", value=b"small")
    await reader.assign({TopicPartition(topic, 0): 0})
    assert [record.value for record in await read_until(reader, 1)] == [b"small"]


async def test_a_position_that_retention_has_removed_continues_at_the_begin(
    broker_bench: BrokerBench,
    broker: Broker,
    reader: BrokerReader,
    topic: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await send_all(broker, topic, numbered(10))
    await broker_bench.delete_before(TopicPartition(topic, 0), 4)
    begin = (await offsets_of(broker, topic)).begin
    assert 4 <= begin <= 10
    await broker.send(topic, key=b"k", value=b"last")
    with caplog.at_level(logging.WARNING, logger="lsst.ts.ocps"):
        await reader.assign({TopicPartition(topic, 0): 1})
        records = await read_until(reader, 11 - begin)
    assert [record.offset for record in records] == list(range(begin, 11))
    assert f"{topic}[0]: the records from offset 1 on have been removed" in caplog.text


async def test_a_position_beyond_the_end_continues_at_the_end(
    broker: Broker, reader: BrokerReader, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    await send_all(broker, topic, numbered(3))
    with caplog.at_level(logging.WARNING, logger="lsst.ts.ocps"):
        await reader.assign({TopicPartition(topic, 0): 50})
        async with Deadline("notice that the position is gone", LIMIT).enforce():
            while "records were lost" not in caplog.text:
                assert not await reader.read(timeout=0.2)
    await broker.send(topic, key=b"k", value=b"new")
    assert [(record.offset, record.value) for record in await read_until(reader, 1)] == [(3, b"new")]


async def test_existing_topics_are_left_as_they_are(broker: Broker, topic: str) -> None:
    await broker.send(topic, key=b"k", value=b"x")
    await broker.ensure_topics([TopicSpec(topic, partitions=5, is_compacted=True), TopicSpec(f"{topic}.new")])
    found: Mapping[str, Sequence[int]] = await broker.partitions([topic, f"{topic}.new"])
    assert {name: list(numbers) for name, numbers in found.items()} == {topic: [0], f"{topic}.new": [0]}
    assert await offsets_of(broker, topic) == OffsetRange(0, 1)


async def test_topics_are_created_by_many_at_once(broker_bench: BrokerBench, topic: str) -> None:
    specs = [TopicSpec(f"{topic}.{n}") for n in range(10)]

    async def create() -> None:
        async with started(broker_bench.settings) as other:
            await other.ensure_topics(specs)
            assert len(await other.partitions([spec.name for spec in specs])) == 10

    await asyncio.gather(*(create() for _ in range(5)))


async def test_asking_for_nothing_is_harmless(broker: Broker, reader: BrokerReader) -> None:
    await broker.ensure_topics([])
    assert await broker.partitions([]) == {}
    assert await broker.offsets([]) == {}
    await reader.assign({})
    assert not await reader.read(timeout=0.1)


async def test_an_unknown_topic_is_named(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="nosuch"):
        await broker.partitions(["lsst.test.T.nosuch"])
    with pytest.raises(BrokerError, match="nosuch"):
        await broker.offsets([TopicPartition("lsst.test.T.nosuch", 0)])


async def test_closing_a_reader_ends_a_read_under_way(broker: Broker, topic: str) -> None:
    reader = broker.create_reader()
    await reader.assign({TopicPartition(topic, 0): 0})
    waiting = asyncio.create_task(reader.read(timeout=LIMIT * 5))
    await asyncio.sleep(0.05)
    await reader.aclose()
    async with Deadline("end of the read", LIMIT).enforce():
        assert not await waiting


async def test_a_cancelled_read_loses_nothing(broker: Broker, reader: BrokerReader, topic: str) -> None:
    await reader.assign({TopicPartition(topic, 0): 0})
    waiting = asyncio.create_task(reader.read(timeout=LIMIT))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await send_all(broker, topic, numbered(3))
    assert [record.value for record in await read_until(reader, 3)] == numbered(3)


async def test_a_closed_broker_refuses_and_leaves_no_task(broker_bench: BrokerBench, topic: str) -> None:
    before = asyncio.all_tasks()
    async with started(broker_bench.settings) as broker:
        await broker.send(topic, key=b"k", value=b"x")
        reader = broker.create_reader()
        await reader.assign({TopicPartition(topic, 0): 0})
        await read_until(reader, 1)
        await reader.aclose()
    with pytest.raises(BrokerError):
        await broker.send(topic, key=b"k", value=b"y")
    with pytest.raises(BrokerError):
        await broker.partitions([topic])
    async with Deadline("end of all tasks", LIMIT).enforce():
        while asyncio.all_tasks() - before:  # noqa: ASYNC110 (tasks that end by themselves tell nobody)
            await asyncio.sleep(0.01)


async def test_records_outlive_the_broker_object(broker_bench: BrokerBench, topic: str) -> None:
    async with started(broker_bench.settings) as first:
        await first.send(topic, key=b"k", value=b"x")
    async with started(broker_bench.settings) as second:
        assert await offsets_of(second, topic) == OffsetRange(0, 1)
