"""Jobs whose time has come: stopped, removed, and archived or forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .dispatch import Dispatcher
from .errors import StoreError, UnreadableJobError
from .results import JobFolder
from .rows import note_unreadable
from .schema import StoredJob, now
from .store import Store

__all__ = ["Reaper"]

_PAUSE = 10.0
"""Pause after a failure, of database or disk for example (s)."""

_log = structlog.stdlib.get_logger(__name__)


class Reaper:
    """Destroys jobs when asked to, and at their time of destruction.

    Whoever deletes a job wants it gone: it is stopped and hidden, and its folder and its row are removed when
    its command is gone. A job whose time has come by itself is stopped and ARCHIVED: its folder goes, its row
    is shown to those who ask for it until the retention is over. After a crash in between the next life goes
    on with it.

    Parameters
    ----------
    store
        The jobs.
    dispatcher
        Stops the commands.
    folder
        The folder of a job.
    retention
        How long a job is shown as ARCHIVED; zero: not at all.
    wake
        Set when there is something to remove.
    longest_pause
        Looks at the database at least this often (s).
    """

    def __init__(
        self,
        *,
        store: Store,
        dispatcher: Dispatcher,
        folder: Callable[[StoredJob], JobFolder],
        retention: timedelta,
        wake: asyncio.Event,
        longest_pause: float,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._folder = folder
        self._retention = retention
        self._wake = wake
        self._longest_pause = longest_pause
        self._next_look: datetime | None = None

    async def destroy(self, stored: StoredJob) -> None:
        """Let a job be gone for everybody, at once; harmless if it is already."""
        ended = await self._dispatcher.abort(stored, hide=True)
        if ended is not None and (ended.is_hidden or await self._store.mark_destroyed(stored.job_id)):
            _log.info("destroyed", job_id=stored.job_id, run_id=stored.job.run_id, payload=stored.payload)
            self._wake.set()

    async def _expire(self, stored: StoredJob) -> None:
        """Do what the time of destruction asks for: archive a job, or forget an archived one."""
        if stored.phase is ExecutionPhase.ARCHIVED or not self._retention:
            await self.destroy(stored)
            return
        ended = await self._dispatcher.abort(stored)
        if ended is None or ended.is_hidden or ended.phase is ExecutionPhase.ARCHIVED:
            # Another process of the service was first: all wake at the same time.
            return
        if await self._store.archive(stored.job_id, ended.phase, until=now() + self._retention):
            _log.info("archived", job_id=stored.job_id, run_id=stored.job.run_id, payload=stored.payload)
            self._wake.set()

    def note_destruction(self, time: datetime | None) -> None:
        """Take notice of a time of destruction that was set."""
        if time is not None and (self._next_look is None or time < self._next_look):
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            self._next_look = None
            try:
                pause = await self._sweep()
            except StoreError:
                _log.exception("the jobs to remove cannot be read; trying again", pause=_PAUSE)
                pause = _PAUSE
            self._next_look = now() + timedelta(seconds=pause)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> float:
        """Do what is to be done now; the time until there is more (s)."""
        time = now()
        due = await self._store.list_due(time)
        expired = [await self._succeeds(self._expire, stored) for stored in due]
        removable = await self._store.list_removable()
        removed = [await self._succeeds(self._remove, stored) for stored in removable]
        if not all(expired):
            # What is due still is: without a pause it would be tried again at once, and again.
            return _PAUSE
        # What was due and is not among the others cannot be read: looking again at once would not help.
        following = await self._store.next_destruction(time)
        pause = self._longest_pause if all(removed) else _PAUSE
        if following is None:
            return pause
        return min(max(0.0, (following - now()).total_seconds()) + 0.001, pause)

    @staticmethod
    async def _succeeds(act: Callable[[StoredJob], Awaitable[None]], stored: StoredJob) -> bool:
        """Do something to one job; False if that failed, which must not keep the others."""
        try:
            await act(stored)
        except UnreadableJobError as error:
            note_unreadable(error)
            return False
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 (it is logged, and tried again)
            _log.exception("a job cannot be removed; trying again", job_id=stored.job_id, pause=_PAUSE)
            return False
        return True

    async def _remove(self, stored: StoredJob) -> None:
        """Remove what is left of a destroyed job."""
        await asyncio.to_thread(self._folder(stored).remove)
        # An archived job may have been deleted since it was listed: then it is among the next ones to remove.
        if stored.is_hidden:
            await self._store.remove(stored.job_id)
        elif not await self._store.note_cleaned(stored.job_id):
            self._wake.set()
