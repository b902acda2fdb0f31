"""Looking for the newest record of a kind before the history window."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.broker.base import OffsetRange, Record, TopicPartition, TopicSpec
from lsst.ts.ocps.sal.broker.memory import MemoryBroker
from lsst.ts.ocps.sal.look_back import find_newest

pytestmark = pytest.mark.asyncio

PARTITION = TopicPartition("t", 0)
PATIENCE = 20.0


@pytest_asyncio.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    name = uuid.uuid4().hex
    broker = MemoryBroker(name)
    await broker.start()
    await broker.ensure_topics([TopicSpec("t"), TopicSpec("u")])
    yield broker
    await broker.aclose()
    MemoryBroker.forget(name)


async def want_capitals(record: Record) -> bytes | None:
    return record.value if record.value is not None and record.value.isupper() else None


def write(broker: MemoryBroker, *values: bytes, topic: str = "t") -> None:
    for value in values:
        broker.append(topic, key=b"", value=value)


@pytest.mark.parametrize("position", [0, 1, 37_999, 38_000, 39_998])
async def test_the_newest_is_found_however_far_back(broker: MemoryBroker, position: int) -> None:
    values = [b"x"] * 40_000
    values[0], values[position] = b"OLD", b"NEW"
    write(broker, *values)
    older = {PARTITION: OffsetRange(0, 39_999)}
    found = await find_newest(broker, older, want_capitals, deadline=Deadline("look", PATIENCE))
    assert found == {PARTITION: b"NEW"}


async def test_what_is_at_the_end_or_nowhere_is_not_found(broker: MemoryBroker) -> None:
    write(broker, *[b"x"] * 3000, b"END")
    write(broker, b"A", b"b", topic="u")
    other = TopicPartition("u", 0)
    older = {PARTITION: OffsetRange(0, 3000), other: OffsetRange(0, 1)}
    found = await find_newest(broker, older, want_capitals, deadline=Deadline("look", PATIENCE))
    assert found == {other: b"A"}


async def test_an_older_one_is_never_taken_for_the_newest_when_time_is_over(broker: MemoryBroker) -> None:
    write(broker, b"OLD", *[b"x"] * 1000, b"NEW", b"x")
    deadline = Deadline("look", 0.3)

    async def use_up_the_time(record: Record) -> bytes | None:
        if record.offset == 10:
            await asyncio.sleep(deadline.left() + 0.01)
        return await want_capitals(record)

    # The broker gives no more than 500 records at once.
    older = {PARTITION: OffsetRange(0, 1002)}
    assert await find_newest(broker, older, use_up_the_time, deadline=deadline) == {}
