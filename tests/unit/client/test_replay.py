"""The client against the recorded answers of real servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import (
    BackendError,
    BackendFailedError,
    JobNotFoundError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.uws_samples import Sample, sample

pytestmark = pytest.mark.asyncio

SERVERS = {
    "dachs-dlasync": "oracle/q/soda/dlasync",
    "dachs-tap": "tap/async",
    "dachs-useruws": "oracle/q/sleep/async",
    "safir-9.3.0": "api/jobs",
}
"""Where the job list of each recorded server was."""

every_server = pytest.mark.parametrize("server", sorted(SERVERS))


class Replay:
    """Answers each request of a script by one recording."""

    def __init__(self, server: str, *names: str) -> None:
        self._answers: Iterator[Sample] = iter([sample(server, name) for name in names])
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return next(self._answers).response(request)

    @property
    def lines(self) -> list[str]:
        return [
            f"{one.method} {one.url.raw_path.decode()} {one.content.decode()}".strip() for one in self.asked
        ]


def location(server: str, name: str = "create-303") -> str:
    return dict(sample(server, name).headers)["location"]


@asynccontextmanager
async def replaying(server: str, *names: str) -> AsyncIterator[tuple[UwsBackend, Replay]]:
    parts = urlsplit(location(server))
    root = f"{parts.scheme}://{parts.netloc}"
    replay = Replay(server, *names)
    settings = UwsSettings(url=root, job_list=SERVERS[server])
    backend = UwsBackend(server, settings, http=httpx.MockTransport(replay))
    try:
        yield backend, replay
    finally:
        await backend.aclose()


SUBMISSION = Submission("any", "sample", (("name", "x"),))


@every_server
async def test_a_job_from_creation_to_deletion(server: str) -> None:
    names = (
        "create-303",
        "job-pending",
        "run-303",
        "job-completed",
        "abort-303",
        "delete-303",
        "deleted-job",
    )
    async with replaying(server, *names) as (backend, replay):
        created = await backend.create(SUBMISSION)
        assert created.url == location(server)
        assert created.job.phase is ExecutionPhase.PENDING
        assert created.url.endswith(f"/{created.job.job_id}")
        await backend.start(created.url)
        job = await backend.read(created.url)
        # The parameters that the recorder sent made DaCHS's datalink job fail.
        expected = ExecutionPhase.ERROR if server == "dachs-dlasync" else ExecutionPhase.COMPLETED
        assert job.phase is expected
        await backend.abort(created.url)
        await backend.delete(created.url)
        with pytest.raises(JobNotFoundError, match=job.job_id):
            await backend.read(created.url)

    path = urlsplit(created.url).path
    assert replay.lines == [
        f"POST /{SERVERS[server]} name=x&RUNID=sample",
        f"GET {path}",
        f"POST {path}/phase PHASE=RUN",
        f"GET {path}",
        f"POST {path}/phase PHASE=ABORT",
        f"DELETE {path}",
        f"GET {path}",
    ]


@every_server
async def test_a_job_that_fails_says_why(server: str) -> None:
    async with replaying(server, "create-error-303", "job-error", "error-error") as (backend, _):
        created = await backend.create(SUBMISSION)
        assert created.job.error is not None
        assert created.job.phase is ExecutionPhase.ERROR
        detail = await backend.error_detail(created.url)
        assert detail is not None
        assert created.job.error.message.removeprefix("Error: ") in detail


@every_server
async def test_a_job_that_did_not_fail_has_no_detail(server: str) -> None:
    async with replaying(server, "error-pending") as (backend, _):
        assert await backend.error_detail(location(server)) is None


@every_server
async def test_an_aborted_job(server: str) -> None:
    async with replaying(server, "job-executing", "job-aborted") as (backend, _):
        url = location(server, "create-long-303")
        assert (await backend.read(url)).phase is ExecutionPhase.EXECUTING
        assert (await backend.read(url)).phase is ExecutionPhase.ABORTED


@every_server
async def test_a_phase_that_makes_no_sense_is_refused(server: str) -> None:
    # DaCHS says so with status 200.
    async with replaying(server, "bad-phase") as (backend, _):
        with pytest.raises(RequestRefusedError, match=r"Bad phase: NONSENSE|should be 'RUN' or 'ABORT'"):
            await backend.start(location(server))


@every_server
async def test_starting_what_has_ended(server: str) -> None:
    async with replaying(server, "run-completed-refused") as (backend, _):
        if server == "safir-9.3.0":
            with pytest.raises(RequestRefusedError, match="Cannot start job"):
                await backend.start(location(server))
        else:
            await backend.start(location(server))  # DaCHS accepts it, and does nothing


@every_server
async def test_an_unknown_job(server: str) -> None:
    async with replaying(server, "unknown-job") as (backend, _):
        with pytest.raises(JobNotFoundError, match="nosuchjob0") as caught:
            await backend.read(f"{location(server).rpartition('/')[0]}/nosuchjob0")
        assert caught.value.status == 404


@every_server
async def test_a_list_of_jobs(server: str) -> None:
    async with replaying(server, "list", "list-last1") as (backend, replay):
        every = await backend.list_jobs("any")
        assert len(every) >= 5
        assert all(ref.url is not None and ref.url.endswith(f"/{ref.job_id}") for ref in every)
        newest = await backend.list_jobs("any", last=1)
        # DaCHS's datalink ignores every filter and tells no times: nothing to choose by.
        assert len(newest) == (5 if server == "dachs-dlasync" else 1)
    assert replay.lines[1] == f"GET /{SERVERS[server]}?LAST=1"


@every_server
async def test_a_list_that_is_refused(server: str) -> None:
    async with replaying(server, "list-bad-phase") as (backend, _):
        if server == "dachs-dlasync":
            assert await backend.list_jobs("any")  # filters are ignored
        else:
            with pytest.raises(RequestRefusedError, match=r"FOO|Input should be"):
                await backend.list_jobs("any")


@every_server
@pytest.mark.parametrize("name", ["results-completed", "parameters-pending", "phase-pending", "list"])
async def test_other_documents_are_no_job(server: str, name: str) -> None:
    async with replaying(server, name) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.read(location(server))
        assert type(caught.value) is BackendFailedError


@every_server
@pytest.mark.parametrize("name", ["job-pending", "list", "phase-pending", "results-completed"])
async def test_only_a_redirect_is_a_creation(server: str, name: str) -> None:
    async with replaying(server, name) as (backend, replay):
        with pytest.raises(BackendFailedError):
            await backend.create(SUBMISSION)
        assert len(replay.asked) == 1
