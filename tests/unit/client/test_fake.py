"""What the fake back end does wrong, it does as asked."""

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import (
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.testing import FakeBackend, FakeService, Script
from lsst.ts.ocps.uws.phases import ExecutionPhase

pytestmark = pytest.mark.asyncio

P = ExecutionPhase
SUBMISSION = Submission("any", "ocps-test-1-x", (("a", "1"),))


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    backend = FakeBackend()
    yield backend
    await backend.aclose()


async def test_an_error_comes_when_it_is_asked_for_and_nothing_is_done(backend: FakeBackend) -> None:
    backend.service.fail("create", BackendFailedError("fake", "one"), BackendFailedError("fake", "two"))
    for words in ("one", "two"):
        with pytest.raises(BackendFailedError, match=words):
            await backend.create(SUBMISSION)
    assert backend.service.jobs() == {}
    await backend.create(SUBMISSION)
    assert len(backend.service.jobs()) == 1
    assert backend.service.calls["create"] == 3


async def test_a_lost_answer_leaves_what_was_done(backend: FakeBackend) -> None:
    backend.service.lose_answers("create")
    with pytest.raises(BackendUnavailableError, match="answer was lost"):
        await backend.create(SUBMISSION)
    ((url, job),) = backend.service.jobs().items()
    assert (job.phase, job.run_id) == (P.PENDING, SUBMISSION.run_id)
    backend.service.lose_answers("start")
    with pytest.raises(BackendUnavailableError):
        await backend.start(url)
    assert backend.service.runs_of(url) == 1


async def test_a_service_that_is_down_and_comes_back(backend: FakeBackend) -> None:
    created = await backend.create(SUBMISSION)
    backend.service.is_available = False
    with pytest.raises(BackendUnavailableError, match="down"):
        await backend.read(created.url)
    with pytest.raises(BackendUnavailableError):
        await backend.probe()
    backend.service.is_available = True
    assert await backend.read(created.url) == created.job


async def test_a_slow_service(backend: FakeBackend) -> None:
    backend.service.delay = 0.1
    begin = time.monotonic()
    await asyncio.gather(*(backend.create(SUBMISSION) for _ in range(5)))
    assert 0.09 <= time.monotonic() - begin < 10


@pytest.mark.parametrize("phase", list(P))
async def test_a_job_can_be_put_into_any_phase(backend: FakeBackend, phase: P) -> None:
    created = await backend.create(SUBMISSION)
    backend.service.force(created.url, phase)
    job = await backend.read(created.url)
    assert (job.phase, job.phase_text) == (phase, phase)


async def test_a_held_job_is_started_again(backend: FakeBackend) -> None:
    created = await backend.create(SUBMISSION)
    backend.service.force(created.url, P.HELD)
    await backend.start(created.url)
    async with asyncio.timeout(10):
        job = await backend.read(created.url)
        while job.phase is not P.COMPLETED:
            job = await backend.wait(created.url, phase=job.phase, seconds=5)


async def test_a_job_that_is_forced_elsewhere_does_not_come_back(backend: FakeBackend) -> None:
    backend.service.script = Script(duration=0.05)
    created = await backend.create(SUBMISSION)
    await backend.start(created.url)
    backend.service.force(created.url, P.HELD)
    await asyncio.sleep(0.15)
    assert (await backend.read(created.url)).phase is P.HELD


async def test_a_job_that_never_ends(backend: FakeBackend) -> None:
    backend.service.script = Script(duration=math.inf)
    created = await backend.create(SUBMISSION)
    await backend.start(created.url)
    job = await backend.wait(created.url, phase=P.QUEUED, seconds=5)
    assert job.phase is P.EXECUTING
    await backend.abort(created.url)
    assert (await backend.read(created.url)).phase is P.ABORTED


async def test_a_lost_job_ends_the_waiting_for_it(backend: FakeBackend) -> None:
    created = await backend.create(SUBMISSION)
    waiting = asyncio.create_task(backend.wait(created.url, phase=P.PENDING, seconds=60))
    await asyncio.sleep(0.01)
    backend.service.forget(created.url)
    async with asyncio.timeout(10):
        with pytest.raises(JobNotFoundError):
            await waiting


async def test_a_service_that_drops_run_ids(backend: FakeBackend) -> None:
    backend.service.keeps_run_id = False
    assert (await backend.create(SUBMISSION)).job.run_id is None


async def test_a_service_that_does_not_block(backend: FakeBackend) -> None:
    backend.service.blocks = False
    created = await backend.create(SUBMISSION)
    async with asyncio.timeout(10):
        assert (await backend.wait(created.url, phase=P.PENDING, seconds=60)).phase is P.PENDING
    assert backend.wait_blocks is False


async def test_a_script_may_refuse_a_submission() -> None:
    def refuse(submission: Submission) -> Script:
        raise ValueError(f"no {submission.payload} today")

    backend = FakeBackend("fake", FakeService(refuse))
    with pytest.raises(RequestRefusedError, match="no any today"):
        await backend.create(SUBMISSION)
    await backend.service.aclose()


async def test_jobs_outlive_the_back_end_of_a_shared_service() -> None:
    service = FakeService(Script(duration=0.05))
    first = FakeBackend("fake", service)
    created = await first.create(SUBMISSION)
    await first.start(created.url)
    await first.aclose()
    second = FakeBackend("fake", service)
    async with asyncio.timeout(10):
        job = await second.read(created.url)
        while job.phase is not P.COMPLETED:
            job = await second.wait(created.url, phase=job.phase, seconds=5)
    await second.aclose()
    await service.aclose()
