"""Order survives the end of a producer. No broker ends one on demand, so a scripted producer stands in."""

import asyncio
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner

from lsst.ts.ocps.sal.broker.kafka import choose_partition
from lsst.ts.ocps.sal.broker.kafka_producer import KafkaWriter
from lsst.ts.ocps.sal.errors import BrokerError

pytestmark = pytest.mark.asyncio

TOPIC = "lsst.test.T.x"


class ScriptedProducer:
    """Takes records like aiokafka's; the test says what becomes of each."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, asyncio.Future[Any]]] = []
        self.end: KafkaError | None = None
        self.num_asked = 0
        self.is_stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.is_stopped = True
        self.end = ProducerClosed()

    async def send(self, topic: str, *, key: bytes, value: bytes) -> asyncio.Future[Any]:
        del key
        self.num_asked += 1
        await asyncio.sleep(0)
        if self.end is not None:
            raise self.end
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.topic = topic  # type: ignore[attr-defined]  # kept for store()
        self.taken.append((value, future))
        return future

    def values(self) -> list[bytes]:
        return [value for value, _ in self.taken]

    def store(self, value: bytes) -> None:
        future = dict(self.taken)[value]
        future.set_result(SimpleNamespace(topic=TOPIC, partition=0))

    def lose(self, value: bytes, error: KafkaError) -> None:
        dict(self.taken)[value].set_exception(error)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a scripted producer tells nobody)
            await asyncio.sleep(0)


async def make_writer() -> tuple[KafkaWriter, list[ScriptedProducer]]:
    producers: list[ScriptedProducer] = []

    def make() -> Any:
        producers.append(ScriptedProducer())
        return producers[-1]

    writer = KafkaWriter(make, address="here", timeout=10, log=logging.getLogger("test"))
    await writer.start()
    return writer, producers


def send(writer: KafkaWriter, *values: bytes) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(writer.send(TOPIC, key=b"k", value=value)) for value in values]


async def test_what_an_ended_producer_lost_goes_to_the_next_in_order_and_before_later_records() -> None:
    writer, producers = await make_writer()
    first = producers[0]
    tasks = send(writer, b"1", b"2", b"3")
    await wait_for(lambda: len(first.taken) == 3)
    first.store(b"1")
    first.lose(b"2", OutOfOrderSequenceNumber())
    later = send(writer, b"4")
    first.lose(b"3", OutOfOrderSequenceNumber())
    await wait_for(lambda: len(producers) == 2 and len(producers[1].taken) == 3)
    assert producers[1].values() == [b"2", b"3", b"4"]
    for value in producers[1].values():
        producers[1].store(value)
    await asyncio.gather(*tasks, *later)
    await writer.aclose(timeout=1)
    assert [producer.is_stopped for producer in producers] == [True, True]


async def test_a_topic_that_a_starting_broker_does_not_know_yet_is_written_again_in_order() -> None:
    writer, producers = await make_writer()
    producers[0].end = UnknownTopicOrPartitionError()
    tasks = send(writer, b"1", b"2")
    await wait_for(lambda: producers[0].num_asked > 0)
    producers[0].end = None
    await wait_for(lambda: len(producers[0].taken) == 2)
    assert producers[0].values() == [b"1", b"2"]
    for value in (b"1", b"2"):
        producers[0].store(value)
    await asyncio.gather(*tasks)
    await writer.aclose(timeout=1)
    assert len(producers) == 1


async def test_a_dead_producer_is_replaced_before_the_record_is_handed_over() -> None:
    writer, producers = await make_writer()
    producers[0].end = KafkaError("Unexpected error during batch delivery")
    tasks = send(writer, b"1")
    await wait_for(lambda: len(producers) == 2 and producers[1].values() == [b"1"])
    producers[1].store(b"1")
    await asyncio.gather(*tasks)
    await writer.aclose(timeout=1)


async def test_a_record_that_still_waits_for_the_old_producer_is_not_sent_twice() -> None:
    writer, producers = await make_writer()
    first = producers[0]
    tasks = send(writer, b"1", b"2")
    await wait_for(lambda: len(first.taken) == 2)
    first.lose(b"1", OutOfOrderSequenceNumber())
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(producers) == 1  # the fate of 2 is not known yet
    first.store(b"2")
    await wait_for(lambda: len(producers) == 2 and producers[1].values() == [b"1"])
    producers[1].store(b"1")
    await asyncio.gather(*tasks)
    await writer.aclose(timeout=1)


async def test_a_refused_record_fails_alone() -> None:
    writer, producers = await make_writer()
    tasks = send(writer, b"1", b"2")
    await wait_for(lambda: len(producers[0].taken) == 2)
    producers[0].lose(b"1", MessageSizeTooLargeError("too large"))
    producers[0].store(b"2")
    with pytest.raises(BrokerError, match=f"write to {TOPIC} at Kafka here: .*too large"):
        await tasks[0]
    await tasks[1]
    assert len(producers) == 1
    await writer.aclose(timeout=1)


async def test_a_closed_writer_refuses() -> None:
    writer, _ = await make_writer()
    await writer.aclose(timeout=1)
    with pytest.raises(BrokerError, match="not connected to Kafka here"):
        await writer.send(TOPIC, key=b"k", value=b"1")


@pytest.mark.parametrize(("silence", "wait"), [(0.0, 5.0), (2.0, 3.0), (60.0, 0.5)])
async def test_at_the_end_nobody_waits_again_for_a_broker_that_has_been_silent(
    silence: float, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, producers = await make_writer()
    (confirmed,) = send(writer, b"1")
    await wait_for(lambda: producers[0].values() == [b"1"])
    begin = time.monotonic()
    producers[0].store(b"1")
    await confirmed
    limits: list[float] = []

    async def stop(_writer: KafkaWriter, _producer: ScriptedProducer, limit: float) -> None:
        limits.append(limit)

    monkeypatch.setattr(KafkaWriter, "_stop_producer", stop)
    (unconfirmed,) = send(writer, b"2")
    await wait_for(lambda: len(producers[0].taken) == 2)
    now = time.monotonic()
    later = SimpleNamespace(monotonic=lambda: now + silence)
    monkeypatch.setattr("lsst.ts.ocps.sal.broker.kafka_producer.time", later)
    await writer.aclose(timeout=5.0)
    # It has been silent for a moment longer.
    (limit,) = limits
    assert wait - (now - begin) <= limit <= wait + 0.001
    unconfirmed.cancel()


async def test_an_answer_that_comes_after_its_sender_gave_up_disturbs_nobody() -> None:
    writer, producers = await make_writer()
    given_up, kept = send(writer, b"1", b"2")
    await wait_for(lambda: producers[0].values() == [b"1", b"2"])
    given_up.cancel()
    await asyncio.wait([given_up])
    producers[0].store(b"2")
    await kept
    (last,) = send(writer, b"3")
    await wait_for(lambda: b"3" in producers[0].values())
    producers[0].store(b"3")
    await last
    assert len(producers) == 1
    await writer.aclose(timeout=1)


@pytest.mark.parametrize("num_partitions", [1, 2, 7])
async def test_keys_go_to_the_partitions_that_other_producers_choose(num_partitions: int) -> None:
    partitions = list(range(num_partitions))
    for number in range(50):
        key = f'{{ "name": "Test", "index": {number}, "topic": "logevent_x" }}'.encode()
        theirs = DefaultPartitioner()(key, partitions, partitions)
        assert choose_partition(key, partitions, partitions) == theirs
