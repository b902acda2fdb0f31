"""Kafka through aiokafka: an idempotent producer, readers without groups, topics created explicitly."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.settings import SalSettings

from .base import Broker, BrokerReader, OffsetRange, TopicPartition, TopicSpec
from .kafka_client import KafkaControl, is_transient, make_client_options
from .kafka_pacing import pace_fetches
from .kafka_producer import KafkaWriter
from .kafka_reader import KafkaReader

__all__ = ["KafkaBroker", "choose_partition"]

_log = logging.getLogger(__name__)

_FETCH_WAIT = 100
"""A broker with nothing new answers after this time (ms). It answers at once when a record arrives; the limit
matters because aiokafka asks a node for further partitions only after it has answered."""

_MAX_BATCH_SIZE = 256 * 1024
"""Records that are begun while others of their partition are under way go out together up to this size
(byte); brokers take batches of 1 MB by default."""

_CLOSE_TIMEOUT = 5.0
"""Longest wait for what is still queued when closing (s)."""


class KafkaBroker(Broker):
    """A connection to a Kafka cluster.

    Parameters
    ----------
    settings
        Addresses, login and limits.
    delivery_timeout
        Longest wait for the confirmation of a record (s); None: as long as for a connection.
    """

    def __init__(self, settings: SalSettings, *, delivery_timeout: float | None = None) -> None:
        self._settings = settings
        self._address = settings.broker_address
        self._delivery_timeout = (
            delivery_timeout or settings.clients.delivery_timeout or settings.connect_timeout
        )
        self._options: dict[str, Any] = {}
        self._control: KafkaControl | None = None
        self._writer: KafkaWriter | None = None

    @override
    async def start(self) -> None:
        self._options = await make_client_options(self._settings)
        timeout = self._settings.connect_timeout
        control = KafkaControl(self._options, address=self._address, timeout=timeout, log=_log)
        writer = KafkaWriter(
            self._make_producer, address=self._address, timeout=self._delivery_timeout, log=_log
        )
        deadline = Deadline(f"connect to Kafka {self._address}", timeout)
        try:
            async with deadline.enforce():
                for part in (control, writer):
                    await retry(part.start, deadline=deadline, is_transient=is_transient, log=_log)
        except DeadlineExceededError as error:
            raise BrokerError(f"{error}: nothing answers there as Kafka does") from error
        except (KafkaError, OSError) as error:
            reason = error or type(error).__name__
            spent = timeout - deadline.left()
            raise BrokerError(f"{deadline.operation}: {reason} (tried for {spent:.1f} s)") from error
        else:
            self._control, self._writer = control, writer
        finally:
            if self._control is None:
                await asyncio.gather(control.aclose(), writer.aclose(timeout=0.0))

    @override
    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._get_control().create_topics(specs, replication_factor=self._settings.replication_factor)

    @override
    async def partitions(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        return await self._get_control().get_partitions(topics)

    @override
    async def offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        return await self._get_control().get_offsets(partitions)

    @override
    async def send(self, topic: str, *, key: bytes, value: bytes) -> TopicPartition:
        if self._writer is None:
            raise BrokerError(f"not connected to Kafka {self._address}")
        return await self._writer.send(topic, key=key, value=value)

    @override
    def create_reader(self) -> BrokerReader:
        return KafkaReader(
            self._make_consumer,
            self.offsets,
            address=self._address,
            timeout=self._settings.connect_timeout,
            log=_log,
        )

    @override
    async def aclose(self) -> None:
        control, self._control = self._control, None
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.aclose(timeout=_CLOSE_TIMEOUT)
        if control is not None:
            await control.aclose()

    def _get_control(self) -> KafkaControl:
        if self._control is None:
            raise BrokerError(f"not connected to Kafka {self._address}")
        return self._control

    def _make_producer(self) -> AIOKafkaProducer:
        # Idempotence needs acks=all; aiokafka then has one request under way per partition, so order is kept.
        options = {"linger_ms": 0, "max_batch_size": _MAX_BATCH_SIZE, **self._options}
        options |= dict(self._settings.clients.producer)
        return AIOKafkaProducer(**options, enable_idempotence=True, acks="all", partitioner=choose_partition)

    def _make_consumer(self) -> AIOKafkaConsumer:
        # What an aborted transaction has written was never said.
        options = {"fetch_max_wait_ms": _FETCH_WAIT, "isolation_level": "read_committed", **self._options}
        options |= dict(self._settings.clients.consumer)
        # A position that is gone is ours to decide about, never silently reset.
        consumer = AIOKafkaConsumer(
            **options, group_id=None, enable_auto_commit=False, auto_offset_reset="none"
        )
        pace_fetches(consumer, max_wait=options["fetch_max_wait_ms"] / 1000)
        return consumer


def choose_partition(key: bytes, all_partitions: list[int], available: list[int]) -> int:
    """Choose as aiokafka does, without hashing the key where there is no choice: nearly everywhere in SAL.

    Parameters
    ----------
    key
        The key of a record.
    all_partitions, available
        Numbers of the partitions of its topic, and of those that have leaders.
    """
    if len(all_partitions) == 1:
        return all_partitions[0]
    chosen: int = _hash_to_partition(key, all_partitions, available)
    return chosen


_hash_to_partition = DefaultPartitioner()
