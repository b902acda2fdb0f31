"""How the jobs of many runs are watched: some by requests that block, the others by lists."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import UNDER_WAY, ExecutionPhase

from .logs import get_logger
from .patience import Patience

__all__ = ["MAX_WAITERS", "Crowd", "Watched"]

MAX_WAITERS = 100
"""So many requests block at a time (design section 6 point 3)."""

_MAX_LISTED = 300.0
"""A job that has not changed in the lists for so long is read all the same (s)."""

_UNUSABLE = 600.0
"""Where a list could not be read, jobs are read one by one for so long (s)."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A job whose next change is waited for."""

    payload: str
    url: str
    job_id: str
    phase: ExecutionPhase
    """The phase in which it was last seen."""

    is_ending: bool
    """Whether it was asked to abort: then its end is looked for with more impatience."""


class _JobList:
    """The jobs of one payload that are under way, listed again and again while somebody waits for one."""

    def __init__(self, payload: str) -> None:
        self._payload = payload
        self._waiting: dict[asyncio.Future[None], Watched] = {}
        self._unusable_until = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether reading it did not fail lately."""
        return asyncio.get_running_loop().time() >= self._unusable_until

    async def wait(self, job: Watched, seconds: float, start: Callable[[], asyncio.Task[None]]) -> None:
        """Return when the list shows the job otherwise or not at all, or cannot be read, or in time.

        Parameters
        ----------
        job
            As it was seen.
        seconds
            Longest wait (s).
        start
            Starts a task that does `watch`.
        """
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[changed] = job
        if self._task is None or self._task.done():
            self._task = start()
        try:
            async with asyncio.timeout(seconds):
                await changed
        except TimeoutError:
            return
        finally:
            del self._waiting[changed]

    async def watch(self, backend: Backend, patience: Patience) -> None:
        """Read it while somebody waits."""
        loop = asyncio.get_running_loop()
        last_change = loop.time()
        while self._waiting and self.is_usable:
            began = loop.time()
            # Of a job that comes during the reading, something newer may be known.
            asked = list(self._waiting.items())
            phases = await self._read(backend)
            if phases is None:
                self._unusable_until = loop.time() + _UNUSABLE
            for changed, job in asked:
                if not changed.done() and (phases is None or phases.get(job.job_id) is not job.phase):
                    changed.set_result(None)
                    last_change = loop.time()
            wanted = max(patience.between_reads, 0.1 * (loop.time() - last_change))
            pause = min(wanted, patience.between_polls)
            await asyncio.sleep(max(0.0, began + pause - loop.time()))

    async def _read(self, backend: Backend) -> Mapping[str, ExecutionPhase] | None:
        try:
            return await backend.list_under_way(self._payload)
        except BackendError as error:
            # The jobs are read one by one then, and if that goes wrong too, their followers say so.
            get_logger("crowd").info("jobs are not listed", payload=self._payload, error=str(error))
            return None


class Crowd:
    """Waits for the changes of jobs, of however many at a time.

    Parameters
    ----------
    tasks
        Owns the tasks that read lists.
    """

    def __init__(self, tasks: TaskSupervisor) -> None:
        self._tasks = tasks
        self._waiters = asyncio.Semaphore(MAX_WAITERS)
        self._lists: WeakKeyDictionary[Backend, dict[str, _JobList]] = WeakKeyDictionary()

    async def read_changed(self, backend: Backend, job: Watched, patience: Patience) -> Job:
        """Read a job when it has changed, or after some time.

        Parameters
        ----------
        backend, job
            The job, in a phase in which servers block.
        patience
            How long to wait for what.

        Raises
        ------
        BackendError
            If it cannot be read.
        """
        if not self._waiters.locked():
            async with self._waiters:
                seconds = patience.abort if job.is_ending else patience.wait
                return await backend.wait(job.url, phase=job.phase, seconds=seconds)
        # A server that does not block has no filters either: both came with UWS 1.1.
        if job.phase in UNDER_WAY and backend.wait_blocks is not False:
            await self._wait_in_list(backend, job, patience)
        return await backend.read(job.url)

    async def _wait_in_list(self, backend: Backend, job: Watched, patience: Patience) -> None:
        lists = self._lists.setdefault(backend, {})
        listed = lists.setdefault(job.payload, _JobList(job.payload))
        if listed.is_usable:

            def start() -> asyncio.Task[None]:
                return self._tasks.start(listed.watch(backend, patience), name=f"list:{job.payload}")

            await listed.wait(job, patience.abort if job.is_ending else _MAX_LISTED, start)
