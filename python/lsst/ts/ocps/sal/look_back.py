"""Finds the newest old record of a kind in the part of the log before the history window."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

from lsst.ts.ocps.aio.deadline import Deadline

from .broker.base import Broker, OffsetRange, Record, TopicPartition
from .stretch import read_stretches

__all__ = ["find_newest"]

T = TypeVar("T")

_FIRST_STRETCH = 2000
"""Length of the stretch before the window (offsets)."""

_GROWTH = 4
"""Each stretch is so many times as long as the one after it: compaction leaves few records in old ones."""


async def find_newest(
    broker: Broker,
    older: Mapping[TopicPartition, OffsetRange],
    decode: Callable[[Record], Awaitable[T | None]],
    *,
    deadline: Deadline,
) -> dict[TopicPartition, T]:
    """Look for the newest wanted record of some partitions, from their end towards their begin.

    Parameters
    ----------
    broker
        A started broker.
    older
        Where to look.
    decode
        Gives the value of a record, None for one that is not wanted.
    deadline
        Budget of the whole. What has been read only in part when it is over says nothing: a newer record
        may come after it.

    Returns
    -------
    dict
        The value by partition, of those where there is one.
    """
    newest: dict[TopicPartition, T] = {}
    left = {partition: each for partition, each in older.items() if each.begin < each.end}
    length = _FIRST_STRETCH
    while left and not deadline.expired:
        stretches = {
            partition: OffsetRange(max(each.begin, each.end - length), each.end)
            for partition, each in left.items()
        }
        seen: dict[TopicPartition, T] = {}
        complete: set[TopicPartition] = set()
        reading = read_stretches(
            broker, stretches, deadline=deadline, idle=deadline.seconds, note_end=complete.add
        )
        async with aclosing(reading) as records:
            async for record in records:
                value = await decode(record)
                if value is not None:
                    seen[TopicPartition(record.topic, record.partition)] = value
        newest |= {partition: value for partition, value in seen.items() if partition in complete}
        left = {
            partition: OffsetRange(left[partition].begin, stretch.begin)
            for partition, stretch in stretches.items()
            if partition in complete and partition not in seen and left[partition].begin < stretch.begin
        }
        length *= _GROWTH
    return newest
