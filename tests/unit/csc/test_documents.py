import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.csc.documents import build_report, in_progress_text, recall, reported_job_id
from lsst.ts.ocps.csc.records import FinalAck, Reporting, RunRecord
from lsst.ts.ocps.csc.results import Metric, RunResults
from lsst.ts.ocps.csc.runs import (
    AbortAsked,
    CreateIntended,
    CreateRefused,
    JobCreated,
    JobMissing,
    JobSeen,
    observe,
)
from lsst.ts.ocps.csc.texts import MAX_STRING_BYTES, clip, dump_json, fit_list
from lsst.ts.ocps.uws.jobs import ErrorSummary, Result
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.runs import URL, ended_record, make_job, make_record, with_news

P = ExecutionPhase
KEYS = {
    "jobId",
    "runId",
    "phase",
    "payload",
    "label",
    "creationTime",
    "startTime",
    "endTime",
    "executionDuration",
}
KEYS |= {"errorSummary", "results", "parameters", "value", "metrics", "deposit"}


def document_of(record: RunRecord, results: RunResults | None = None) -> dict[str, Any]:
    document = json.loads(build_report(record, results or RunResults()).result)
    assert isinstance(document, dict)
    return document


def test_job_result_holds_the_final_job() -> None:
    job = make_job(
        P.COMPLETED,
        start_time=datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC),
        end_time=datetime(2026, 11, 22, 12, 0, 2, tzinfo=UTC),
        results=(Result("a.fits", url=f"{URL}/results/a.fits"),),
    )
    metric = Metric("noise", 1.5, "adu")
    document = document_of(ended_record(job=job, label="night"), RunResults({"x": 1}, (metric,)))
    assert document.keys() == KEYS
    assert document["jobId"] == "7"
    assert document["phase"] == "COMPLETED"
    assert document["creationTime"] == "2026-11-22T12:00:00.250Z"
    assert document["endTime"] == "2026-11-22T12:00:02.000Z"
    assert document["results"] == [{"id": "a.fits", "uri": f"{URL}/results/a.fits"}]
    assert document["value"] == {"x": 1}
    assert document["metrics"] == [{"name": "noise", "value": 1.5, "units": "adu", "tags": {}}]
    assert document["errorSummary"] is None
    assert document["parameters"] == {"text": "hello"}


@pytest.mark.parametrize(
    ("phase", "exit_code", "run_ack", "execute_ack"),
    [
        (P.COMPLETED, 0, FinalAck.COMPLETE, (FinalAck.COMPLETE, "Done")),
        (P.ERROR, 1, FinalAck.FAILED, (FinalAck.COMPLETE, "Done")),
        (P.ABORTED, 255, FinalAck.ABORTED, (FinalAck.ABORTED, "Aborted: the job was aborted")),
        (
            P.ARCHIVED,
            1,
            FinalAck.FAILED,
            (FinalAck.FAILED, "Failed: the job was archived before its end was seen"),
        ),
    ],
)
def test_exit_codes_and_final_acks_by_phase(
    phase: ExecutionPhase, exit_code: int, run_ack: FinalAck, execute_ack: tuple[FinalAck, str]
) -> None:
    report = build_report(ended_record(phase), RunResults())
    assert (report.exit_code, report.ack) == (exit_code, run_ack)
    report = build_report(ended_record(phase, command="execute", reports_failure=False), RunResults())
    assert (report.exit_code, report.ack, report.ack_result) == (exit_code, *execute_ack)


def test_execute_reports_failure_where_the_site_wants_it() -> None:
    job = make_job(P.ERROR, error=ErrorSummary("no flats"))
    report = build_report(ended_record(job=job, command="execute", reports_failure=True), RunResults())
    assert (report.ack, report.ack_result) == (FinalAck.FAILED, "Failed: no flats")


def test_the_final_ack_of_run_is_the_job_result() -> None:
    report = build_report(ended_record(), RunResults())
    assert report.ack_result == report.result


def test_a_detached_run_gets_a_result_but_no_final_ack() -> None:
    report = build_report(ended_record(detach=True), RunResults())
    assert (report.ack, report.has_result) == (None, True)


def test_a_rejected_run_gets_an_ack_but_no_result() -> None:
    record = with_news(make_record(), CreateIntended(), CreateRefused("the back end is down"))
    report = build_report(record, RunResults())
    assert (report.ack, report.has_result) == (FinalAck.FAILED, False)
    assert report.ack_result == "Failed: the back end is down"


