import json
from datetime import UTC, datetime

import pytest

from lsst.ts.ocps.csc.runs import CreateIntended, JobCreated, JobSeen, StartIntended
from lsst.ts.ocps.csc.snapshots import active_jobs_text, count_jobs, last_noon, payloads_fields
from lsst.ts.ocps.csc.texts import MAX_STRING_BYTES
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.runs import URL, make_job, make_record, with_news


def test_active_jobs_name_each_run_and_are_bounded() -> None:
    waiting = make_record()
    began = datetime(2026, 11, 22, 12, 0, 5, 500_000, tzinfo=UTC)
    running = with_news(make_record(), CreateIntended(), JobCreated(URL, make_job(start_time=began)))
    entries = json.loads(active_jobs_text([waiting, running]))
    assert entries == [
        {
            "run_id": record.run.run_id,
            "job_id": job_id,
            "payload": "echo",
            "phase": "PENDING",
            "requester": "tester@host",
            "start_time": start_time,
        }
        for record, job_id, start_time in ((waiting, "", 0.0), (running, "7", began.timestamp() + 37))
    ]
    text = active_jobs_text([make_record() for _ in range(2000)])
    assert len(text.encode()) <= MAX_STRING_BYTES
    assert 300 < len(json.loads(text)) < 2000


@pytest.mark.parametrize(
    ("now", "noon"),
    [
        ("2026-11-22T12:00:00", "2026-11-22"),
        ("2026-11-22T11:59:59", "2026-11-21"),
        ("2026-11-23T00:00:00", "2026-11-22"),
    ],
)
def test_the_night_begins_at_noon(now: str, noon: str) -> None:
    found = last_noon(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(found, UTC).isoformat() == f"{noon}T12:00:00+00:00"


def test_jobs_are_counted_by_phase() -> None:
    created = with_news(make_record(), CreateIntended(), JobCreated(URL, make_job()))
    executing = with_news(created, StartIntended(), JobSeen(make_job(ExecutionPhase.EXECUTING)))
    waiting = make_record(accepted_at=100.0)
    counts = count_jobs(
        [waiting, created, executing],
        frozenset({waiting.run.run_id}),
        {"completed": 4, "error": 1, "lost": 2, "aborted": 3, "rejected": 9},
        now=160.0,
    )
    assert counts == {
        "waiting": 1,
        "pending": 1,
        "queued": 0,
        "executing": 1,
        "held": 0,
        "suspended": 0,
        "completed": 4,
        "error": 3,
        "aborted": 3,
        "oldest_active_age": 60.0,
    }
    assert count_jobs([], frozenset(), {}, now=1.0)["oldest_active_age"] == 0.0


def test_payloads_are_told_with_less_and_less_until_they_fit() -> None:
    def tell(description: str, schema_text: str) -> dict[str, str]:
        schema = {"type": "object", "properties": {"a": {"type": "string", "description": schema_text}}}
        return payloads_fields({"p": PayloadDefinition(name="p", description=description, parameters=schema)})

    assert (
        json.loads(tell("d", "s")["definitions"])["p"]["parameters"]["properties"]["a"]["description"] == "s"
    )
    assert json.loads(tell("d", "s" * 70_000)["definitions"]) == {"p": {"description": "d"}}
    assert tell("d" * 70_000, "s") == {"names": "p", "definitions": '{"p":{}}'}
