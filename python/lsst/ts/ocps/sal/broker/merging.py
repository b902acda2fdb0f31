"""Records of several partitions in the order in which they were written."""

from collections.abc import Iterable, Sequence
from heapq import merge

from .base import Record

__all__ = ["merge_by_time"]


def merge_by_time(batches: Iterable[Sequence[Record]]) -> list[Record]:
    """Put what several partitions gave at once into the order of its time; that of a partition stays.

    Without it a burst in a topic of several partitions would look as if most of it were late.

    Parameters
    ----------
    batches
        The records of each partition, in offset order.
    """
    return list(merge(*batches, key=lambda record: record.timestamp))