def test_every_job_result_has_a_job_id_even_without_a_job() -> None:
    record = observe(make_record(), AbortAsked())
    document = document_of(record)
    assert document["jobId"] == document["runId"] == record.run.run_id
    assert document["phase"] == "ABORTED"


@pytest.mark.parametrize("job_id", ["a b", "../x", "café", "a.b", "a:b", "a\n", ""])
def test_a_job_id_that_shell_commands_could_not_bear_is_replaced_by_our_run_id(job_id: str) -> None:
    record = ended_record(job=make_job(P.COMPLETED, job_id=job_id))
    assert reported_job_id(record) == record.run.run_id
    assert json.loads(in_progress_text(record)) == {"job_id": record.run.run_id}


def size(text: str) -> int:
    return len(text.encode())


def test_job_result_sheds_value_then_metrics_then_parameters_then_results() -> None:
    big = "ä" * 20_000
    results = tuple(Result(f"r{n}", url=f"{URL}/results/{n}") for n in range(2000))
    metrics = tuple(Metric(f"m{n}", n) for n in range(1200))
    sheds = []
    for listed, measured in (
        (results[:10], ()),
        (results[:10], metrics),
        (results[:800], metrics),
        (results, metrics),
    ):
        record = ended_record(job=make_job(P.COMPLETED, results=listed), parameters={"text": big})
        text = build_report(record, RunResults({"v": big}, measured)).result
        assert size(text) <= MAX_STRING_BYTES
        document = json.loads(text)
        assert {"jobId", "phase", "creationTime", "endTime"} <= document.keys()
        sheds.append(document.get("shed"))
    assert sheds == [
        ["value"],
        ["value", "metrics"],
        ["value", "metrics", "parameters"],
        ["value", "metrics", "parameters", "results"],
    ]
    assert document["results"] == {"count": 2000, "url": URL}


def test_a_long_error_message_is_cut() -> None:
    record = ended_record(job=make_job(P.ERROR, error=ErrorSummary("x" * 100_000)))
    report = build_report(record, RunResults())
    assert size(report.ack_result) < 5000
    assert "100000 byte in all" in report.ack_result


def test_a_404_after_an_abort_is_exit_255() -> None:
    created = with_news(make_record(), CreateIntended(), JobCreated(URL, make_job()))
    record = with_news(created, AbortAsked(), JobMissing(0))
    assert build_report(record, RunResults()).exit_code == 255
    assert document_of(record)["phase"] == "ABORTED"


@given(st.text(), st.integers(min_value=30, max_value=80))
def test_clip_never_exceeds_its_limit_and_keeps_what_fits(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert size(clipped) <= limit
    if len(text.encode(errors="replace")) <= limit:
        assert clipped == text.encode(errors="replace").decode()


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), max_size=10), st.integers(2, 200))
def test_a_list_holds_the_first_entries_that_fit(entries: list[dict[str, str]], limit: int) -> None:
    text = fit_list(entries, limit)
    assert size(text) <= limit
    kept = json.loads(text)
    assert kept == json.loads(dump_json(entries))[: len(kept)]


@pytest.mark.parametrize("run", [{}, {"detach": True}, {"command": "execute", "reports_failure": False}])
@pytest.mark.parametrize("phase", [P.COMPLETED, P.ERROR, P.ABORTED, P.ARCHIVED, None])
def test_what_was_said_of_a_run_tells_how_its_command_was_acknowledged(
    run: dict[str, Any], phase: ExecutionPhase | None
) -> None:
    asked = with_news(make_record(**run), CreateIntended())
    created = with_news(asked, JobCreated(URL, make_job()))
    ended = with_news(created, JobMissing(99.0) if phase is None else JobSeen(make_job(phase)))
    said = build_report(ended, RunResults({"x": 1}))
    # What the ledger has is older than the end.
    for known in (asked, created):
        state = recall(known, said.result, said.exit_code).state
        assert isinstance(state, Reporting)
        assert ended.outcome is not None
        assert state.outcome.kind is ended.outcome.kind
        assert (state.report.has_result, state.report.exit_code) == (False, said.exit_code)
        if run.get("detach"):
            accepted = f'{{"job_id":"7","run_id":"{ended.run.run_id}"}}'
            assert (state.report.ack, state.report.ack_result) == (FinalAck.COMPLETE, accepted)
        else:
            assert (state.report.ack, state.report.ack_result) == (said.ack, said.ack_result)
