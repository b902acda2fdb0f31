"""One partition of one topic, between the read loop and the topic object."""

from collections import deque

from .broker.base import OffsetRange, Record
from .data_type import BaseMsgType
from .history import HistoryReplay
from .topic_roles import RecordSink

__all__ = ["Stream"]

SHORT_LIVED = frozenset({"logevent_heartbeat", "logevent_logMessage"})
"""Events whose old records say nothing."""


class Stream:
    """One partition of one topic.

    Parameters
    ----------
    sink
        The topic.
    partition
        Number of the partition.
    held
        What the partition held when the reader took its position.
    index
        The reader's index; 0 keeps the records of every index.
    """

    def __init__(self, sink: RecordSink, partition: int, held: OffsetRange, index: int) -> None:
        self.sink = sink
        self.partition = partition
        self.held = held
        self.replay: HistoryReplay[BaseMsgType] = HistoryReplay(held, window=sink.history_window, index=index)
        self.position = self.replay.start_offset
        """Offset of the record that is to be dealt with next."""

        self.parked: deque[Record] = deque()
        """Records that wait for their schema."""

        self.has_delivered = False

    @property
    def older(self) -> OffsetRange:
        """What lies before the window."""
        return OffsetRange(self.held.begin, self.replay.start_offset)

    @property
    def is_live(self) -> bool:
        """Whether the history has been delivered."""
        return self.replay.is_complete

    @property
    def is_missed(self) -> bool:
        """Whether the window should have held a sample and did not."""
        has_history = self.sink.history_window > 0
        return has_history and not self.has_delivered and self.sink.topic_info.sal_name not in SHORT_LIVED
