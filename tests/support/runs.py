"""Records of runs for tests of the CSC's pure modules and of its ledger."""

import itertools
from datetime import UTC, datetime
from typing import Any

from lsst.ts.ocps.csc.records import CommandKey, Run, RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, JobCreated, JobSeen, News, StartIntended, observe
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase

__all__ = ["ended_record", "make_job", "make_record", "make_run", "with_news"]

_numbers = itertools.count(1)
URL = "http://service.invalid/echo/async/7"


def make_run(**values: Any) -> Run:
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "run_id": f"ocps-test-1-{number:08d}",
        "command": "run",
        "key": CommandKey("tester@host", 42, number, 1000.5 + number),
        "payload": "echo",
        "parameters": {"text": "hello"},
        "pairs": (("text", "hello"),),
        "backend": {"name": "fake", "settings": {"kind": "uws", "url": "http://service.invalid"}},
        "creates_pending": True,
        "accepted_at": 1_700_000_000.0 + number,
    }
    return Run(**(defaults | values))


def make_record(**values: Any) -> RunRecord:
    return RunRecord(make_run(**values))


def make_job(phase: ExecutionPhase = ExecutionPhase.PENDING, **values: Any) -> Job:
    defaults: dict[str, Any] = {
        "job_id": "7",
        "creation_time": datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC),
        "execution_duration": 300,
    }
    return Job(phase=phase, **(defaults | values))


def with_news(record: RunRecord, *news: News) -> RunRecord:
    for piece in news:
        record = observe(record, piece)
    return record


def ended_record(
    phase: ExecutionPhase = ExecutionPhase.COMPLETED, *, job: Any = None, **run: Any
) -> RunRecord:
    """A run that has gone all the way to a final phase."""
    final = job or make_job(phase)
    return with_news(
        make_record(**run),
        CreateIntended(),
        JobCreated(URL, make_job(job_id=final.job_id)),
        StartIntended(),
        JobSeen(final),
    )
