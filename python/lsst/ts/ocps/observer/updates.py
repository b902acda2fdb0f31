"""News of one run, in the order in which the CSC wrote it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Update", "UpdateFeed", "UpdateKind"]

SETTLE_TIME = 0.05
"""Records of different topics are read in any order: news are given out when none came for so long (s)."""

MAX_SETTLE_TIME = 0.5
"""But news that never pause are not held back longer than this (s)."""


class UpdateKind(StrEnum):
    """What an update is."""

    ACK = "ack"
    """An acknowledgement of the command."""

    JOB_ID = "job_id"
    """The event of that name: the run has a job."""

    PHASE = "job_phase"
    """The job is in a phase."""

    OUTPUT = "job_output"
    """The job has a result."""

    METRIC = "job_metric"
    """The job has measured something."""

    RESULT = "job_result"
    """The job has ended."""


@dataclass(frozen=True, slots=True)
class Update:
    """One piece of news."""

    kind: UpdateKind
    data: Any
    """The record: fields as in the interface."""

    @property
    def stamp(self) -> float:
        """When the CSC sent it (TAI, Unix s)."""
        stamp: float = self.data.private_sndStamp
        return stamp


class UpdateFeed:
    """Collects the news of one run from several topics and gives it out in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Update | None] = asyncio.Queue()

    def put(self, update: Update) -> None:
        """Add news."""
        self._queue.put_nowait(update)

    def end(self) -> None:
        """Say that no more will come."""
        self._queue.put_nowait(None)

    async def read(self) -> AsyncIterator[Update]:
        """Give out the news by time of sending, until the end."""
        batch: list[Update | None] = []
        while None not in batch:
            batch = [await self._queue.get()]
            end = asyncio.get_running_loop().time() + MAX_SETTLE_TIME
            await asyncio.sleep(SETTLE_TIME)
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
                if self._queue.empty() and asyncio.get_running_loop().time() < end:
                    await asyncio.sleep(SETTLE_TIME)
            for update in sorted(filter(None, batch), key=lambda update: update.stamp):
                yield update
