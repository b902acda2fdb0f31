"""Late joiners of event topics that Apache Kafka has really compacted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import KafkaBench
from support.sal_fixtures import WAIT
from support.sal_log import read_log

pytestmark = [pytest.mark.asyncio, pytest.mark.system, pytest.mark.timeout(300)]

SCALARS = load_component("Test").topics["evt_scalars"]
COMPACTION_WAIT = 120.0
"""Longest wait for the cleaner (s)."""

MOST_AT_ONCE = 100
"""The broker takes no batch that is larger than a segment."""


class Writers(NamedTuple):
    """Controllers by index, and the next value: values tell the order of writing."""

    controllers: dict[int, Controller]
    last: dict[int, int]

    async def write(self, index: int, count: int = 1) -> None:
        event = self.controllers[index].evt_scalars
        end = max(self.last.values(), default=0) + count + 1
        for first in range(end - count, end, MOST_AT_ONCE):
            values = range(first, min(first + MOST_AT_ONCE, end))
            await asyncio.gather(*(event.set_write(int0=value) for value in values))
        self.last[index] = end - 1


@asynccontextmanager
async def open_writers(*indices: int) -> AsyncIterator[Writers]:
    controllers = {index: Controller("Test", index) for index in indices}
    try:
        for controller in controllers.values():
            await controller.start_task
        yield Writers(controllers, {})
    finally:
        for controller in controllers.values():
            await controller.close()


async def read_offsets(settings: SalSettings) -> list[int]:
    return [record.offset for record in await read_log(settings, SCALARS.kafka_name(settings.topic_subname))]


async def write_until_compacted(settings: SalSettings, writers: Writers, order: Sequence[int]) -> None:
    """Write in turns until the cleaner has removed most of what has been written."""
    async with asyncio.timeout(COMPACTION_WAIT):
        while True:
            for index in order:
                await writers.write(index, 100)
            offsets = await read_offsets(settings)
            if len(offsets) < offsets[-1] / 2 and offsets[-1] > 2500:
                return


def drain(topic: Any) -> dict[int, int]:
    """The samples that are queued by index; there must be one of each."""
    samples: dict[int, int] = {}
    while (data := topic.get_oldest()) is not None:
        assert data.salIndex not in samples
        samples[data.salIndex] = data.int0
    return samples


async def join(domain: Domain, index: int) -> dict[int, int]:
    async with Remote(domain, "Test", index) as remote:
        return drain(remote.evt_scalars)


async def test_late_joiners_of_each_index_get_its_last_value(rough_settings: SalSettings) -> None:
    async with open_writers(1, 2, 3) as writers, Domain() as domain:
        await writers.write(3)
        await writers.write(1, 10)
        await write_until_compacted(rough_settings, writers, order=(2, 1, 2))
        await writers.write(2, 600)
        offsets = await read_offsets(rough_settings)
        assert len(offsets) < offsets[-1] + 1
        # Far before the window of 500, in the oldest segment, alone.
        assert offsets[0] == 0
        assert offsets[1] > 1
        for index in (1, 2, 3):
            assert await join(domain, index) == {index: writers.last[index]}
        # The window of offsets holds index 2 only.
        assert await join(domain, 0) == {2: writers.last[2]}
        await writers.write(1)
        await writers.write(3)
        assert await join(domain, 0) == writers.last


async def test_a_reader_that_is_there_sees_each_value_while_the_cleaner_works(
    rough_settings: SalSettings,
) -> None:
    async with open_writers(1) as writers, Domain() as domain, Remote(domain, "Test", 1) as remote:
        seen: list[int] = []

        async def note(data: Any) -> None:
            seen.append(data.int0)

        remote.evt_scalars.callback = note
        await write_until_compacted(rough_settings, writers, order=(1,))
        async with asyncio.timeout(WAIT):
            while len(seen) < writers.last[1]:  # noqa: ASYNC110 (a callback sets no event)
                await asyncio.sleep(0.01)
        assert seen == list(range(1, writers.last[1] + 1))


async def test_an_index_whose_key_was_deleted_has_no_value_and_the_others_have_theirs(
    rough_bench: KafkaBench,
) -> None:
    settings = rough_bench.settings
    topic = SCALARS.kafka_name(settings.topic_subname)
    async with open_writers(1, 2) as writers, Domain() as domain:
        await writers.write(2, 10)
        key = next(record.key for record in await read_log(settings, topic))
        await rough_bench.write_raw(topic, key=key, value=None)
        await write_until_compacted(settings, writers, order=(1,))
        assert await join(domain, 2) == {}
        assert await join(domain, 1) == {1: writers.last[1]}
        assert await join(domain, 0) == {1: writers.last[1]}


@pytest.mark.parametrize("is_aborted", [False, True], ids=["committed", "aborted"])
async def test_a_log_that_ends_in_a_transaction_marker_neither_stops_nor_misleads_a_late_joiner(
    rough_settings: SalSettings, *, is_aborted: bool
) -> None:
    topic = SCALARS.kafka_name(rough_settings.topic_subname)
    async with open_writers(1) as writers, Domain() as domain:
        await writers.write(1, 5)
        event = writers.controllers[1].evt_scalars
        value = event.codec.encode({"salIndex": 1, "int0": 99}, schema_id=event.schema_id)
        producer = AIOKafkaProducer(
            bootstrap_servers=rough_settings.broker_address, transactional_id=rough_settings.topic_subname
        )
        await producer.start()
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, key=b"k", value=value)
            await (producer.abort_transaction() if is_aborted else producer.commit_transaction())
        finally:
            await producer.stop()
        async with asyncio.timeout(WAIT):
            assert await join(domain, 1) == {1: 5 if is_aborted else 99}
            await writers.write(1)
            assert await join(domain, 1) == {1: 6}
