"""A reader can be closed while its broker is away; a scripted consumer ends as aiokafka's does then."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from lsst.ts.ocps.sal.broker import kafka_reader
from lsst.ts.ocps.sal.broker.base import OffsetRange, TopicPartition
from lsst.ts.ocps.sal.broker.kafka_reader import KafkaReader

pytestmark = pytest.mark.asyncio

PARTITION = TopicPartition("lsst.test.T.x", 0)


class ScriptedConsumer:
    """Ends as aiokafka's consumer does."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self._fetches = [asyncio.create_task(asyncio.Event().wait()) for _ in range(2)]
        self._fetcher = SimpleNamespace(_pending_tasks=set(self._fetches))
        self._client = SimpleNamespace(close=self.close)
        self.is_disconnected = False

    @property
    def is_quiet(self) -> bool:
        return self.is_disconnected and all(fetch.done() for fetch in self._fetches)

    async def start(self) -> None:
        pass

    def assign(self, _partitions: Any) -> None:
        pass

    def seek(self, _partition: Any, _offset: int) -> None:
        pass

    async def close(self) -> None:
        self.is_disconnected = True

    async def stop(self) -> None:
        if self._ending == "hangs":
            await asyncio.Event().wait()
        for fetch in self._fetches:
            fetch.cancel()
            if self._ending == "looks cancelled":
                await fetch
        await self.close()


@pytest.mark.parametrize("ending", ["as it should", "looks cancelled", "hangs"])
async def test_a_reader_ends_however_its_consumer_does(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_reader, "_CLOSE_TIMEOUT", 0.1)
    consumer = ScriptedConsumer(ending)

    def make() -> Any:
        return consumer

    async def find(_partitions: Any) -> dict[TopicPartition, OffsetRange]:
        return {PARTITION: OffsetRange(0, 0)}

    reader = KafkaReader(make, find, address="here", timeout=10, log=logging.getLogger("test"))
    await reader.assign({PARTITION: 0})
    # Nobody has cancelled us.
    await reader.aclose()
    await asyncio.sleep(0)
    assert consumer.is_quiet
