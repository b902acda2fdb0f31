"""Waiting until the phase of a job changes (UWS 1.1 section 2.2.1.1)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.uws.phases import WAITABLE, ExecutionPhase

from .controls import Waiting
from .schema import StoredJob
from .watch import PhaseWatch, Watcher

__all__ = ["PhaseWait"]


class PhaseWait:
    """One request that waits: it looks at the job, sleeps, and looks again, until it has what it waits for.

    Parameters
    ----------
    read
        Reads the job, as whoever waits may see it.
    watch
        Tells of changes.
    job_id
        Which job.
    waiting
        How long, and in which phase; the time begins to run now.
    """

    def __init__(
        self, read: Callable[[], Awaitable[StoredJob]], watch: PhaseWatch, job_id: str, waiting: Waiting
    ) -> None:
        self._read = read
        self._watch = watch
        self._job_id = job_id
        self._phase = waiting.phase
        self._deadline = Deadline("wait", waiting.seconds)
        self._first: ExecutionPhase | None = None
        self._watcher: Watcher | None = None

    async def look(self) -> StoredJob | None:
        """Look at the job.

        Returns
        -------
        StoredJob or None
            The job, if there is nothing to wait for any more; else it is watched from now on, until `close`.
        """
        self.close()
        self._watcher = self._watch.watching(self._job_id)
        try:
            stored = await self._read()
            self._first = self._first or stored.phase
            is_over = self._deadline.expired or self._watch.is_closed or stored.phase is not self._first
            if not is_over and stored.phase in WAITABLE and self._phase in {None, stored.phase}:
                return None
        except BaseException:
            self.close()
            raise
        self.close()
        return stored

    async def sleep(self, left: asyncio.Future[None]) -> StoredJob | None:
        """Sleep until the job that `look` has found changes, the time is over, or ``left`` is done.

        Returns
        -------
        StoredJob or None
            The job after the change; None: look again.
        """
        watcher = self._watcher
        if watcher is None:
            return None
        wake = partial(_wake, watcher)
        left.add_done_callback(wake)
        timer = asyncio.get_running_loop().call_later(self._deadline.left(), wake)
        try:
            changed = await watcher.change
        finally:
            timer.cancel()
            left.remove_done_callback(wake)
            self.close()
        # News of another process may be older than what was read, so that nothing has changed since.
        return None if changed is None or changed.phase is self._first else changed

    def close(self) -> None:
        """Watch the job no longer."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


def _wake(watcher: Watcher, *_: Any) -> None:
    watcher.wake()
