"""A redirect that brings the job's document (Content-Location) spares a read; any other brings one."""

from datetime import UTC, datetime

import httpx
import pytest
from typing_extensions import override

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.uws.documents import job_to_xml
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.uws_samples import make_response

pytestmark = pytest.mark.asyncio

ROOT = "http://uws.example"
URL = f"{ROOT}/nap/async/7"
SUBMISSION = Submission("nap", "run-1")


def document(phase: ExecutionPhase, job_id: str = "7") -> bytes:
    job = Job(job_id, phase, run_id="run-1", creation_time=datetime(2026, 1, 2, tzinfo=UTC))
    return job_to_xml(job, job_url=URL)


class Service(httpx.AsyncBaseTransport):
    """Answers a POST with one redirect and a GET with the job as it is now."""

    def __init__(self, content: bytes, content_location: str | None) -> None:
        self.requests: list[str] = []
        self._content = content
        self._headers = {"Location": URL, "Content-Type": "application/xml"}
        if content_location is not None:
            self._headers["Content-Location"] = content_location

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return make_response(303, self._content, list(self._headers.items()))
        return make_response(200, document(ExecutionPhase.PENDING))


def open_backend(service: Service) -> UwsBackend:
    return UwsBackend("test", UwsSettings(kind="uws", url=ROOT), http=service)


async def test_a_job_told_with_the_redirect_is_not_read_again() -> None:
    service = Service(document(ExecutionPhase.PENDING), URL)
    created = await open_backend(service).create(SUBMISSION)
    assert (created.url, created.job.job_id, created.job.run_id) == (URL, "7", "run-1")
    assert service.requests == ["POST /nap/async"]


@pytest.mark.parametrize(
    ("content", "content_location"),
    [
        (document(ExecutionPhase.PENDING), None),
        (document(ExecutionPhase.PENDING), f"{ROOT}/nap/async/8"),
        (document(ExecutionPhase.PENDING, job_id="8"), URL),
        (document(ExecutionPhase.PENDING)[:80], URL),
        (b"", URL),
    ],
    ids=["no content-location", "another url", "another job", "truncated", "empty"],
)
async def test_whatever_else_comes_with_the_redirect_the_job_is_read(
    content: bytes, content_location: str | None
) -> None:
    service = Service(content, content_location)
    created = await open_backend(service).create(SUBMISSION)
    assert created.job.job_id == "7"
    assert service.requests == ["POST /nap/async", "GET /nap/async/7"]


async def test_a_start_tells_the_phase_if_its_answer_does() -> None:
    told = await open_backend(Service(document(ExecutionPhase.QUEUED), URL)).start(URL)
    assert told is not None
    assert told.phase is ExecutionPhase.QUEUED
    assert await open_backend(Service(document(ExecutionPhase.QUEUED), None)).start(URL) is None
