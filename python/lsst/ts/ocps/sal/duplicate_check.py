"""Find out whether another instance of the same component and index is alive (sal-on-kafka section 11).

Its heartbeats tell: before the start a new heartbeat of somebody else refuses the start; for a short time
after it, of two that started together the one whose first heartbeat came later leaves.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import NamedTuple

from lsst.ts.ocps.aio.deadline import Deadline

from .avro import TopicCodec, schema_id_of
from .broker.base import Broker, BrokerReader, OffsetRange, Record, TopicPartition
from .errors import DecodeError, RegistryError
from .registry import SchemaRegistry
from .stretch import read_stretches
from .tai import current_tai

__all__ = ["DuplicateWatch", "Heartbeat"]

READ_BACK = 500
"""How far back the last heartbeat is looked for (offsets): many indices may share the topic."""

READ_BACK_TIMEOUT = 2.0
"""Longest time for that (s)."""


class Heartbeat(NamedTuple):
    """One heartbeat, as read."""

    offset: int
    identity: str
    origin: int
    stamp: float
    """private_sndStamp (TAI Unix s)."""

    seq_num: int

    @property
    def sender(self) -> tuple[str, int]:
        """Who sent it."""
        return self.identity, self.origin


class DuplicateWatch:
    """Watches the heartbeats of one component and index.

    Parameters
    ----------
    broker
        A started broker.
    registry
        Where the schemas of the writers are looked up.
    codec
        Of the event heartbeat.
    topic
        Its Kafka name.
    index
        Heartbeats of other indices are ignored.
    interval
        Time between two heartbeats (s); one that is older than three of them is of the past.
    log
        Where trouble is reported.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        registry: SchemaRegistry,
        codec: TopicCodec,
        topic: str,
        index: int,
        interval: float,
        log: logging.Logger,
    ) -> None:
        self._broker = broker
        self._registry = registry
        self._codec = codec
        self._topic = topic
        self._index = int(index)
        self._patience = 3 * interval
        self._log = log
        self._reader: BrokerReader = broker.create_reader()

    async def find_before_start(self) -> Heartbeat | None:
        """Wait for a new heartbeat, unless the last one is so old that nobody can be alive.

        Nothing of ours has been written yet, so whatever comes is somebody else's.

        Returns
        -------
        Heartbeat or None
            That of another instance, or None: we may start.
        """
        partitions = [
            TopicPartition(self._topic, number)
            for number in (await self._broker.partitions([self._topic]))[self._topic]
        ]
        held = await self._broker.offsets(partitions)
        await self._reader.assign({partition: each.end for partition, each in held.items()})
        if not await self._is_recent(held):
            return None
        deadline = Deadline("the duplicate check", self._patience)
        async with aclosing(self._read_new(deadline)) as heartbeats:
            async for heartbeat in heartbeats:
                return heartbeat
        return None

    async def find_after_start(self, own_stamps: Collection[float]) -> Heartbeat | None:
        """Watch for another instance that started at the same time.

        Parameters
        ----------
        own_stamps
            Stamps of the heartbeats that we have written; grows meanwhile. They are what tells our own
            heartbeats from those of an instance with the same identity and process id.

        Returns
        -------
        Heartbeat or None
            That of an instance which was first, so that we have to leave; or None.
        """
        first_own: int | None = None
        others: dict[tuple[str, int], Heartbeat] = {}
        deadline = Deadline("the duplicate check", self._patience)
        async with aclosing(self._read_new(deadline)) as heartbeats:
            async for heartbeat in heartbeats:
                if heartbeat.stamp in own_stamps:
                    first_own = heartbeat.offset if first_own is None else first_own
                else:
                    others.setdefault(heartbeat.sender, heartbeat)
                for other in others.values():
                    # Number 1 is really its first one; any other number means that it began before us.
                    is_first = other.seq_num > 1 or (first_own is not None and other.offset < first_own)
                    if is_first:
                        return other
        return None

    async def aclose(self) -> None:
        """Stop reading."""
        await self._reader.aclose()

    async def _is_recent(self, held: Mapping[TopicPartition, OffsetRange]) -> bool:
        """Whether the last heartbeat of our index is so young that its sender may be alive."""
        stretches = {
            partition: OffsetRange(max(each.begin, each.end - READ_BACK), each.end)
            for partition, each in held.items()
        }
        newest = 0.0
        deadline = Deadline("reading the last heartbeats", READ_BACK_TIMEOUT)
        reading = read_stretches(self._broker, stretches, deadline=deadline, idle=READ_BACK_TIMEOUT)
        async with aclosing(reading) as records:
            async for record in records:
                heartbeat = await self._decode(record)
                if heartbeat is not None:
                    newest = max(newest, heartbeat.stamp)
        return current_tai() - newest < self._patience

    async def _read_new(self, deadline: Deadline) -> AsyncGenerator[Heartbeat, None]:
        while not deadline.expired:
            await asyncio.sleep(0)
            for record in await self._reader.read(timeout=deadline.left()):
                heartbeat = await self._decode(record)
                if heartbeat is not None:
                    yield heartbeat

    async def _decode(self, record: Record) -> Heartbeat | None:
        """Decode; None for another index, and for what cannot be read."""
        try:
            schema = await self._registry.schema(schema_id_of(record.value))
            fields = self._codec.decode(record.value, schema)
        except (DecodeError, RegistryError) as error:
            self._log.warning("duplicate check: skipped a heartbeat: %s", error)
            return None
        if fields.get("salIndex", self._index) != self._index:
            return None
        return Heartbeat(
            offset=record.offset,
            identity=fields["private_identity"],
            origin=fields["private_origin"],
            stamp=fields["private_sndStamp"],
            seq_num=fields["private_seqNum"],
        )
