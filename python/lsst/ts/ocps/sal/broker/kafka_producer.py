"""Writing to Kafka: idempotent, awaited, in order per topic, and alive after errors that end a producer."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.sal.errors import BrokerError

from .base import TopicPartition

__all__ = ["KafkaWriter"]

_ENDING_ERRORS = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)
"""After one of these a producer accepts nothing more for the partition; the record has not been stored."""

_PAUSE_BEFORE_REPEAT = 0.1
"""So that a broker that refuses every attempt is not overrun (s)."""

_LAST_CHANCE = 0.5
"""What is queued at the end has at least so long to get out (s)."""

_ABANDON_TIME = 1.0
"""Longest wait for the tasks of a producer that is given up (s)."""


def _ends_producer(error: BaseException | None) -> bool:
    # A bare KafkaError is what aiokafka raises when its own sending task has died.
    return isinstance(error, _ENDING_ERRORS) or type(error) is KafkaError


@dataclass(eq=False, slots=True)
class _Delivery:
    key: bytes
    value: bytes
    future: asyncio.Future[Any]
    """What aiokafka resolves when the broker has the record."""

    @property
    def has_lost_producer(self) -> bool:
        done = self.future.done() and not self.future.cancelled()
        return done and _ends_producer(self.future.exception())


@dataclass(eq=False, slots=True)
class _Lane:
    """The records of one topic, in order."""

    producer: AIOKafkaProducer
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a record is handed to the producer; first come, first served."""

    unconfirmed: list[_Delivery] = field(default_factory=list)
    may_have_lost: bool = False
    """Whether a delivery has failed since the unconfirmed ones were last looked through."""

    def watch(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """The future itself; its exception counts as seen even if the sender has given up waiting."""
        future.add_done_callback(self._note_end)
        return future

    def _note_end(self, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is not None:
            self.may_have_lost = True


class KafkaWriter:
    """Writes records with one idempotent producer, and replaces it when it comes to its end.

    Parameters
    ----------
    make_producer
        Makes a producer that is not started yet.
    address
        The address, for errors.
    timeout
        Longest wait for the confirmation of a record (s).
    log
        Where a replacement is reported.

    Notes
    -----
    Order survives a replacement: all records of a topic that the old producer lost are handed to the new
    one, oldest first, before any later record of that topic.
    """

    def __init__(
        self,
        make_producer: Callable[[], AIOKafkaProducer],
        *,
        address: str,
        timeout: float,
        log: logging.Logger,
    ) -> None:
        self._make_producer = make_producer
        self._address = address
        self._timeout = timeout
        self._log = log
        self._producer: AIOKafkaProducer | None = None
        self._replace_lock = asyncio.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._retiring = TaskSupervisor("kafka-writer", log=log)
        self._silent_since: float | None = None
        """When the first record was handed over since the last confirmation."""

    async def start(self) -> None:
        """Connect, once.

        Raises
        ------
        aiokafka.errors.KafkaError
            If no broker answers.
        """
        self._producer = await self._start_producer()

    async def send(self, topic: str, *, key: bytes, value: bytes) -> TopicPartition:
        """Write one record and wait until the broker has it; see `Broker.send`.

        Parameters
        ----------
        topic
            Name of the Kafka topic.
        key, value
            The record.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If delivery was not confirmed in time (the record may still be stored later), or the record was
            refused.
        """
        if self._producer is None:
            raise BrokerError(f"not connected to Kafka {self._address}")
        lane = self._lanes.get(topic)
        if lane is None:
            lane = self._lanes[topic] = _Lane(self._producer)
        deadline = Deadline(f"write to {topic} at Kafka {self._address}", self._timeout)
        deliveries: list[_Delivery] = []
        try:
            async with deadline.enforce():
                async with lane.lock:
                    deliveries.append(await self._hand_over(lane, topic, key, value))
                return await self._confirm(lane, topic, deliveries[0])
        except DeadlineExceededError as error:
            fate = "it is not known whether the record will be stored" if deliveries else "it was not sent"
            raise BrokerError(f"{error}; {fate}") from error
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{deadline.operation}: {error or type(error).__name__}") from error
        finally:
            for delivery in deliveries:
                lane.unconfirmed.remove(delivery)

    async def aclose(self, *, timeout: float) -> None:  # noqa: ASYNC109 (a limit, not a cancellation)
        """Write what is queued, then disconnect.

        Parameters
        ----------
        timeout
            Longest wait for what is queued (s), counted from the last sign of the broker; what is left then
            is lost, with an error in the log.
        """
        producer, self._producer = self._producer, None
        silence = 0.0 if self._silent_since is None else time.monotonic() - self._silent_since
        limit = max(_LAST_CHANCE, timeout - silence)
        if producer is not None:
            await self._stop_producer(producer, limit)
        await self._retiring.aclose(timeout=limit)

    async def _hand_over(self, lane: _Lane, topic: str, key: bytes, value: bytes) -> _Delivery:
        """Give a record to the producer of its lane, whose lock is held."""
        while True:
            if lane.may_have_lost:
                lane.may_have_lost = False
                if any(delivery.has_lost_producer for delivery in lane.unconfirmed):
                    await self._repair(lane, topic)
            if not lane.unconfirmed and self._producer is not None:
                lane.producer = self._producer
            try:
                future = await lane.producer.send(topic, key=key, value=value)
            except UnknownTopicOrPartitionError:
                # The topic was there when we started. aiokafka says this too of a topic that is written for
                # the first time while no broker answers; the deadline of the record tells when to give up.
                await asyncio.sleep(_PAUSE_BEFORE_REPEAT)
                continue
            except KafkaError as error:
                if not _ends_producer(error):
                    raise
                await self._repair(lane, topic)
                continue
            delivery = _Delivery(key, value, lane.watch(future))
            lane.unconfirmed.append(delivery)
            if self._silent_since is None:
                self._silent_since = time.monotonic()
            return delivery

    async def _confirm(self, lane: _Lane, topic: str, delivery: _Delivery) -> TopicPartition:
        while True:
            try:
                metadata = await delivery.future
            except KafkaError as error:
                if not _ends_producer(error):
                    raise
                async with lane.lock:
                    if delivery.has_lost_producer:
                        await self._repair(lane, topic)
            else:
                self._silent_since = None
                return TopicPartition(metadata.topic, metadata.partition)

    async def _repair(self, lane: _Lane, topic: str) -> None:
        """Give what a lane's producer has lost to a new producer, in order; the lane's lock is held."""
        if lane.unconfirmed:
            # The old producer must be through with this topic, else the two would mix.
            await asyncio.wait([delivery.future for delivery in lane.unconfirmed])
        lane.producer = await self._replace(lane.producer)
        for delivery in tuple(lane.unconfirmed):
            # A sender that gave up meanwhile has been told that its record may be lost.
            if delivery.has_lost_producer and delivery in lane.unconfirmed:
                future = await lane.producer.send(topic, key=delivery.key, value=delivery.value)
                delivery.future = lane.watch(future)

    async def _replace(self, ended: AIOKafkaProducer) -> AIOKafkaProducer:
        """The producer that takes the place of one that has come to its end."""
        async with self._replace_lock:
            if self._producer is None:
                raise ProducerClosed
            if self._producer is ended:
                self._log.warning(
                    "Kafka %s takes nothing more from our producer; making a new one", self._address
                )
                await asyncio.sleep(_PAUSE_BEFORE_REPEAT)
                self._producer = await self._start_producer()
                # Other topics may still wait for confirmations from the old one.
                _ = self._retiring.start(self._stop_producer(ended, self._timeout), name="retire producer")
            return self._producer

    async def _start_producer(self) -> AIOKafkaProducer:
        producer = self._make_producer()
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _stop_producer(self, producer: AIOKafkaProducer, limit: float) -> None:
        stopping = asyncio.ensure_future(producer.stop())
        try:
            done, _ = await asyncio.wait([stopping], timeout=limit)
            if not done:
                self._log.error("Kafka %s did not confirm all records within %g s", self._address, limit)
        finally:
            if not stopping.done():
                await self._abandon(producer, stopping)

    @staticmethod
    async def _abandon(producer: AIOKafkaProducer, stopping: asyncio.Future[None]) -> None:
        """End a producer that still waits for a broker: aiokafka's stop() has no limit of its own."""
        # As if its sending task had died: everything that waits for a delivery gets this error. There is no
        # public way, and what aiokafka does itself then fails for a producer without transactions.
        producer._sender._txn_manager = None  # noqa: SLF001 (see above)
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 (see above)
        await producer.client.close()
        await asyncio.wait([stopping], timeout=_ABANDON_TIME)
        stopping.cancel()
        await asyncio.wait([stopping], timeout=_ABANDON_TIME)
