"""The fields of the events about one run. No I/O."""

from datetime import datetime
from typing import Any

from lsst.ts.ocps.salobj import tai_from_utc_unix
from lsst.ts.ocps.uws.jobs import Result
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .deposit_plan import DepositedFile
from .documents import reported_job_id
from .records import RunRecord
from .results import Metric, RunResults
from .texts import clip

__all__ = ["job_fields", "output_events", "phase_fields", "start_time"]

_MAX_OUTPUT_EVENTS = 200
"""So many ``job_output`` events at most; ``job_result`` lists them all."""

_PHASE_CODES = {phase: code for code, phase in enumerate(ExecutionPhase, start=1)}
"""Enumeration ``PhaseCode`` of the interface, which has the order of the standard."""


def start_time(record: RunRecord) -> float:
    """When the job of a run began (TAI, Unix s); 0 if not yet."""
    return 0.0 if record.job is None else _tai(record.job.start_time)


def job_fields(record: RunRecord) -> dict[str, Any]:
    """Fields of the event ``job_id``."""
    run = record.run
    return {
        "event_name": f"cmd_{run.command}",
        "seq_num": run.key.seq_num,
        "job_id": reported_job_id(record),
    }


def phase_fields(record: RunRecord, message: str) -> dict[str, Any]:
    """Fields of the event ``job_phase``.

    Parameters
    ----------
    record
        The run.
    message
        What there is to say besides; "" = why it ended, if it has.
    """
    run, job = record.run, record.job
    if not message and record.outcome is not None:
        message = record.outcome.message
    return {
        "job_id": "" if record.handle is None else reported_job_id(record),
        "run_id": run.run_id,
        "label": run.label,
        "payload": run.payload,
        "phase": record.phase.value,
        "requester": run.key.identity,
        "message": clip(message),
        "url": "" if record.handle is None else record.handle.url,
        "phase_code": _PHASE_CODES[record.phase],
        "seq_num": run.key.seq_num,
        "creation_time": 0.0 if job is None else _tai(job.creation_time),
        "start_time": start_time(record),
        "end_time": 0.0 if job is None else _tai(job.end_time),
    }


def output_events(record: RunRecord, results: RunResults) -> list[tuple[str, dict[str, Any]]]:
    """Names and fields of the events ``job_output`` and ``job_metric`` of a run.

    Parameters
    ----------
    record
        The run.
    results
        What was read of its results.
    """
    job_id, job = reported_job_id(record), record.job
    outputs = () if job is None else job.results[:_MAX_OUTPUT_EVENTS]
    deposited = () if results.deposit is None else results.deposit.files
    files = {file.result_id: file for file in deposited}
    return [
        *(
            ("evt_job_output", _output_fields(job_id, output, files.get(output.result_id)))
            for output in outputs
        ),
        *(
            ("evt_job_metric", _metric_fields(job_id, record.run.payload, metric))
            for metric in results.metrics
        ),
    ]


def _output_fields(job_id: str, output: Result, file: DepositedFile | None) -> dict[str, Any]:
    fields = {
        "job_id": job_id,
        "output_id": clip(output.result_id),
        "url": clip(output.url or ""),
        "mime_type": clip(output.mime_type or ""),
        "checksum": output.sha256 or "",
        "byte_size": -1 if output.size is None else output.size,
    }
    if file is not None:
        fields |= {"url": clip(file.url), "checksum": file.sha256, "byte_size": file.byte_size}
    return fields


def _metric_fields(job_id: str, payload: str, metric: Metric) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "payload": payload,
        "metric_name": clip(metric.name),
        "metric_units": clip(metric.units),
        "tags": metric.tags_text,
        "value": metric.value,
    }


def _tai(time: datetime | None) -> float:
    return 0.0 if time is None else tai_from_utc_unix(time.timestamp())
