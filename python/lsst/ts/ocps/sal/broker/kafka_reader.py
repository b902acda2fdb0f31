"""Reading from Kafka: manual assignment, no group, and no record skipped while the broker is away."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import TopicPartition as KafkaPartition
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.sal.errors import BrokerError

from .base import BrokerReader, OffsetRange, Record, TopicPartition
from .kafka_client import is_transient
from .merging import merge_by_time
from .positions import clip_position

__all__ = ["KafkaReader"]

_PAUSE_AFTER_ERROR = 0.2
"""Between two attempts to read (s)."""

_CLOSE_TIMEOUT = 2.0
"""Longest wait for the end of a consumer (s)."""

_RELOCATE_TIME = 2.0
"""A read may take so much longer than asked for when its position has been lost (s)."""

FindOffsets = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, OffsetRange]]]


class KafkaReader(BrokerReader):
    """Reads partitions with one consumer that belongs to no group.

    Parameters
    ----------
    make_consumer
        Makes a consumer that is not started yet.
    find_offsets
        Tells what partitions hold now.
    address
        The address, for errors.
    timeout
        How long to try to connect (s).
    log
        Where trouble with the broker is reported.
    """

    def __init__(
        self,
        make_consumer: Callable[[], AIOKafkaConsumer],
        find_offsets: FindOffsets,
        *,
        address: str,
        timeout: float,
        log: logging.Logger,
    ) -> None:
        self._make_consumer = make_consumer
        self._find_offsets = find_offsets
        self._address = address
        self._timeout = timeout
        self._log = log
        self._consumer: AIOKafkaConsumer | None = None
        self._positions: dict[KafkaPartition, int] = {}
        """Offset to be read next, by partition."""

        self._closed = asyncio.Event()

    @override
    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions, each from its offset on; see `BrokerReader.assign`.

        Parameters
        ----------
        positions
            Offset of the record to read first, by partition.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker was not reachable in time.
        """
        consumer = await self._get_consumer()
        self._positions = {KafkaPartition(*partition): offset for partition, offset in positions.items()}
        if not positions:
            consumer.unsubscribe()
            return
        consumer.assign(list(self._positions))
        # No await in between: a fetch must not go out before every partition has its position.
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)

    @override
    async def extend(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read further partitions; see `BrokerReader.extend`.

        Parameters
        ----------
        positions
            Offset of the record to read first, by partition.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker was not reachable in time.
        """
        current = {TopicPartition(*partition): offset for partition, offset in self._positions.items()}
        await self.assign({**current, **positions})

    @override
    async def read(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:
        """Wait for records; see `BrokerReader.read`.

        Parameters
        ----------
        timeout
            Longest wait (s).
        max_records
            At most so many at once.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If reading a topic is not allowed.
        """
        end = time.monotonic() + timeout
        while not self._closed.is_set():
            left = max(0.0, end - time.monotonic())
            if self._consumer is None or not self._positions:
                # A consumer without an assignment waits for one without any limit.
                await self._wait_for_close(left)
                return ()
            try:
                batches = await self._consumer.getmany(timeout_ms=round(left * 1000), max_records=max_records)
            except ConsumerStoppedError:
                break
            except OffsetOutOfRangeError as error:
                await self._relocate(error.args[0], limit=max(left, _RELOCATE_TIME))
            except TopicAuthorizationFailedError as error:
                raise BrokerError(f"read at Kafka {self._address}: {error}") from error
            except KafkaError as error:
                self._log.warning("read at Kafka %s: %r; trying again", self._address, error)
                await asyncio.sleep(min(_PAUSE_AFTER_ERROR, left))
            else:
                for partition, messages in batches.items():
                    self._positions[partition] = messages[-1].offset + 1
                if batches or left <= 0:
                    return merge_by_time(
                        [_to_record(message) for message in each] for each in batches.values()
                    )
        return ()

    @override
    async def aclose(self) -> None:
        self._closed.set()
        if self._consumer is None:
            return
        stopping = asyncio.ensure_future(self._consumer.stop())
        await asyncio.wait([stopping], timeout=_CLOSE_TIMEOUT)
        if not stopping.done() or stopping.cancelled():
            await self._abandon(self._consumer, stopping)
        elif (error := stopping.exception()) is not None:
            self._log.error("leaving Kafka %s failed", self._address, exc_info=error)

    @staticmethod
    async def _abandon(consumer: AIOKafkaConsumer, stopping: asyncio.Future[None]) -> None:
        """End a consumer whose broker is away.

        aiokafka's stop() has no limit of its own, and ends as if it were cancelled itself when it cancels a
        fetch that waits for the broker; then it has not come to the other fetches and to its connections.
        """
        stopping.cancel()
        fetches = set() if consumer._fetcher is None else set(consumer._fetcher._pending_tasks)  # noqa: SLF001 (no public way)
        for fetch in fetches:
            fetch.cancel()
        await consumer._client.close()  # noqa: SLF001 (no public way)
        await asyncio.wait({stopping, *fetches}, timeout=_CLOSE_TIMEOUT)

    async def _wait_for_close(self, limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._closed.wait()

    async def _get_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            deadline = Deadline(f"connect a reader to Kafka {self._address}", self._timeout)
            try:
                async with deadline.enforce():
                    self._consumer = await retry(
                        self._start_consumer, deadline=deadline, is_transient=is_transient, log=self._log
                    )
            except DeadlineExceededError as error:
                raise BrokerError(str(error)) from error
            except (KafkaError, OSError) as error:
                raise BrokerError(f"{deadline.operation}: {error or type(error).__name__}") from error
        return self._consumer

    async def _start_consumer(self) -> AIOKafkaConsumer:
        consumer = self._make_consumer()
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _relocate(self, positions: Mapping[KafkaPartition, int], *, limit: float) -> None:
        """Go on where the log begins or ends after it has lost what was to be read next."""
        try:
            async with asyncio.timeout(limit):
                ranges = await self._find_offsets([TopicPartition(*partition) for partition in positions])
        except (BrokerError, TimeoutError) as error:
            # Nothing is lost: the next attempt to read leads here again.
            self._log.warning("no offsets of %s: %r", sorted(positions), error)
            return
        for partition, position in positions.items():
            key = TopicPartition(*partition)
            if self._consumer is not None and partition in self._consumer.assignment():
                self._positions[partition] = clip_position(key, position, ranges[key], self._log)
                self._consumer.seek(partition, self._positions[partition])


def _to_record(message: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        timestamp=message.timestamp,
    )
