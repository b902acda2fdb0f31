"""Which job runs when: queue, slots, and what an earlier life of the service left behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .claims import Taken
from .errors import StoreError
from .patience import patient
from .queue import Capacity, JobQueue, QueuedJob
from .runner import JobRunner
from .schema import StoredJob, now
from .store import ALONE, Store
from .upload_reader import refers_elsewhere

__all__ = ["Dispatcher"]

_log = structlog.stdlib.get_logger(__name__)


class Dispatcher:
    """Starts queued jobs in the order that the queue gives them, as far as there is room.

    Parameters
    ----------
    store
        The jobs.
    runner
        Runs one job.
    definitions
        The payloads, by name: their priorities, what they ask for, how many of one run at once.
    queue
        The order of jobs to start, empty; whether a job still is to be started is decided by the store.
    local_executors
        The kinds of executors whose commands use this machine; what others run takes nothing of it.
    on_death
        Told of a task that died without having settled its job.
    """

    def __init__(
        self,
        *,
        store: Store,
        runner: JobRunner,
        definitions: Mapping[str, PayloadDefinition],
        queue: JobQueue,
        local_executors: Collection[str],
        on_death: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self._store = store
        self._patient = patient(store)
        self._runner = runner
        self._definitions = definitions
        self._queue = queue
        self._local_executors = local_executors
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        # Of jobs that have read what they refer to, and wait for their places.
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks = TaskSupervisor("dispatcher", on_death=on_death)

    @property
    def queued(self) -> int:
        """How many jobs wait for a slot."""
        return self._queue.waiting

    @property
    def running(self) -> int:
        """How many jobs hold a slot."""
        return len(self._queue.running)

    async def start(self) -> None:
        """Take up what an earlier life of the service left: commands that may run, jobs that wait."""
        for stored in await self._store.list_handed_over():
            self._queue.note_start(self._place(stored))
            self._start(stored.job_id, self._resume(stored))
        for stored in await self._store.list_queued():
            self._offer(stored)
        handed_over, queued = len(self._queue.running), self._queue.waiting
        _log.info("jobs of an earlier life", handed_over=handed_over, queued=queued)
        self._fill_slots()

    def enqueue(self, stored: StoredJob) -> None:
        """Run a job that is QUEUED when its turn comes and there is room."""
        self._offer(stored)
        self._fill_slots()

    def take_over(self, adopted: Iterable[StoredJob]) -> None:
        """Follow jobs that a process handed over which is no more."""
        for stored in adopted:
            if stored.job_id not in self._queue.running:
                self._queue.note_start(self._place(stored))
                self._start(stored.job_id, self._resume(stored))

    def abandon(self, abandoned: Iterable[StoredJob], reason: str) -> None:
        """End jobs whose commands nobody will tell of any more."""
        for stored in abandoned:
            self._start(stored.job_id, self._abandon(stored, reason))

    async def _abandon(self, stored: StoredJob, reason: str) -> None:
        await self._runner.give_up(stored, reason, transient=True)
        self._queue.note_room()

    async def note_news(self, job_id: str, phase: ExecutionPhase) -> None:
        """Take notice of what another process has done to a job; a failure of the database is reconciled."""
        if phase is ExecutionPhase.QUEUED:
            try:
                stored = await self._store.find_readable(job_id)
            except StoreError as error:
                _log.warning("a job of another process is looked for later", job_id=job_id, reason=str(error))
                return
            if stored is not None and stored.phase is phase and not stored.handed_over:
                self._offer(stored)
        else:
            self._queue.remove(job_id)
            if phase in FINAL:
                # For jobs of any payload: of this machine there may be more left.
                self._queue.note_room()
                await self._cancel_ended(job_id)
        self._fill_slots()

    async def reconcile(self) -> None:
        """Look for what no news came of: jobs to start, jobs to end, jobs that nobody follows.

        Raises
        ------
        StoreError
            If the database fails.
        """
        for job_id in self._queue.running:
            await self._cancel_ended(job_id)
        for stored in await self._store.list_handed_over():
            if stored.job_id in self._queue.running:
                continue
            # It may have ended since the list was made.
            current = await self._store.find_readable(stored.job_id)
            if current is not None and current.handed_over:
                _log.warning("following a job that nobody follows", job_id=stored.job_id)
                self.take_over([current])
        for stored in await self._store.list_queued():
            self._offer(stored)
        self._queue.note_room()
        self._fill_slots()

    def _offer(self, stored: StoredJob) -> None:
        """Run a queued job when its turn comes, if this machine has what it asks for.

        The service does not start with a payload that asks for more; but this job may have been made when the
        payload had another executor, or by another process.
        """
        try:
            self._queue.add(self._place(stored))
        except ValueError as error:
            if self._store.instance == ALONE:
                self._start(stored.job_id, self._runner.give_up(stored, str(error)))
            else:
                _log.info("a queued job is left to other processes", job_id=stored.job_id, reason=str(error))

    async def _cancel_ended(self, job_id: str) -> None:
        """End the command of a job that another process has ended."""
        if job_id in self._queue.running:
            stored = await self._patient.find_readable(job_id)
            # Also one that was abandoned, because nothing was heard of us for too long.
            if stored is not None and stored.phase in FINAL:
                await self._runner.cancel(stored)

    async def abort(self, stored: StoredJob, *, hide: bool = False) -> StoredJob | None:
        """End a job for its user; one that has ended stays as it is.

        Parameters
        ----------
        stored
            The job.
        hide
            Whether a job that has not ended is gone for everybody at the same time.

        Returns
        -------
        StoredJob
            The job afterwards: its phase is final. None if it is gone.
        """
        current: StoredJob | None = stored
        while current is not None and current.phase not in FINAL:
            aborted = await self._store.abort(stored.job_id, current.phase, end_time=now(), hide=hide)
            if aborted is not None:
                _log.info("aborted", job_id=stored.job_id, run_id=stored.job.run_id, payload=stored.payload)
                self._queue.remove(stored.job_id)
                # Others may have been held back for it.
                self._fill_slots()
                await self._runner.cancel(aborted)
                return aborted
            # Something else happened to it between reading and writing.
            current = await self._store.find_any(stored.job_id)
        return current

    async def abort_running(self, *, timeout: float) -> None:  # noqa: ASYNC109 (a limit, not a cancellation)
        """End all running jobs, start no others, and wait for their commands to be gone.

        Parameters
        ----------
        timeout
            Longest wait (s).
        """
        self._stopping = True
        for stored in await self._store.list_handed_over():
            await self.abort(stored)
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            _log.error("commands are left running", job_ids=sorted(self._queue.running))

    async def aclose(self) -> None:
        """Stop following; commands keep running and are found again by the next life."""
        self._stopping = True
        await self._tasks.aclose()

    def _place(self, stored: StoredJob) -> QueuedJob:
        """What the queue has to know of a job; one whose payload is gone asks for nothing."""
        definition = self._definitions.get(stored.payload)
        run = definition.run if definition else None
        limit = definition.limits.max_active if definition else None
        return QueuedJob(
            stored.job_id,
            stored.payload,
            owner=stored.job.owner_id,
            priority=run.priority if run else 0,
            demand=self._demand(stored.payload, stored.executor),
            max_active=limit,
            executor=stored.executor,
            reads=refers_elsewhere(stored),
        )

    def _demand(self, payload: str, executor: str) -> Capacity:
        """What a job takes of this machine."""
        definition = self._definitions.get(payload)
        run = definition.run if definition else None
        takes = run is not None and executor in self._local_executors
        return Capacity.of(run.cpus, run.memory) if run and takes else Capacity()

    def _bears(self, job: QueuedJob, taken: Taken) -> bool:
        """Whether this machine bears a job beside those that all processes of this host run."""
        demands = (self._demand(*kind) * number for kind, number in taken.items())
        return sum(demands, start=job.demand).fits_into(self._queue.capacity)

    def _fill_slots(self) -> None:
        while not self._stopping and (job := self._queue.start_next()) is not None:
            if gate := self._gates.get(job.job_id):
                gate.set()
            else:
                self._start(job.job_id, self._run(job))

    @asynccontextmanager
    async def _aside(self, job_id: str) -> AsyncIterator[None]:
        """Let others have the place of a job for a while, and wait for room for it at the end."""
        self._queue.set_aside(job_id)
        self._fill_slots()
        yield
        self._gates[job_id] = gate = asyncio.Event()
        try:
            self._queue.take_up(job_id)
            self._fill_slots()
            await gate.wait()
        finally:
            del self._gates[job_id]

    async def _run(self, job: QueuedJob) -> None:
        ends = self._queue.ends
        # Who has the database for himself knows what runs here.
        is_shared = self._store.instance != ALONE and job.demand != Capacity()
        bears = partial(self._bears, job) if is_shared else None
        aside = partial(self._aside, job.job_id)
        if not await self._runner.run(
            job.job_id, job.executor, aside, max_active=job.max_active, bears=bears
        ):
            self._queue.put_back(job.job_id, ends=ends)

    async def _resume(self, stored: StoredJob) -> None:
        waiting = await self._runner.resume(stored)
        if waiting is not None:
            self._queue.note_end(waiting.job_id)
            self._offer(waiting)

    def _start(self, job_id: str, work: Coroutine[Any, Any, None]) -> None:
        self._idle.clear()
        _ = self._tasks.start(self._guard(job_id, work), name=f"job {job_id}")

    async def _guard(self, job_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a job; an error of ours must not leave the job hanging in silence."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 (it becomes the error of the job and a log record)
            _log.exception("the service failed to follow the job", job_id=job_id)
            await self._give_up(job_id, f"the service failed ({type(error).__name__}); its log tells more")
        finally:
            if job_id in self._queue.running:
                self._queue.note_end(job_id)
                # It may have kept those from starting that others have left this machine too little for.
                self._queue.note_room()
            if not self._queue.running:
                self._idle.set()
            self._fill_slots()

    async def _give_up(self, job_id: str, message: str) -> None:
        stored = await self._patient.find_readable(job_id)
        if stored is not None:
            await self._runner.cancel(stored)
            await self._runner.give_up(stored, message)
