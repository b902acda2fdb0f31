"""What the processes that share a PostgreSQL database do for each other."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import structlog

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .dispatch import Dispatcher
from .errors import StoreError
from .instances import InstanceTable, host_name, try_lock
from .postgresql import PostgresqlDatabase
from .store import Store
from .watch import PhaseWatch

__all__ = ["Peers"]

_CHANNEL = "ocps_jobs"
_RECONCILE = 15.0
"""How often it is looked for what no news came of (s): none comes while the connection for it is lost."""

_PAUSE = 1.0
"""Time between two attempts to hear news (s)."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _JobNews:
    """A change that a process has made to a job."""

    instance: str
    job_id: str
    payload: str
    phase: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what the database tells of a change; see the trigger in ``migrations``."""
        news = cls(**json.loads(text))
        ExecutionPhase(news.phase)
        return news


class Peers:
    """Keeps this process in step with the others.

    What one of them changes, the others hear at once from the database (LISTEN): requests that wait for a
    phase are answered, queued jobs are started by whoever has room, an abort reaches the process that runs
    the job. The commands of a process that has died are followed by another one of the same host.

    Parameters
    ----------
    database
        The database.
    store
        The jobs in it.
    data_directory
        The data directory that the processes share.
    lease
        How long a process that does not say so is believed to live (s).
    abandon_after
        After what time without a sign of life the jobs of a dead process are given up that no process of its
        host follows; None: never.
    watch
        Those who wait for a phase.
    dispatcher
        Runs jobs.
    wake
        Wakes the reaper.
    """

    def __init__(
        self,
        *,
        database: PostgresqlDatabase,
        store: Store,
        data_directory: Path,
        lease: float,
        abandon_after: timedelta | None,
        watch: PhaseWatch,
        dispatcher: Dispatcher,
        wake: asyncio.Event,
    ) -> None:
        self._database = database
        self._store = store
        self._name = name = store.instance
        self._data_directory = data_directory
        self._lease = lease
        self._abandon_after = abandon_after
        self._watch = watch
        self._dispatcher = dispatcher
        self._wake = wake
        self._table = InstanceTable(database, name=name, lease=lease)
        self._left: set[str] = set()

    async def join(self) -> None:
        """Say that this process lives, before it takes the first job; end what it was given up with.

        Raises
        ------
        StoreError
            If the database fails.
        """
        given_up = await self._table.list_given_up()
        await self._table.prolong()
        # Their commands may still run. They are followed to their end, which is at once.
        self._dispatcher.take_over(given_up)

    async def leave(self) -> None:
        """Let the others take over at once what this process leaves behind."""
        try:
            await self._table.leave()
        except StoreError as error:
            _log.warning("the others will notice the end of this process later", reason=str(error))

    def start(self, tasks: TaskSupervisor) -> None:
        """Begin."""
        _ = tasks.start(self._beat(), name="beat")
        _ = tasks.start(self._listen(), name="listen")
        _ = tasks.start(self._reconcile(), name="reconcile")

    async def _listen(self) -> None:
        """Hear the news of the others, until cancelled."""
        while True:
            try:
                await self._database.listen(_CHANNEL, on_ready=self._catch_up, on_news=self._hear)
            except StoreError as error:
                _log.warning("no news of other processes; trying again", reason=str(error), pause=_PAUSE)
            await asyncio.sleep(_PAUSE)

    async def _beat(self) -> None:
        """Say that this process lives, and look for those that do not, until cancelled."""
        await run_periodically(lambda: self._attempt(self._look_after), interval=self._lease / 3)

    async def _reconcile(self) -> None:
        """Look for what no news came of, until cancelled."""
        await run_periodically(
            lambda: self._attempt(self._dispatcher.reconcile), interval=_RECONCILE, first_delay=_RECONCILE
        )

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (StoreError, OSError) as error:
            _log.warning("database or data directory fails; trying again", reason=str(error))

    async def _look_after(self) -> None:
        await self._table.prolong()
        for name in await self._table.list_abandoned():
            if self._abandon_after is not None:
                await self._abandon(name, self._abandon_after)
            async with try_lock(self._data_directory, name) as is_dead:
                if is_dead:
                    adopted = await self._table.adopt(name)
                    _log.warning("took over the jobs of a dead process", process=name, jobs=len(adopted))
                    self._dispatcher.take_over(adopted)
                    # It will not destroy jobs any more either.
                    self._wake.set()
                elif name not in self._left:
                    self._left.add(name)
                    _log.warning("a process does not answer; its jobs are left to its host", process=name)
        await self._table.forget_dead()

    async def _abandon(self, name: str, after: timedelta) -> None:
        """Give up the jobs of a dead process, if nobody of its host has followed them for too long."""
        gone = await self._table.list_gone(name, after.total_seconds())
        if not gone or name.rpartition("_")[0] == host_name():
            return
        # A process that hangs, or is cut off from the database, has it.
        async with try_lock(self._data_directory, name, of_any_host=True) as is_dead:
            if is_dead:
                _log.error("the jobs of a dead process are given up", process=name, jobs=len(gone))
                reason = f"nobody can tell its end: the service that ran it, {name}, is gone"
                self._dispatcher.abandon(gone, reason)

    async def _catch_up(self) -> None:
        """News has been missed before the connection was there."""
        self._watch.publish_all()
        await self._dispatcher.reconcile()

    async def _tell_waiting(self, job_id: str) -> None:
        """Tell those who wait for a job; it is read once for all of them."""
        if not self._watch.count(job_id):
            return
        try:
            stored = await self._store.find(job_id)
        except StoreError as error:
            _log.warning("a job is looked at by each who waits for it", job_id=job_id, reason=str(error))
            stored = None
        self._watch.publish(job_id, stored)

    async def _hear(self, text: str) -> None:
        try:
            news = _JobNews.from_text(text)
        except (ValueError, TypeError) as error:
            # Whoever may use the database may say what they like.
            _log.warning("news that cannot be read", reason=str(error))
            return
        if news.instance == self._name:
            return
        await self._tell_waiting(news.job_id)
        await self._dispatcher.note_news(news.job_id, ExecutionPhase(news.phase))
