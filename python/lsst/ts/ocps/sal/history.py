"""The late-joiner rule: which old records a new reader of an event gets (sal-on-kafka section 8)."""

from typing import Generic, TypeVar

from .broker.base import OffsetRange

__all__ = ["HistoryReplay"]

T = TypeVar("T")


class HistoryReplay(Generic[T]):
    """Chooses what to deliver from the records of one partition of one event topic.

    Decides without I/O: assign the partition at `start_offset` and pass every record to `feed` (an
    undecodable one too: ``sample=None``); deliver what comes back. Once complete it passes live records
    through.

    Parameters
    ----------
    offsets
        What the partition held when the reader took its position.
    window
        Length of the window (offsets); 0: no history, live records only.
    index
        The reader's index; 0 keeps the records of every index.

    Raises
    ------
    ValueError
        If ``window`` is negative.
    """

    def __init__(self, offsets: OffsetRange, *, window: int, index: int) -> None:
        if window < 0:
            raise ValueError(f"window={window} is negative")
        self._index = index
        self._start = max(offsets.begin, offsets.end - window)
        self._last = offsets.end - 1
        self._is_complete = self._start >= offsets.end
        self._newest: dict[int, T] = {}
        """Newest sample of each index; a dict keeps the order of first appearance."""

    @property
    def start_offset(self) -> int:
        """Where to read from: ``end - window``, or the begin of the log if that is later."""
        return self._start

    @property
    def is_complete(self) -> bool:
        """Whether the end of the history has been reached; at once if there is none."""
        return self._is_complete

    def feed(self, offset: int, sal_index: int, sample: T | None) -> list[T]:
        """Take the next record and return what is to be delivered now.

        Parameters
        ----------
        offset
            Its offset.
        sal_index
            Its salIndex (0 for a component that is not indexed, and for an undecodable record).
        sample
            The decoded record, or None if it could not be decoded: it only counts as reached.

        Returns
        -------
        list
            Nothing before the last offset of the history; there, the newest record of each index (by
            offset), in the order in which the indices first appeared; after it, the record itself.
        """
        is_wanted = sample is not None and self._index in {0, sal_index}
        if not self._is_complete and offset <= self._last:
            if sample is not None and is_wanted:
                self._newest[sal_index] = sample
            return self.finish() if offset == self._last else []
        # A live record while the history is incomplete: its last record is missing (compaction, an aborted
        # transaction), so it has been reached.
        delivered = self.finish()
        if sample is not None and is_wanted:
            delivered.append(sample)
        return delivered

    def finish(self) -> list[T]:
        """End the history although its last record did not come (removed by retention, or out of time).

        Returns
        -------
        list
            What was kept so far, to be delivered now; nothing if already complete.
        """
        self._is_complete = True
        delivered = list(self._newest.values())
        self._newest.clear()
        return delivered
