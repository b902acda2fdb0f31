"""Read a stretch of the log, from one offset to another."""

from collections.abc import AsyncGenerator, Callable, Mapping

from lsst.ts.ocps.aio.deadline import Deadline

from .broker.base import Broker, OffsetRange, Record, TopicPartition

__all__ = ["read_stretches"]


async def read_stretches(
    broker: Broker,
    stretches: Mapping[TopicPartition, OffsetRange],
    *,
    deadline: Deadline,
    idle: float,
    note_end: Callable[[TopicPartition], object] | None = None,
) -> AsyncGenerator[Record, None]:
    """Read old records of some partitions with a reader of its own.

    Ends when every stretch has been read, when nothing came for a while (retention may have removed what
    was there), or when the time is over; whichever is first.

    Parameters
    ----------
    broker
        A started broker.
    stretches
        Where to begin, and the offset before which to end, of each partition.
    deadline
        Budget of the whole.
    idle
        Longest silence (s).
    note_end
        Called with each partition whose stretch has been read to its end.

    Yields
    ------
    ~lsst.ts.ocps.sal.broker.base.Record
        In offset order within each partition.
    """
    left = {partition: each for partition, each in stretches.items() if each.begin < each.end}
    if not left:
        return
    reader = broker.create_reader()
    try:
        await reader.assign({partition: each.begin for partition, each in left.items()})
        while left and not deadline.expired:
            records = await reader.read(timeout=min(idle, deadline.left()))
            if not records:
                return
            for record in records:
                partition = TopicPartition(record.topic, record.partition)
                stretch = left.get(partition)
                if stretch is None:
                    continue
                if record.offset < stretch.end:
                    yield record
                if record.offset >= stretch.end - 1:
                    del left[partition]
                    if note_end is not None:
                        note_end(partition)
    finally:
        await reader.aclose()
