"""A client of the UWS service for tests: thin, so that tests see what was answered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from lsst.ts.ocps.uws.codec import parse_job, parse_job_list
from lsst.ts.ocps.uws.jobs import Job, JobRef
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

__all__ = ["Calls"]

_TIMEOUT = 20.0

Pairs = dict[str, str] | Sequence[tuple[str, str]]


class Calls:
    """Requests to one service.

    Parameters
    ----------
    http
        A client whose base URL is the root URL of the service.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Calls"]:
        """Calls to the service at a URL."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as http:
            yield cls(http)

    async def create(self, payload: str, pairs: Pairs = (), **parameters: str) -> str:
        """Create a job; its path."""
        answer = await self.post(f"/{payload}/async", pairs, **parameters)
        assert answer.status_code == 303, answer.text
        return urlsplit(answer.headers["Location"]).path

    async def post(self, path: str, pairs: Pairs = (), **parameters: str) -> httpx.Response:
        """Post a form."""
        form = [*(pairs.items() if isinstance(pairs, dict) else pairs), *parameters.items()]
        body: dict[str, Any] = {}
        for name, value in form:
            body.setdefault(name, []).append(value)
        return await self.http.post(path, data=body)

    async def job(self, path: str, **query: str) -> Job:
        """Read a job."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return parse_job(answer.content, str(answer.url.copy_with(query=None)))

    async def end(self, path: str) -> Job:
        """Wait for the end of a job."""
        job = await self.job(path)
        while job.phase not in FINAL:
            job = await self.job(path, WAIT="30", PHASE=job.phase.value)
        return job

    async def leaving(self, path: str, phase: ExecutionPhase) -> Job:
        """Wait until a job has left a phase."""
        job = await self.job(path, WAIT="30", PHASE=phase.value)
        while job.phase is phase:
            job = await self.job(path, WAIT="30", PHASE=phase.value)
        return job

    async def executing(self, path: str) -> Job:
        """Wait until a job runs."""
        job = await self.job(path)
        while job.phase in {ExecutionPhase.PENDING, ExecutionPhase.QUEUED}:
            job = await self.leaving(path, job.phase)
        return job

    async def until(self, path: str, condition: Callable[[Job], object]) -> Job:
        """Read a job again and again until something is so that is no change of its phase."""
        async with asyncio.timeout(_TIMEOUT):
            job = await self.job(path)
            while not condition(job):
                await asyncio.sleep(0.01)
                job = await self.job(path)
        return job

    async def until_waiting(self, num: int) -> None:
        """Return when so many requests wait for a change."""
        async with asyncio.timeout(_TIMEOUT):
            while f"\nocps_waiting_requests {num}.0\n" not in await self.text("/metrics"):  # noqa: ASYNC110 (another process may have it)
                await asyncio.sleep(0.01)

    async def jobs(self, payload: str, pairs: Pairs = ()) -> tuple[JobRef, ...]:
        """List jobs; ``payload`` "" lists those of all payloads."""
        path = f"/{payload}/async" if payload else "/jobs"
        answer = await self.http.get(path, params=list(pairs.items() if isinstance(pairs, dict) else pairs))
        assert answer.status_code == 200, answer.text
        return tuple(parse_job_list(answer.content, str(answer.url)))

    async def text(self, path: str) -> str:
        """Read a text resource."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text
