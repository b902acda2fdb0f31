"""A broker inside this process: for tests that need no network. It keeps everything in memory."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakSet
from zlib import crc32

from typing_extensions import override

from lsst.ts.ocps.sal.errors import BrokerError

from .base import Broker, BrokerReader, OffsetRange, Record, TopicPartition, TopicSpec
from .merging import merge_by_time
from .positions import clip_position

__all__ = ["MemoryBroker", "MemoryReader"]

_log = logging.getLogger(__name__)

_MAX_RECORD_SIZE = 1024 * 1024
"""Larger records are refused, as by Kafka with its default settings (byte)."""


@dataclass
class _Log:
    """One partition."""

    begin: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.begin + len(self.records)


class _Cluster:
    """What the memory brokers of one name share."""

    def __init__(self) -> None:
        self.topics: dict[str, list[_Log]] = {}
        self.specs: dict[str, TopicSpec] = {}
        self.readers: WeakSet[MemoryReader] = WeakSet()


_CLUSTERS: dict[str, _Cluster] = {}


class MemoryBroker(Broker):
    """A broker whose records live in this process; those of one name share topics and records.

    All brokers and readers of one name belong to one event loop at a time.

    Parameters
    ----------
    name
        Which one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._cluster = _CLUSTERS.setdefault(name, _Cluster())
        self._is_started = False

    @override
    async def start(self) -> None:
        await asyncio.sleep(0)
        self._is_started = True

    @override
    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        self._check_started()
        await asyncio.sleep(0)
        for spec in specs:
            if spec.name not in self._cluster.topics:
                self._cluster.topics[spec.name] = [_Log() for _ in range(spec.partitions)]
                self._cluster.specs[spec.name] = spec

    @override
    async def partitions(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        self._check_started()
        await asyncio.sleep(0)
        return {topic: tuple(range(len(self._logs(topic)))) for topic in topics}

    @override
    async def offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        self._check_started()
        await asyncio.sleep(0)
        logs = {partition: self._logs(partition.topic)[partition.partition] for partition in partitions}
        return {partition: OffsetRange(log.begin, log.end) for partition, log in logs.items()}

    @override
    async def send(self, topic: str, *, key: bytes, value: bytes) -> TopicPartition:
        self._check_started()
        if len(value) > _MAX_RECORD_SIZE:
            raise BrokerError(
                f"memory broker {self._name}: {topic}: a value of {len(value)} bytes is too large"
            )
        partition = self.append(topic, key=key, value=value)
        await asyncio.sleep(0)
        return partition

    def append(self, topic: str, *, key: bytes | None, value: bytes | None) -> TopicPartition:
        """Store a record at once; other than `send` it takes tombstones too (for tests).

        Parameters
        ----------
        topic
            Name of the Kafka topic.
        key, value
            What to store; a value of None is a tombstone.
        """
        logs = self._logs(topic)
        partition = crc32(key or b"") % len(logs)
        log = logs[partition]
        log.records.append(
            Record(topic, partition, log.end, key=key, value=value, timestamp=int(time.time() * 1000))
        )
        for reader in self._cluster.readers:
            reader.notice()
        return TopicPartition(topic, partition)

    def truncate(self, partition: TopicPartition, *, before: int) -> None:
        """Lose the oldest records, as retention does (for tests).

        Parameters
        ----------
        partition
            Where.
        before
            Lose the records with smaller offsets.
        """
        log = self._logs(partition.topic)[partition.partition]
        log.records = [record for record in log.records if record.offset >= before]
        log.begin = min(max(before, log.begin), log.end)

    def expand(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, as an operator does (for tests).

        Parameters
        ----------
        topic
            Name of the Kafka topic.
        partitions
            How many it has then.
        """
        logs = self._logs(topic)
        logs += [_Log() for _ in range(partitions - len(logs))]

    @property
    def topics(self) -> Mapping[str, TopicSpec]:
        """How each topic was created, by name (for tests)."""
        return dict(self._cluster.specs)

    @override
    def create_reader(self) -> BrokerReader:
        reader = MemoryReader(self._cluster.topics)
        self._cluster.readers.add(reader)
        return reader

    @override
    async def aclose(self) -> None:
        self._is_started = False

    def _check_started(self) -> None:
        if not self._is_started:
            raise BrokerError(f"memory broker {self._name} is not started, or closed")

    def _logs(self, topic: str) -> list[_Log]:
        if topic not in self._cluster.topics:
            raise BrokerError(f"memory broker {self._name} has no topic {topic}")
        return self._cluster.topics[topic]

    @staticmethod
    def delete_topics(name: str, prefix: str) -> None:
        """Drop the topics of a cluster whose names begin so.

        Parameters
        ----------
        name
            Which cluster.
        prefix
            Beginning of the names of the topics.
        """
        cluster = _CLUSTERS.get(name, _Cluster())
        for topic in [each for each in cluster.topics if each.startswith(prefix)]:
            del cluster.topics[topic], cluster.specs[topic]

    @staticmethod
    def forget(name: str) -> None:
        """Drop what the brokers of a name hold (for tests).

        Parameters
        ----------
        name
            Which one.
        """
        _CLUSTERS.pop(name, None)


class MemoryReader(BrokerReader):
    """Reads from the topics of a `MemoryBroker`.

    Parameters
    ----------
    topics
        The topics of the broker, alive.
    """

    def __init__(self, topics: Mapping[str, list[_Log]]) -> None:
        self._topics = topics
        self._positions: dict[TopicPartition, int] = {}
        self._news = asyncio.Event()
        self._is_closed = False

    @override
    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        self._positions = dict(positions)
        self._news.set()

    @override
    async def extend(self, positions: Mapping[TopicPartition, int]) -> None:
        await self.assign({**self._positions, **positions})

    def notice(self) -> None:
        """Look again: something was written."""
        self._news.set()

    @override
    async def read(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:
        end = time.monotonic() + timeout
        while True:
            self._news.clear()
            records = self._take(max_records)
            left = end - time.monotonic()
            if records or left <= 0 or self._is_closed:
                await asyncio.sleep(0)
                return records
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return self._take(max_records)

    def _take(self, max_records: int) -> list[Record]:
        count = 0
        batches: list[list[Record]] = []
        for partition, position in () if self._is_closed else self._positions.items():
            log = self._topics[partition.topic][partition.partition]
            start = clip_position(partition, position, OffsetRange(log.begin, log.end), _log)
            first = start - log.begin
            found = log.records[first : first + max_records - count]
            self._positions[partition] = log.begin + first + len(found)
            count += len(found)
            batches.append(found)
        return merge_by_time(batches)

    @override
    async def aclose(self) -> None:
        self._is_closed = True
        self._news.set()
        await asyncio.sleep(0)
