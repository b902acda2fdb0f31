"""A client of the community, pyvo, drives jobs of the service through their whole life."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pyvo.dal.exceptions import DALQueryError, DALServiceError
from pyvo.dal.tap import AsyncTAPJob, TAPService
from pyvo.utils.http import create_session

from support.service_calls import Calls

pytestmark = pytest.mark.asyncio

QUERY = "SELECT <&> FROM 'é'"


def complete(root: str) -> None:
    """A job from its creation to its deletion, as pyvo does it; blocks."""
    with create_session() as session:
        session.trust_env = False
        created = session.post(f"{root}/query/async", {"QUERY": QUERY, "LANG": "ADQL", "RUNID": "by pyvo"})
        created.raise_for_status()
        job = AsyncTAPJob(created.url, session=session)
        assert (job.phase, job.uws_version, job.query) == ("PENDING", "1.1", QUERY)
        job.query = "SELECT 2"
        assert job.query == "SELECT 2"
        job.execution_duration = 77
        assert job.execution_duration.sec == 77
        later = datetime.now(UTC).replace(microsecond=0, tzinfo=None) + timedelta(days=2)
        job.destruction = later
        assert job.destruction.to_datetime() == later
        job.run().wait()
        assert job.phase == "COMPLETED"
        job.raise_if_error()
        assert job.result_uri == f"{job.url}/results/result"
        (row,) = job.fetch_result().to_table()
        assert row["query"] == "SELECT 2"
        job.delete()
        assert session.get(created.url).status_code == 404


def upload(root: str) -> None:
    """A job that is given its files after its creation; blocks."""
    with create_session() as session:
        session.trust_env = False
        job = AsyncTAPJob(session.post(f"{root}/table/async").url, session=session)
        job.upload(sources=BytesIO(b"<VOTABLE/>"), mask=BytesIO(b"0 1 0"))
        job.run().wait()
        assert job.phase == "COMPLETED"
        answer = session.get(job.result_uri)
        assert answer.content == b"<VOTABLE/>0 1 0"


def fail_and_abort(root: str) -> None:
    """Jobs that end badly; blocks."""
    with create_session() as session:
        session.trust_env = False
        failing = AsyncTAPJob(
            session.post(f"{root}/fail/async", {"message": "no such table"}).url, session=session
        )
        failing.run().wait()
        assert failing.phase == "ERROR"
        with pytest.raises(DALQueryError, match="no such table"):
            failing.raise_if_error()
        running = AsyncTAPJob(session.post(f"{root}/sleep/async", {"PHASE": "RUN"}).url, session=session)
        running.abort()
        assert running.phase == "ABORTED"
        with pytest.raises(DALServiceError):
            running.run()


def query(root: str) -> None:
    """A payload as a service that pyvo finds out about by itself; blocks."""
    with create_session() as session, ExitStack() as answers:
        session.trust_env = False

        def close_later(answer: Any, **_: object) -> None:
            """Close what pyvo reads as a stream, and leaves open."""
            answers.callback(answer.close)

        session.hooks["response"].append(close_later)
        service = TAPService(f"{root}/query", session=session)
        found = {one.standardid: one.interfaces[0].accessurls[0].content for one in service.capabilities}
        assert found["ivo://ivoa.net/std/UWS#rest-1.1"] == f"{root}/query/async"
        assert found[None] == f"{root}/query/sync"
        for run in (service.run_sync, service.run_async):
            (row,) = run("SELECT 2").to_table()
            assert row["query"] == "SELECT 2"
        # pyvo deletes the job of run_async when it has its result.
        (listed,) = service.get_job_list(phases=["COMPLETED"], last=5)
        assert service.get_job(listed.jobid).phase == "COMPLETED"
        with pytest.raises(DALServiceError, match="no such parameter"):
            TAPService(f"{root}/fail", session=session).run_sync("SELECT 2")


@pytest.mark.parametrize("drive", [complete, upload, fail_and_abort, query])
async def test_pyvo_drives_jobs(calls: Calls, drive: object) -> None:
    assert callable(drive)
    await asyncio.to_thread(drive, str(calls.http.base_url).rstrip("/"))
