"""Waking those who wait for a job's phase to change."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .schema import StoredJob

__all__ = ["PhaseWatch"]


@dataclass(slots=True)
class _Entry:
    change: asyncio.Future[StoredJob | None]
    watchers: int = 0


class PhaseWatch:
    """Carries news of phase changes from the store to waiting requests; nobody polls."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._closed = False

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Future[StoredJob | None]]:
        """Learn of the next change of a job; begin before reading its present phase.

        Yields
        ------
        asyncio.Future
            Gets the job after the change, or None: look again. It is shared; never cancel it.
        """
        entry = self._entries.get(job_id)
        if entry is None:
            entry = self._entries[job_id] = _Entry(asyncio.get_running_loop().create_future())
        if self._closed and not entry.change.done():
            entry.change.set_result(None)
        entry.watchers += 1
        try:
            yield entry.change
        finally:
            entry.watchers -= 1
            if entry.watchers == 0 and self._entries.get(job_id) is entry:
                del self._entries[job_id]

    @property
    def is_closed(self) -> bool:
        """Whether the service is stopping, and nobody is to wait."""
        return self._closed

    def count(self, job_id: str) -> int:
        """How many wait for a change of a job."""
        entry = self._entries.get(job_id)
        return entry.watchers if entry else 0

    @property
    def total(self) -> int:
        """How many wait for a change of any job."""
        return sum(entry.watchers for entry in self._entries.values())

    def publish(self, job_id: str, stored: StoredJob | None) -> None:
        """Tell of a change; None if the job is gone."""
        entry = self._entries.pop(job_id, None)
        if entry is not None and not entry.change.done():
            entry.change.set_result(stored)

    def publish_all(self) -> None:
        """Have all who wait look again."""
        for job_id in list(self._entries):
            self.publish(job_id, None)

    def close(self) -> None:
        """Release all who wait, now and later: the service is stopping."""
        self._closed = True
        self.publish_all()
