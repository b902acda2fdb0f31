"""Waking those who wait for a job's phase to change."""

import asyncio
from types import TracebackType

from .schema import StoredJob

__all__ = ["PhaseWatch", "Watcher"]


class Watcher:
    """One who waits for the next change of a job; made by `PhaseWatch.watching`, and closed at the end.

    Parameters
    ----------
    watchers
        Where those who watch the same job are kept.
    job_id
        Which job.
    """

    __slots__ = ("_job_id", "_watchers", "change")

    def __init__(self, watchers: dict[str, dict["Watcher", None]], job_id: str) -> None:
        self._watchers = watchers
        self._job_id = job_id
        self.change: asyncio.Future[StoredJob | None] = asyncio.get_running_loop().create_future()
        """Gets the job after the change, or None: look again."""

    def close(self) -> None:
        """Watch no longer."""
        same = self._watchers.get(self._job_id)
        if same is not None:
            same.pop(self, None)
            if not same:
                del self._watchers[self._job_id]

    def wake(self, stored: StoredJob | None = None) -> None:
        """Tell of a change; None: look again."""
        if not self.change.done():
            self.change.set_result(stored)

    def __enter__(self) -> asyncio.Future[StoredJob | None]:
        """Get the change."""
        return self.change

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self.close()


class PhaseWatch:
    """Carries news of phase changes from the store to waiting requests; nobody polls."""

    def __init__(self) -> None:
        # Those of a job in the order in which they came, which is that of their answers.
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._closed = False

    def watching(self, job_id: str) -> Watcher:
        """Learn of the next change of a job; begin before reading its present phase.

        A context manager: it gives the future that gets the job after the change, or None: look again.
        """
        watcher = Watcher(self._watchers, job_id)
        if self._closed:
            watcher.wake()
        self._watchers.setdefault(job_id, {})[watcher] = None
        return watcher

    @property
    def is_closed(self) -> bool:
        """Whether the service is stopping, and nobody is to wait."""
        return self._closed

    def count(self, job_id: str) -> int:
        """How many wait for a change of a job."""
        return len(self._watchers.get(job_id, ()))

    @property
    def total(self) -> int:
        """How many wait for a change of any job."""
        return sum(len(watchers) for watchers in self._watchers.values())

    def publish(self, job_id: str, stored: StoredJob | None) -> None:
        """Tell of a change; None if the job is gone."""
        for watcher in self._watchers.pop(job_id, ()):
            watcher.wake(stored)

    def publish_all(self) -> None:
        """Have all who wait look again."""
        for job_id in list(self._watchers):
            self.publish(job_id, None)

    def close(self) -> None:
        """Release all who wait, now and later: the service is stopping."""
        self._closed = True
        self.publish_all()
