"""A real broker is silent, restarts, or is not there: the loop goes on, nothing is skipped or doubled."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.broker.base import Broker, BrokerReader, Record, TopicPartition, TopicSpec
from lsst.ts.ocps.sal.broker.factory import create_broker
from lsst.ts.ocps.sal.broker.kafka import KafkaBroker
from lsst.ts.ocps.sal.errors import BrokerError
from support.brokers import NoidaProcess, make_settings, started
from support.ports import free_port
from support.processes import suspended
from support.serving import serving

pytestmark = pytest.mark.asyncio

LIMIT = 30.0
SILENCE = 5.0

LONGEST_STALL = 4.0
"""A loop that waits for a silent broker stands still for the whole silence (s)."""


@pytest.fixture
def own_noida(tmp_path: Path) -> Iterator[NoidaProcess]:
    """A broker of this test alone."""
    process = NoidaProcess(tmp_path / "noida")
    process.start()
    yield process
    process.stop()


@asynccontextmanager
async def opened(process: NoidaProcess) -> AsyncIterator[tuple[Broker, BrokerReader, str]]:
    """A broker, a reader at the begin of a new topic, and the name of the topic."""
    topic = f"lsst.test.T.{uuid.uuid4().hex}"
    async with started(make_settings(broker_address=process.address, connect_timeout=LIMIT)) as broker:
        await broker.ensure_topics([TopicSpec(topic)])
        reader = broker.create_reader()
        await reader.assign({TopicPartition(topic, 0): 0})
        try:
            yield broker, reader, topic
        finally:
            await reader.aclose()


@asynccontextmanager
async def closing_within_limit(broker: Broker) -> AsyncIterator[None]:
    """Closes the broker also after a failure; a second close is harmless."""
    try:
        yield
    finally:
        async with Deadline("close the broker", LIMIT).enforce():
            await broker.aclose()


async def read_until(reader: BrokerReader, count: int) -> list[Record]:
    records: list[Record] = []
    async with Deadline(f"read {count} records", LIMIT).enforce():
        while len(records) < count:
            records += await reader.read(timeout=0.5)
    return records


async def measure_longest_stall(until: asyncio.Event) -> float:
    longest, last = 0.0, time.monotonic()
    while not until.is_set():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest


@asynccontextmanager
async def silenced(process: NoidaProcess) -> AsyncIterator[None]:
    """The broker neither answers nor closes connections."""
    assert process.process is not None
    async with suspended(process.process.pid):
        yield


async def test_a_silent_broker_stops_neither_the_loop_nor_loses_order(own_noida: NoidaProcess) -> None:
    async with opened(own_noida) as (broker, reader, topic):
        await broker.send(topic, key=b"k", value=b"before")
        await read_until(reader, 1)
        is_over = asyncio.Event()
        watching = asyncio.create_task(measure_longest_stall(is_over))
        async with silenced(own_noida):
            sending = [asyncio.create_task(broker.send(topic, key=b"k", value=b"%d" % n)) for n in range(50)]
            assert not await reader.read(timeout=SILENCE)
            assert not any(task.done() for task in sending)
        await asyncio.gather(*sending)
        records = await read_until(reader, 50)
        is_over.set()
        assert [record.value for record in records] == [b"%d" % n for n in range(50)]
        assert not await reader.read(timeout=0.3)
        assert await watching < LONGEST_STALL


async def test_a_restarted_broker_gets_what_was_written_meanwhile_once_and_in_order(
    own_noida: NoidaProcess,
) -> None:
    async with opened(own_noida) as (broker, reader, topic):
        await broker.send(topic, key=b"k", value=b"before")
        await read_until(reader, 1)
        await asyncio.to_thread(own_noida.stop)
        sending = [asyncio.create_task(broker.send(topic, key=b"k", value=b"%d" % n)) for n in range(20)]
        assert not await reader.read(timeout=0.5)
        await asyncio.to_thread(own_noida.start)
        await asyncio.gather(*sending)
        await broker.send(topic, key=b"k", value=b"after")
        records = await read_until(reader, 21)
        assert [record.value for record in records] == [*(b"%d" % n for n in range(20)), b"after"]
        assert [record.offset for record in records] == list(range(1, 22))


async def test_topics_and_offsets_are_asked_again_after_a_restart(own_noida: NoidaProcess) -> None:
    async with opened(own_noida) as (broker, _, topic):
        await broker.send(topic, key=b"k", value=b"x")
        await asyncio.to_thread(own_noida.stop)
        asking = asyncio.create_task(broker.offsets([TopicPartition(topic, 0)]))
        creating = asyncio.create_task(broker.ensure_topics([TopicSpec(f"{topic}.new")]))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_noida.start)
        assert (await asking)[TopicPartition(topic, 0)].end == 1
        await creating
        assert await broker.partitions([f"{topic}.new"]) == {f"{topic}.new": (0,)}


async def test_a_write_without_confirmation_ends_with_an_error(own_noida: NoidaProcess) -> None:
    broker = KafkaBroker(make_settings(broker_address=own_noida.address), delivery_timeout=2.0)
    await broker.start()
    async with closing_within_limit(broker):
        await broker.ensure_topics([TopicSpec("lsst.test.T.slow"), TopicSpec("lsst.test.T.new")])
        await broker.send("lsst.test.T.slow", key=b"k", value=b"before")
        async with silenced(own_noida):
            with pytest.raises(BrokerError) as caught:
                await broker.send("lsst.test.T.slow", key=b"k", value=b"x")
            with pytest.raises(BrokerError, match="it was not sent"):
                await broker.send("lsst.test.T.new", key=b"k", value=b"x")
            async with Deadline("close while the broker is silent", LIMIT).enforce():
                await broker.aclose()
    assert f"write to lsst.test.T.slow at Kafka {own_noida.address}" in str(caught.value)
    assert "it is not known whether the record will be stored" in str(caught.value)
    remaining = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert remaining == []


async def test_no_broker_is_told_with_address_and_time_after_repeated_attempts() -> None:
    address = f"127.0.0.1:{free_port()}"
    broker = create_broker(make_settings(broker_address=address, connect_timeout=3.0))
    begin = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        await broker.start()
    assert time.monotonic() - begin > 0.5
    assert f"connect to Kafka {address}" in str(caught.value)
    assert re.search(r"tried for \d+\.\d s", str(caught.value))
    await broker.aclose()


async def test_something_else_at_the_address_is_told() -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(say_nothing) as port:
        address = f"127.0.0.1:{port}"
        broker = create_broker(make_settings(broker_address=address, connect_timeout=1.0))
        with pytest.raises(
            BrokerError, match=f"connect to Kafka {address}.*nothing answers there as Kafka does"
        ):
            await broker.start()
        await broker.aclose()


async def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    process = NoidaProcess(tmp_path / "noida")
    broker = create_broker(make_settings(broker_address=process.address, connect_timeout=LIMIT))
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0.5)
    assert not starting.done()
    await asyncio.to_thread(process.start)
    try:
        await starting
        await broker.ensure_topics([TopicSpec("lsst.test.T.late")])
        await broker.aclose()
    finally:
        await asyncio.to_thread(process.stop)
