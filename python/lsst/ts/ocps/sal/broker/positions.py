"""Where a reader goes on when its position is not in the log any more."""

import logging

from .base import OffsetRange, TopicPartition

__all__ = ["clip_position"]


def clip_position(partition: TopicPartition, position: int, offsets: OffsetRange, log: logging.Logger) -> int:
    """The position itself, or the nearest one that the log has, with a warning.

    Parameters
    ----------
    partition
        What is read.
    position
        Offset that was to be read next.
    offsets
        What the partition holds.
    log
        Where to warn.
    """
    if position > offsets.end:
        log.warning(
            "%s[%d]: records were lost: the log ends at offset %d, we are at %d; going on at its end",
            *(*partition, offsets.end, position),
        )
        return offsets.end
    if position < offsets.begin:
        log.warning(
            "%s[%d]: the records from offset %d on have been removed; going on at the oldest one, %d",
            *(*partition, position, offsets.begin),
        )
        return offsets.begin
    return position
