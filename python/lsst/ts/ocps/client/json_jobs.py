"""Jobs as the JSON dialect of ``lsst-dm/uws-api-server`` tells them. No I/O."""

import json
import re
from collections import Counter
from datetime import datetime
from typing import Any

from lsst.ts.ocps.uws.errors import quoted
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, JobRef, Parameter, Result
from lsst.ts.ocps.uws.phases import parse_phase
from lsst.ts.ocps.uws.times import parse_time

from .answers import quote

__all__ = ["JOB_ID", "JsonJobError", "parse_job", "parse_job_list", "parse_json", "parse_results"]

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What may stand in a URL as a job id: the server joins it to a path, and deletes what is there."""


class JsonJobError(ValueError):
    """An answer is not what it should be; the message says what it is."""


def parse_json(content: bytes) -> Any:
    """Read JSON.

    Raises
    ------
    JsonJobError
        If it is none; shows its beginning.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise JsonJobError(f"no JSON: {quote(content) if content.strip() else 'nothing at all'}") from None


def parse_job(value: Any, base: str) -> Job:
    """A job object.

    Parameters
    ----------
    value
        From `parse_json`.
    base
        Base URL of the server.

    Raises
    ------
    JsonJobError
        If it is none.
    """
    if value == {}:
        raise JsonJobError("an empty object: the server could not describe the job")
    if not isinstance(value, dict):
        raise JsonJobError(f"no job object: {quoted(json.dumps(value))}")
    job_id, phase = value.get("jobId"), value.get("phase")
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise JsonJobError(f"a job object without jobId: {quoted(json.dumps(value))}")
    if not isinstance(phase, str):
        raise JsonJobError(f"job {job_id} has no phase")
    return Job(
        job_id=job_id,
        phase=parse_phase(phase),
        run_id=_text(value.get("runId")),
        owner_id=_text(value.get("ownerId")),
        creation_time=_time(value.get("creationTime")),
        start_time=_time(value.get("startTime")),
        end_time=_time(value.get("endTime")),
        # executionDuration is how long the job ran, and no limit.
        destruction=_time(value.get("destruction")),
        parameters=_parameters(value.get("parameters")),
        results=parse_results(value.get("results") or [], base, job_id),
        error=_error(value.get("errorSummary")),
        phase_text=phase,
    )


def parse_job_list(value: Any, base: str) -> list[JobRef]:
    """The list of jobs, the newest first; what is no job in it is left out.

    Parameters
    ----------
    value, base
        As for `parse_job`.

    Raises
    ------
    JsonJobError
        If it is no list.
    """
    if not isinstance(value, list):
        raise JsonJobError(f"no list of jobs: {quoted(json.dumps(value))}")
    jobs = []
    for entry in value:
        try:
            jobs.append(parse_job(entry, base))
        except JsonJobError:
            # The server gives {} for a job that it cannot describe; the others are still good.
            continue
    jobs.sort(key=lambda job: job.creation_time.timestamp() if job.creation_time else 0.0, reverse=True)
    return [
        JobRef(
            job_id=job.job_id,
            phase=job.phase,
            url=f"{base}/job/{job.job_id}",
            run_id=job.run_id,
            creation_time=job.creation_time,
        )
        for job in jobs
    ]


def parse_results(value: Any, base: str, job_id: str) -> tuple[Result, ...]:
    """The results of a job, under their names below its output folder.

    The numbers by which the server gives them out change while files are added: a URL is good only as long as
    nothing is.

    Parameters
    ----------
    value
        A list of objects with ``id`` and ``uri``; the latter is a path on the server.
    base, job_id
        The job.

    Raises
    ------
    JsonJobError
        If it is no such list.
    """
    try:
        entries = [(str(entry["id"]), str(entry["uri"])) for entry in value]
    except (TypeError, KeyError):
        raise JsonJobError(f"no list of results: {quoted(json.dumps(value))}") from None
    names = [_result_name(uri, job_id) for _, uri in entries]
    known = Counter(names)
    return tuple(
        Result(name if known[name] == 1 else f"{number}-{name}", f"{base}/job/result/{job_id}/{number}")
        for name, (number, _) in zip(names, entries, strict=True)
    )


def _result_name(uri: str, job_id: str) -> str:
    _, found, below = uri.partition(f"/{job_id}/out/")
    return below if found else uri.rstrip("/").rpartition("/")[2]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _error(value: Any) -> ErrorSummary | None:
    message = _text(value.get("message")) if isinstance(value, dict) else None
    return None if message is None else ErrorSummary(message)


def _parameters(value: Any) -> tuple[Parameter, ...]:
    environment = value.get("environment") if isinstance(value, dict) else None
    if not isinstance(environment, list):
        return ()
    return tuple(
        Parameter(str(entry["name"]), str(entry["value"]))
        for entry in environment
        if isinstance(entry, dict) and "name" in entry and "value" in entry
    )
