"""What is said of an ended run, word for word (design section 5, acks, points 3 and 4). No I/O."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.times import format_time

from .deposit_plan import Deposit
from .records import FinalAck, Outcome, OutcomeKind, Report, Reporting, RunRecord
from .requests import JOB_ID
from .results import RunResults
from .texts import MAX_STRING_BYTES, clip, dump_json

__all__ = [
    "accepted_text",
    "build_report",
    "in_progress_text",
    "optional_time",
    "read_document",
    "recall",
    "reported_job_id",
]

_EXIT_CODES = {OutcomeKind.COMPLETED: 0, OutcomeKind.ABORTED: 255}
_KINDS = {
    kind.value.upper(): kind for kind in (OutcomeKind.COMPLETED, OutcomeKind.ERROR, OutcomeKind.ABORTED)
}
"""By phase; any other one is that of a run that was lost."""

_MAX_MESSAGE_BYTES = 4_000
"""An error summary is read by people; whoever needs more reads the job's ``error`` resource."""


def reported_job_id(record: RunRecord) -> str:
    """The job id as events and acknowledgements give it.

    An id that is not ``[A-Za-z0-9_-]``, or none, is replaced by our run_id: clients use job ids in shell
    commands and collection names (baseline section 7).
    """
    handle = record.handle
    if handle is not None and JOB_ID.fullmatch(handle.job_id):
        return handle.job_id
    return record.run.run_id


def in_progress_text(record: RunRecord) -> str:
    """Result of the acknowledgement CMD_INPROGRESS."""
    return dump_json({"job_id": reported_job_id(record)})


def accepted_text(record: RunRecord, job_id: str = "") -> str:
    """Result of the only acknowledgement of a detached command; a job id that is given is told."""
    return dump_json({"job_id": job_id or reported_job_id(record), "run_id": record.run.run_id})


def optional_time(time: datetime | None) -> str | None:
    """A time as UWS writes it; None stays None."""
    return None if time is None else format_time(time)


def build_report(record: RunRecord, results: RunResults) -> Report:
    """What will be said of a run that has ended.

    Parameters
    ----------
    record
        An ended run.
    results
        What was read of its results.
    """
    outcome = record.outcome
    if outcome is None:
        raise ValueError(f"run {record.run.run_id} has not ended")
    message = clip(outcome.message, _MAX_MESSAGE_BYTES)
    if outcome.kind is OutcomeKind.REJECTED:
        return Report(ack=FinalAck.FAILED, ack_result=f"Failed: {message}", has_result=False)
    # A detached command is complete when there is a job; where there is none, that is still to be said.
    has_been_told = record.run.detach and record.handle is not None
    is_waited_for = not (has_been_told or record.run.is_adopted)
    text = _shed(_build_document(record, outcome, message, results), record)
    ack, ack_result = _choose_ack(record, outcome, message, text)
    return Report(
        ack=ack if is_waited_for else None,
        ack_result=ack_result if is_waited_for else "",
        exit_code=_EXIT_CODES.get(outcome.kind, 1),
        result=text,
    )


def read_document(result: str) -> dict[str, Any]:
    """What a ``job_result`` says; empty where it is none of ours."""
    try:
        document = json.loads(result)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def recall(record: RunRecord, result: str, exit_code: int) -> RunRecord:
    """A run as its ``job_result`` tells it, which is out though the ledger does not know.

    Parameters
    ----------
    record
        The run as the ledger has it: not reported.
    result, exit_code
        What was said.

    Returns
    -------
    RunRecord
        The same run, of which only the final acknowledgement is to be said again, word for word.
    """
    document = read_document(result)
    kind = _KINDS.get(document["phase"], OutcomeKind.LOST)
    message = (document.get("errorSummary") or {}).get("message", "")
    outcome = Outcome(kind, message)
    job_id = document["jobId"]
    ack, ack_result = _choose_ack(record, outcome, message, result)
    if record.run.detach and job_id != record.run.run_id:
        ack, ack_result = FinalAck.COMPLETE, accepted_text(record, job_id)
    report = Report(
        ack=None if record.run.is_adopted else ack,
        ack_result=ack_result,
        has_result=False,
        exit_code=exit_code,
        result=result,
    )
    return replace(record, state=Reporting(outcome, report, record.handle))


def _choose_ack(record: RunRecord, outcome: Outcome, message: str, text: str) -> tuple[FinalAck, str]:
    is_execute = record.run.command == "execute"
    match outcome.kind:
        case OutcomeKind.COMPLETED:
            return FinalAck.COMPLETE, "Done" if is_execute else text
        case OutcomeKind.ERROR if not record.run.reports_failure:
            # As deployed: the calibration clients see a failed job as a finished one (baseline section 7).
            return FinalAck.COMPLETE, "Done"
        case OutcomeKind.ABORTED:
            return FinalAck.ABORTED, f"Aborted: {message}"
        case _:
            return FinalAck.FAILED, f"Failed: {message}"


def _build_document(record: RunRecord, outcome: Outcome, message: str, results: RunResults) -> dict[str, Any]:
    run, job = record.run, outcome.job
    has_failed = outcome.kind is not OutcomeKind.COMPLETED
    return {
        "jobId": reported_job_id(record),
        "runId": run.run_id,
        "phase": outcome.phase.value,
        "payload": run.payload,
        "label": run.label,
        **_job_times(job),
        "executionDuration": run.execution_duration if job is None else job.execution_duration,
        "errorSummary": {"message": message} if has_failed else None,
        "results": [] if job is None else [{"id": item.result_id, "uri": item.url} for item in job.results],
        "parameters": run.parameters,
        "value": results.value,
        "metrics": [metric.to_json() for metric in results.metrics],
        "deposit": None if results.deposit is None else _describe_deposit(results.deposit),
    }


def _describe_deposit(deposit: Deposit) -> dict[str, str]:
    return {
        "state": deposit.state,
        "location": clip(deposit.location, _MAX_MESSAGE_BYTES),
        "message": clip(deposit.message, _MAX_MESSAGE_BYTES),
    }


def _job_times(job: Job | None) -> dict[str, str | None]:
    if job is None:
        return {"creationTime": None, "startTime": None, "endTime": None}
    return {
        "creationTime": optional_time(job.creation_time),
        "startTime": optional_time(job.start_time),
        "endTime": optional_time(job.end_time),
    }


def _shed(document: dict[str, Any], record: RunRecord) -> str:
    """JSON that fits: value, metrics, parameters are left out, in this order; then results are counted."""
    handle = record.handle
    counted = {"count": len(document["results"]), "url": "" if handle is None else handle.url}
    for key, substitute in (
        (None, None),
        ("value", None),
        ("metrics", None),
        ("parameters", None),
        ("results", counted),
    ):
        if key is not None:
            document[key] = substitute
            document.setdefault("shed", []).append(key)
        text = dump_json(document)
        if len(text.encode()) <= MAX_STRING_BYTES:
            return text
    raise ValueError(f"job_result of run {record.run.run_id} does not fit: {len(text)} characters")
