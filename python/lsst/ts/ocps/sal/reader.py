"""The read loop of one SalInfo: records in, samples out to the topics.

Whatever stands in a topic, the loop goes on: what cannot be read is skipped and counted
(sal-on-kafka section 8).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .broker.base import Broker, BrokerReader, OffsetRange, Record, TopicPartition
from .data_type import BaseMsgType
from .decoding import SampleDecoder
from .errors import BrokerError, RegistryError
from .look_back import find_newest
from .ordering import SampleOrder
from .partition_watch import PartitionWatch
from .registry import SchemaRegistry
from .skips import SkipCounter, SkipReason
from .streams import Stream
from .stretch import read_stretches
from .topic_roles import RecordSink

__all__ = ["TopicReader"]

READ_TIMEOUT = 1.0
"""Longest wait for records before looking around (s)."""

HISTORY_TIMEOUT = 10.0
"""Longest time for reading the history at the start (s)."""

HISTORY_IDLE = 2.0
"""Silence after which what is missing of the history is taken as gone (s)."""

LOOK_BACK_TIMEOUT = 2.0
"""Longest time for looking before the window for an event that the window had nothing of (s)."""

CATCH_UP_TIMEOUT = 60.0
"""Longest time for reading what was written before the start (s)."""

SCHEMA_WAIT = 0.5
"""How long the loop itself waits for a schema; then the records of that partition are put aside (s)."""

SCHEMA_PATIENCE = 60.0
"""How long records wait for a schema that the registry could not be asked for (s)."""

YIELD_EVERY = 50
"""Records after which the loop lets others run."""


class TopicReader:
    """Reads every topic of one SalInfo with one broker reader.

    Parameters
    ----------
    broker
        A started broker.
    registry
        Where the schemas of the writers are looked up.
    index
        Records of other indices are ignored; 0 keeps every index.
    sinks
        The topics by Kafka name.
    tasks
        Owner of the read loop.
    log
        Where trouble is reported.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        registry: SchemaRegistry,
        index: int,
        sinks: Mapping[str, RecordSink],
        tasks: TaskSupervisor,
        log: logging.Logger,
    ) -> None:
        self._broker = broker
        self._index = int(index)
        self._sinks = dict(sinks)
        self._tasks = tasks
        self._log = log
        self._reader: BrokerReader = broker.create_reader()
        self._streams: dict[TopicPartition, Stream] = {}
        self._order = SampleOrder()
        self._task: asyncio.Task[None] | None = None
        self._history_read = asyncio.Event()
        self._skips = SkipCounter(log)
        self._decoder = SampleDecoder(registry, index=self._index, skips=self._skips)

    @property
    def skipped(self) -> Counter[str]:
        """Number of records that were not delivered, by `~lsst.ts.ocps.sal.skips.SkipReason`."""
        return self._skips.counts

    @property
    def is_running(self) -> bool:
        """Whether the read loop is running."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Take the positions, start reading, and return when the history has been delivered.

        What was written before the positions were taken is never delivered, the history excepted.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the positions cannot be read.
        """
        numbers = await self._broker.partitions(list(self._sinks))
        partitions = [TopicPartition(topic, n) for topic in self._sinks for n in numbers[topic]]
        held = await self._broker.offsets(partitions)
        self._streams = {
            each: Stream(self._sinks[each.topic], each.partition, held[each], self._index)
            for each in partitions
        }
        await self._reader.assign(
            {each: stream.replay.start_offset for each, stream in self._streams.items()}
        )
        self._task = self._tasks.start(self._run(), name="read")
        history = asyncio.ensure_future(self._history_read.wait())
        try:
            await asyncio.wait({history, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            history.cancel()
        if self._task.done():
            # Raises what ended the loop.
            self._task.result()

    async def aclose(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=READ_TIMEOUT)
        await self._reader.aclose()

    # Where it is

    def position(self, topic: str) -> int:
        """Offset of the record of partition 0 of a topic that is to be dealt with next.

        Parameters
        ----------
        topic
            Kafka name of a topic that is read.
        """
        return self._streams[TopicPartition(topic, 0)].position

    async def read_before_start(self, topic: str, since: int) -> list[BaseMsgType]:
        """The samples of partition 0 of a topic that were written before the start.

        Parameters
        ----------
        topic
            Kafka name of a topic that is read.
        since
            Offset to begin at, or, if it is negative, how many before the start; what has been removed from
            there on is left out.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If they could not all be read in time.
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry could not be asked for a schema.
        """
        partition = TopicPartition(topic, 0)
        begin = (await self._broker.offsets([partition]))[partition].begin
        end = self._streams[partition].held.end
        stretch = OffsetRange(max(since if since >= 0 else end + since, begin), end)
        deadline = Deadline(f"reading {topic} from offset {since} on", CATCH_UP_TIMEOUT)
        reading = read_stretches(self._broker, {partition: stretch}, deadline=deadline, idle=CATCH_UP_TIMEOUT)
        samples, position = [], stretch.begin
        async with aclosing(reading) as records:
            async for record in records:
                position = record.offset + 1
                sample = await self._decode(record, HISTORY_TIMEOUT)
                if sample is not None:
                    samples.append(sample)
        if position < stretch.end:
            raise BrokerError(f"{deadline.operation}: came to {position} of {stretch.end} only")
        return samples

    # The loop

    async def _run(self) -> None:
        await self._read_history()
        await self._look_further_back()
        self._history_read.set()
        watch = PartitionWatch(self._broker, self._streams, log=self._log)
        _ = watch.start(self._tasks)
        while True:
            await self._read_once(READ_TIMEOUT)
            await self._read_also(watch.take())

    async def _read_also(self, partitions: Sequence[TopicPartition]) -> None:
        """Read partitions that have been added since the start, from their begin on."""
        if partitions:
            self._log.info("read the new partitions %s too", ", ".join(f"{t}[{n}]" for t, n in partitions))
            for each in partitions:
                self._streams[each] = Stream(
                    self._sinks[each.topic], each.partition, OffsetRange(0, 0), self._index
                )
            await self._reader.extend(dict.fromkeys(partitions, 0))

    async def _read_history(self) -> None:
        deadline = Deadline("reading the history", HISTORY_TIMEOUT)
        while not self._has_history():
            count = await self._read_once(min(HISTORY_IDLE, deadline.left()))
            if count == 0 or deadline.expired:
                self._give_up_history()

    def _has_history(self) -> bool:
        return all(stream.is_live for stream in self._streams.values())

    def _give_up_history(self) -> None:
        for partition, stream in self._streams.items():
            if not stream.is_live:
                self._log.warning(
                    "the end of the history of %s did not come; going on without it", partition.topic
                )
                self._deliver_all(stream, stream.replay.finish())

    async def _look_further_back(self) -> None:
        """Find the last record of our index before the window, which other indices may have filled."""
        if self._index == 0:
            return
        newest = await find_newest(
            self._broker,
            {key: stream.older for key, stream in self._streams.items() if stream.is_missed},
            self._decode_old,
            deadline=Deadline("looking further back", LOOK_BACK_TIMEOUT),
        )
        for partition, sample in newest.items():
            self._deliver_all(self._streams[partition], [sample])

    async def _decode(self, record: Record, patience: float) -> BaseMsgType | None:
        return await self._decoder.decode(self._sinks[record.topic], record, patience=patience)

    async def _decode_old(self, record: Record) -> BaseMsgType | None:
        """Decode a record that cannot wait for the registry."""
        try:
            return await self._decode(record, HISTORY_TIMEOUT)
        except RegistryError as error:
            self._skips.add(record, SkipReason.NO_REGISTRY, error)
            return None

    async def _read_once(self, timeout: float) -> int:  # noqa: ASYNC109 (passed on)
        try:
            records = await self._reader.read(timeout=timeout)
        except BrokerError as error:
            self._log.warning("reading failed, trying again: %s", error)
            await asyncio.sleep(READ_TIMEOUT)
            return 0
        # Neither a burst nor a reader that answers without waiting may keep the loop from the others.
        await asyncio.sleep(0)
        for count, record in enumerate(records, start=1):
            await self._take_any(record)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return len(records)

    async def _take_any(self, record: Record) -> None:
        try:
            await self._take(record)
        except Exception as error:  # noqa: BLE001 (logged and counted: no record may end the loop)
            self._skips.add(record, SkipReason.UNEXPECTED, error)

    async def _take(self, record: Record) -> None:
        stream = self._streams.get(TopicPartition(record.topic, record.partition))
        if stream is None:
            self._skips.add(record, SkipReason.NOT_ASSIGNED)
            return
        if stream.parked:
            stream.parked.append(record)
            return
        if not stream.is_live:
            self._feed(stream, record, await self._decode_old(record))
            return
        try:
            sample = await self._decode(record, SCHEMA_WAIT)
        except RegistryError as error:
            self._park(stream, record, error)
            return
        self._feed(stream, record, sample)

    def _feed(self, stream: Stream, record: Record, sample: BaseMsgType | None) -> None:
        """Deliver what is due after a record has been dealt with."""
        if not stream.is_live:
            sal_index = 0 if sample is None else getattr(sample, "salIndex", 0)
            self._deliver_all(stream, stream.replay.feed(record.offset, sal_index, sample))
        elif sample is not None:
            self._deliver_live(stream, record, sample)
        stream.position = record.offset + 1

    # Delivery

    def _deliver_all(self, stream: Stream, samples: Sequence[BaseMsgType]) -> None:
        """Deliver old samples, which are in order."""
        for sample in samples:
            self._order.note(stream.sink.topic_info.sal_name, stream.partition, sample)
            _ = self._hand_over(stream, sample)

    def _deliver_live(self, stream: Stream, record: Record, sample: BaseMsgType) -> None:
        if stream.sink.is_ordered:
            name = stream.sink.topic_info.sal_name
            if self._order.is_late(name, record.partition, sample):
                self._skips.add(record, SkipReason.OUT_OF_ORDER)
                return
            self._order.note(name, record.partition, sample)
        reason = self._hand_over(stream, sample, record.offset)
        if reason is not None:
            self._skips.add(record, reason)

    def _hand_over(self, stream: Stream, sample: BaseMsgType, offset: int | None = None) -> SkipReason | None:
        stream.has_delivered = True
        try:
            return stream.sink.accept(sample, offset)
        except Exception:  # noqa: BLE001 (logged and counted: the loop goes on)
            # No sample may end the loop; this would be a defect of the runtime.
            self._log.exception("%s did not accept a sample", stream.sink.topic_info.attr_name)
            return SkipReason.UNEXPECTED

    # Trouble

    def _park(self, stream: Stream, record: Record, error: Exception) -> None:
        """Keep the records of a partition until the registry can be asked again."""
        self._log.warning("records of %s wait for their schema: %s", record.topic, error)
        stream.parked.append(record)
        _ = self._tasks.start(self._resume(stream), name=f"schema-{record.topic}")

    async def _resume(self, stream: Stream) -> None:
        deadline = Deadline("asking for a schema", SCHEMA_PATIENCE)
        while stream.parked:
            record = stream.parked[0]
            try:
                sample = await self._decode(record, SCHEMA_PATIENCE)
            except RegistryError as error:
                if not deadline.expired:
                    await asyncio.sleep(READ_TIMEOUT)
                    continue
                self._skips.add(record, SkipReason.NO_REGISTRY, error)
                sample = None
            self._feed(stream, record, sample)
            stream.parked.popleft()
