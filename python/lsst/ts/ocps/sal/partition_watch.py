"""Notices partitions that an operator adds to a topic while it is read (sal-on-kafka section 2)."""

import asyncio
import logging
from collections.abc import Iterable

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .broker.base import Broker, TopicPartition
from .errors import BrokerError

__all__ = ["PartitionWatch"]

LOOK_EVERY = 15.0
"""How often the broker is asked (s). A new partition is read from its begin on; what is older than the last
sample by then reaches only those who want samples that are out of order."""


class PartitionWatch:
    """Asks from time to time which partitions some topics have.

    Parameters
    ----------
    broker
        A started broker.
    known
        The partitions that are read already.
    log
        Where trouble is reported.
    """

    def __init__(self, broker: Broker, known: Iterable[TopicPartition], *, log: logging.Logger) -> None:
        self._broker = broker
        self._known = set(known)
        self._topics = sorted({partition.topic for partition in self._known})
        self._added: list[TopicPartition] = []
        self._log = log

    def start(self, tasks: TaskSupervisor) -> asyncio.Task[None]:
        """Begin to ask.

        Parameters
        ----------
        tasks
            Owner of the task.
        """
        return tasks.start(
            run_periodically(self._look, interval=LOOK_EVERY, first_delay=LOOK_EVERY), name="watch partitions"
        )

    def take(self) -> list[TopicPartition]:
        """The partitions that have been added since the last call."""
        added, self._added = self._added, []
        return added

    async def _look(self) -> None:
        try:
            numbers = await self._broker.partitions(self._topics)
        except BrokerError as error:
            # Whether the broker is away, the read loop says too; it is asked again soon.
            self._log.debug("could not look for new partitions: %s", error)
            return
        found = {TopicPartition(topic, n) for topic in self._topics for n in numbers[topic]}
        self._added += sorted(found - self._known)
        self._known |= found
