"""Which sample is too late to be delivered, and which only comes from a clock that was set back."""

from typing import NamedTuple

from .data_type import BaseMsgType

__all__ = ["OUT_OF_ORDER_SPAN", "SampleOrder"]

OUT_OF_ORDER_SPAN = 5.0
"""Records overtake each other by less than this; a larger step back is one of the clock (s)."""


class _Last(NamedTuple):
    stamp: float
    seq_num: int
    sender: tuple[str, int]
    partition: int


class SampleOrder:
    """The newest sample of each topic and index.

    A sample with an older stamp is late, and is dropped, because the topic would show an old value as its
    last one. But a publisher whose clock was set back, or that was started again on a host with a slow
    clock, must not be muted until its clock has caught up (sal-on-kafka section 20 point 16). Within one
    partition the log itself tells the order, so that there an older stamp is believed to be a step of the
    clock if the sender is another one, if its sequence number has grown, or if the step is too large for
    records that have overtaken each other.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], _Last] = {}

    def is_late(self, topic: str, partition: int, sample: BaseMsgType) -> bool:
        """Whether a newer sample has come before.

        Parameters
        ----------
        topic, partition
            Where it was read.
        sample
            The sample.
        """
        last = self._last.get(_key(topic, sample))
        if last is None or sample.private_sndStamp >= last.stamp:
            return False
        if partition != last.partition:
            return True
        if _sender(sample) != last.sender or sample.private_seqNum > last.seq_num:
            return False
        return bool(last.stamp - sample.private_sndStamp < OUT_OF_ORDER_SPAN)

    def note(self, topic: str, partition: int, sample: BaseMsgType) -> None:
        """A sample is delivered.

        Parameters
        ----------
        topic, partition
            Where it was read.
        sample
            The sample.
        """
        self._last[_key(topic, sample)] = _Last(
            sample.private_sndStamp, sample.private_seqNum, _sender(sample), partition
        )


def _key(topic: str, sample: BaseMsgType) -> tuple[str, int]:
    return topic, getattr(sample, "salIndex", 0)


def _sender(sample: BaseMsgType) -> tuple[str, int]:
    return sample.private_identity, sample.private_origin
