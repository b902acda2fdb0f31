"""Jobs without network and without commands; the service that has them can misbehave on request."""

import asyncio
import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, JobRef, Parameter, Result
from lsst.ts.ocps.uws.phases import ACTIVE, FINAL, UNDER_WAY, WAITABLE, ExecutionPhase
from lsst.ts.ocps.uws.times import parse_time

from .base import CreatedJob, Submission
from .errors import BackendError, BackendUnavailableError

__all__ = ["FakeRecord", "FakeService", "GoneError", "Script"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """What a job of the fake service does once it is started."""

    queued: float = 0.0
    """Time in QUEUED (s)."""

    duration: float = 0.0
    """Time in EXECUTING (s); infinite for a job that must be aborted."""

    outcome: ExecutionPhase = ExecutionPhase.COMPLETED
    """The phase after that."""

    results: Mapping[str, bytes] = field(default_factory=dict)
    """Results of a job that ends COMPLETED, by id."""

    error: str = "deliberate failure"
    """Message of a job that ends in ERROR."""


class GoneError(Exception):
    """The fake service has no such job."""


@dataclass(slots=True)
class FakeRecord:
    """One job of the fake service."""

    job: Job
    payload: str
    script: Script
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0


class FakeService:
    """The jobs of one fake service; they live on when a back end that speaks to it is closed.

    Known limitations: limits are stored and not enforced; owners, quotes and job information are never told;
    nothing is destroyed by time.

    Parameters
    ----------
    script
        What jobs do: one script for all, or a function that makes one of a submission and may raise
        `ValueError` to have it refused.
    """

    def __init__(self, script: Script | Callable[[Submission], Script] | None = None) -> None:
        self.script = script or Script()
        self.calls: Counter[str] = Counter()
        """How often each operation was asked for."""

        self.is_available = True
        """Whether the service answers at all."""

        self.delay = 0.0
        """How long every call takes (s)."""

        self.blocks = True
        """Whether `Backend.wait` blocks."""

        self.keeps_run_id = True
        """Whether jobs remember the run_id that they were created with."""

        self.tells_sizes = True
        """Whether results are listed with their sizes."""

        self._records: dict[str, FakeRecord] = {}
        self._errors: dict[str, deque[BackendError]] = {}
        self._lost_answers: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._tasks = TaskSupervisor("fake-service")

    def fail(self, operation: str, *errors: BackendError) -> None:
        """Have the next calls of an operation fail, one for each error; nothing is done by them."""
        self._errors.setdefault(operation, deque()).extend(errors)

    def lose_answers(self, operation: str, times: int = 1) -> None:
        """Have the next calls of an operation carried out, and their answers lost."""
        self._lost_answers[operation] += times

    def force(self, url: str, phase: ExecutionPhase) -> None:
        """Put a job into any phase, as a service might do by itself."""
        self._change(self._find(url), phase)

    def forget(self, url: str) -> None:
        """Lose a job."""
        self._records.pop(url).changed.set()

    def runs_of(self, url: str) -> int:
        """How often a job was started."""
        return self._find(url).runs

    def jobs(self) -> Mapping[str, Job]:
        """The jobs by URL."""
        return {url: record.job for url, record in self._records.items()}

    async def aclose(self) -> None:
        """End the jobs that run."""
        await self._tasks.aclose()

    async def serve(self, backend: str, operation: str, work: Callable[[], T]) -> T:
        """Carry out one call, as well or badly as was asked for."""
        self.calls[operation] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        else:
            await asyncio.sleep(0)
        if not self.is_available:
            raise BackendUnavailableError(backend, f"{operation}: the fake service is down")
        if self._errors.get(operation):
            raise self._errors[operation].popleft()
        done = work()
        if self._lost_answers[operation] > 0:
            self._lost_answers[operation] -= 1
            raise BackendUnavailableError(backend, f"{operation}: the answer was lost")
        return done

    def create(self, submission: Submission, root: str) -> CreatedJob:
        """Make a PENDING job."""
        script = self.script if isinstance(self.script, Script) else self.script(submission)
        job_id = str(next(self._numbers))
        job = Job(
            job_id=job_id,
            phase=ExecutionPhase.PENDING,
            run_id=submission.run_id if self.keeps_run_id else None,
            creation_time=datetime.now(UTC),
            execution_duration=submission.execution_duration or 0,
            destruction=_destruction(submission),
            parameters=tuple(Parameter(name, value) for name, value in submission.parameters),
            version="1.1",
            phase_text=ExecutionPhase.PENDING,
        )
        url = f"{root}/{submission.payload}/async/{job_id}"
        self._records[url] = FakeRecord(job, submission.payload, script)
        return CreatedJob(url, job)

    def start(self, url: str) -> None:
        """Start a job that waits for it."""
        record = self._find(url)
        if record.job.phase not in {ExecutionPhase.PENDING, ExecutionPhase.HELD}:
            raise ValueError(f"cannot start a job in phase {record.job.phase}")
        record.runs += 1
        self._change(record, ExecutionPhase.QUEUED)
        _ = self._tasks.start(self._execute(record), name=f"job-{record.job.job_id}")

    def read(self, url: str) -> Job:
        """A job as it is."""
        return self._find(url).job

    async def wait(self, url: str, phase: ExecutionPhase, seconds: float) -> None:
        """Return when a job has left a phase in which a service blocks, or after some time."""
        deadline = time.monotonic() + (math.ceil(seconds) if self.blocks else 0)
        while (record := self._records.get(url)) is not None:
            left = deadline - time.monotonic()
            if record.job.phase != phase or phase not in WAITABLE or left <= 0:
                return
            changed = record.changed
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                return

    def abort(self, url: str) -> None:
        """End a job if it has not ended."""
        record = self._find(url)
        if record.job.phase in ACTIVE:
            self._change(record, ExecutionPhase.ABORTED)

    def delete(self, url: str) -> None:
        """Destroy a job, if it is there."""
        if url in self._records:
            self.abort(url)
            self.forget(url)

    def list_jobs(self, payload: str, last: int | None) -> Sequence[JobRef]:
        """The jobs of a payload, the newest first."""
        refs = [
            JobRef(
                job_id=record.job.job_id,
                phase=record.job.phase,
                url=url,
                run_id=record.job.run_id,
                creation_time=record.job.creation_time,
            )
            for url, record in reversed(self._records.items())
            if record.payload == payload
        ]
        return tuple(refs[:last])

    def list_under_way(self, payload: str) -> Mapping[str, ExecutionPhase]:
        """The phases of the jobs of a payload that are QUEUED or EXECUTING."""
        return {
            record.job.job_id: record.job.phase
            for record in self._records.values()
            if record.payload == payload and record.job.phase in UNDER_WAY
        }

    def fetch(self, url: str, result_id: str) -> bytes:
        """The content of a result."""
        record = self._find(url)
        if result_id not in {result.result_id for result in record.job.results}:
            raise ValueError(f"there is no result {result_id!r}")
        return record.script.results[result_id]

    def _find(self, url: str) -> FakeRecord:
        if url not in self._records:
            raise GoneError(url)
        return self._records[url]

    def _change(self, record: FakeRecord, phase: ExecutionPhase) -> None:
        now = datetime.now(UTC)
        job = replace(record.job, phase=phase, phase_text=phase)
        if phase == ExecutionPhase.EXECUTING and job.start_time is None:
            job = replace(job, start_time=now)
        if phase in FINAL and job.end_time is None:
            job = replace(job, end_time=now)
        record.job = job
        record.changed.set()
        record.changed = asyncio.Event()

    async def _execute(self, record: FakeRecord) -> None:
        script = record.script
        steps = (
            (script.queued, ExecutionPhase.QUEUED, ExecutionPhase.EXECUTING),
            (script.duration, ExecutionPhase.EXECUTING, script.outcome),
        )
        for seconds, before, after in steps:
            if math.isinf(seconds):
                return
            await asyncio.sleep(seconds)
            if record.job.phase != before:
                return  # aborted, or forced into another phase
            if after == ExecutionPhase.COMPLETED:
                results = (
                    Result(name, size=len(data) if self.tells_sizes else None)
                    for name, data in script.results.items()
                )
                record.job = replace(record.job, results=tuple(results))
            elif after == ExecutionPhase.ERROR:
                record.job = replace(record.job, error=ErrorSummary(script.error))
            self._change(record, after)


def _destruction(submission: Submission) -> datetime:
    if submission.destruction is not None:
        return parse_time(submission.destruction)
    return datetime.now(UTC) + timedelta(days=1)
