"""The seam between the SAL runtime and Kafka.

Two kinds of object: a `Broker` (one per `~lsst.ts.ocps.sal.domain.Domain`: topics and writing) and its
`BrokerReader` objects (one per ``SalInfo``: reading by manual assignment, without any consumer group).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Broker", "BrokerReader", "OffsetRange", "Record", "TopicPartition", "TopicSpec"]


class TopicPartition(NamedTuple):
    """One partition of one Kafka topic."""

    topic: str
    partition: int


class OffsetRange(NamedTuple):
    """What a partition holds."""

    begin: int
    """Offset of the oldest record still there."""

    end: int
    """Offset that the next record will get."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How to create a topic that does not exist yet."""

    name: str
    partitions: int = 1
    is_compacted: bool = False
    """Whether ``cleanup.policy=compact`` (events only; sal-on-kafka section 2)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    """None is a tombstone."""

    timestamp: int
    """Time given by the producer or the broker (Unix ms, UTC)."""


class BrokerReader(ABC):
    """Reads partitions from given offsets on; made by `Broker.create_reader`."""

    @abstractmethod
    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions, each from its offset on.

        Replaces what was assigned before. An offset beyond the end of a partition that was truncated
        (a broker that lost records) continues at its end, one that retention has removed at its begin;
        both with a warning in the log.
        """

    @abstractmethod
    async def extend(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read further partitions, each from its offset on; the others go on where they are."""

    @abstractmethod
    async def read(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:  # noqa: ASYNC109
        """Wait for records.

        Parameters
        ----------
        timeout
            Longest wait (s); nothing in that time is an empty answer. A broker that is away is waited
            for in the same way: connection errors are logged and retried inside, and no record is skipped.
        max_records
            At most so many at once.

        Returns
        -------
        collections.abc.Sequence [ Record ]
            In offset order within each partition.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stop reading; a `read` under way returns or is cancelled."""


class Broker(ABC):
    """A connection to a Kafka cluster for one process."""

    @abstractmethod
    async def start(self) -> None:
        """Connect.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker is not reachable within the configured time; names the address and the time
            spent. Attempts are repeated until then.
        """

    @abstractmethod
    async def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create the topics that do not exist; one that exists is left as it is."""

    @abstractmethod
    async def partitions(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Partition numbers by topic; every given topic must exist."""

    @abstractmethod
    async def offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        """What each partition holds now."""

    @abstractmethod
    async def send(self, topic: str, *, key: bytes, value: bytes) -> TopicPartition:
        """Write one record and wait until the broker has it.

        Records given by one task after another, or started in order by ``asyncio.gather``, are stored in
        that order in a partition, each exactly once (idempotent producer, ``acks=all``).

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If delivery was not confirmed in time, or the broker refused the record.
        """

    @abstractmethod
    def create_reader(self) -> BrokerReader:
        """Make a reader; the caller closes it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Write what is queued (bounded), then disconnect. Readers are closed by their owners."""
