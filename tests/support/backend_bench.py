"""A back end of one kind or another, and jobs for it, for the suites of `.backend_contract`."""

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pytest

from lsst.ts.ocps.client.base import Backend, CreatedJob, ShellJob, Submission
from lsst.ts.ocps.client.errors import JobNotFoundError
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase
from lsst.ts.ocps.uws.run_id import new_run_id

__all__ = [
    "LONG",
    "VALUE",
    "BackendBench",
    "Pairs",
    "Wish",
    "finished",
    "reached",
    "run_id",
]

P = ExecutionPhase
LONG = 30.0
"""Far longer than anything here takes (s)."""

VALUE = json.dumps({"answer": 42, "text": "é <&>"})
"""Content of the result ``result.json`` of a job that succeeds."""


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wish:
    """What a job shall do."""

    duration: float = 0.0
    """How long it takes (s); then it succeeds."""

    fail: str = ""
    """It fails instead, with this message."""

    refuse: bool = False
    """The service must refuse it."""

    progress: str = ""
    """What it says of its progress, where the kind of back end is told any."""

    extra: Pairs = ()
    """Further parameters, called ``text``."""

    execution_duration: int | None = None


class BackendBench(ABC):
    """A back end, jobs for it, and what its kind cannot do."""

    backend: Backend
    payload = "sleep"
    shell: ShellJob | None = None

    refuses_by_run_id = False
    """Whether a job is refused because of its run_id, and not of its parameters."""

    keeps_aborted = True
    """Whether an aborted job can still be read."""

    tells_errors = True
    """Whether a failed job says why, and when it ended."""

    takes_limits = True
    tells_times_exactly = True
    """Whether times of creation are told to the millisecond."""

    tells_creation = True
    """Whether times of creation are told at all; else nobody knows which jobs are the newest."""

    lists_run_ids = True
    """Whether a list tells whose the jobs are."""

    version = "1.1"
    value = VALUE
    """Content of ``result.json``."""

    list_text = False
    """Whether a repeated parameter is told as one JSON list."""

    @abstractmethod
    def open_another(self) -> Backend:
        """A second back end that speaks to the same service; the caller closes it."""

    @abstractmethod
    def parameters(self, wish: Wish) -> Pairs:
        """The parameters of a job that does what is wished for."""

    def submission(self, **options: Any) -> Submission:
        """A job that does what the fields of a `Wish` say."""
        wish = Wish(**options)
        return Submission(
            payload=self.payload,
            run_id="-no good-" if wish.refuse and self.refuses_by_run_id else run_id(),
            parameters=(*self.parameters(wish), *wish.extra),
            execution_duration=wish.execution_duration,
            shell=self.shell,
        )

    async def create(self, **options: Any) -> CreatedJob:
        return await self.backend.create(self.submission(**options))

    async def run(self, **options: Any) -> CreatedJob:
        created = await self.create(**options)
        if self.backend.creates_pending:
            await self.backend.start(created.url)
        return created

    async def check_aborted(self, url: str) -> None:
        """Make sure that an aborted job says so, or is gone."""
        if self.keeps_aborted:
            job = await finished(self.backend, url)
            assert job.phase is P.ABORTED
            assert job.end_time is not None
        else:
            with pytest.raises(JobNotFoundError):
                await self.backend.read(url)


async def finished(backend: Backend, url: str) -> Job:
    """A job when it has ended, followed as a tracker follows it."""
    async with asyncio.timeout(LONG):
        job = await backend.read(url)
        while job.phase not in FINAL:
            job = await backend.wait(url, phase=job.phase, seconds=5)
            if not backend.wait_blocks:
                await asyncio.sleep(0.02)
        return job


async def reached(backend: Backend, url: str, phase: ExecutionPhase) -> Job:
    async with asyncio.timeout(LONG):
        while (job := await backend.read(url)).phase != phase:
            assert job.phase not in FINAL, job
            await asyncio.sleep(0.02)
        return job


def run_id() -> str:
    return new_run_id("test", 1)
