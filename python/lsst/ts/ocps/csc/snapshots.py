"""What is going on now, as events tell it: active jobs, counts, payloads. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .documents import reported_job_id
from .event_fields import start_time
from .records import OutcomeKind, RunRecord
from .texts import MAX_STRING_BYTES, clip, dump_json, fit_list

__all__ = ["active_jobs_text", "count_jobs", "last_noon", "payloads_fields"]


def active_jobs_text(records: Iterable[RunRecord]) -> str:
    """The runs that have not ended, as a JSON list; the latest are left out if it would be too long.

    Parameters
    ----------
    records
        The runs, oldest first.
    """
    return fit_list(
        [
            {
                "run_id": record.run.run_id,
                "job_id": "" if record.handle is None else reported_job_id(record),
                "payload": record.run.payload,
                "phase": record.phase.value,
                "requester": record.run.key.identity,
                "start_time": start_time(record),
            }
            for record in records
        ]
    )


def last_noon(now: float) -> float:
    """The last 12:00 UTC, when an observing day begins (Unix s).

    Parameters
    ----------
    now
        Unix s, UTC.
    """
    moment = datetime.fromtimestamp(now, UTC)
    noon = moment.replace(hour=12, minute=0, second=0, microsecond=0)
    return (noon if noon <= moment else noon - timedelta(days=1)).timestamp()


def count_jobs(
    records: Sequence[RunRecord], waiting: frozenset[str], ended: Mapping[str, int], *, now: float
) -> dict[str, Any]:
    """Fields of the telemetry topic ``job_counts``.

    Parameters
    ----------
    records
        The runs that have not ended.
    waiting
        run_ids of those that wait for their job, for prerequisites or for a slot.
    ended
        Runs that have ended since noon, by kind of outcome.
    now
        Unix s, UTC.
    """
    phases = Counter(record.phase for record in records if record.run.run_id not in waiting)
    return {
        "waiting": sum(record.run.run_id in waiting for record in records),
        "pending": phases[ExecutionPhase.PENDING],
        "queued": phases[ExecutionPhase.QUEUED],
        "executing": phases[ExecutionPhase.EXECUTING],
        "held": phases[ExecutionPhase.HELD],
        "suspended": phases[ExecutionPhase.SUSPENDED],
        "completed": ended.get(OutcomeKind.COMPLETED.value, 0),
        "error": ended.get(OutcomeKind.ERROR.value, 0) + ended.get(OutcomeKind.LOST.value, 0),
        "aborted": ended.get(OutcomeKind.ABORTED.value, 0),
        "oldest_active_age": max((now - record.run.accepted_at for record in records), default=0.0),
    }


def payloads_fields(definitions: Mapping[str, PayloadDefinition]) -> dict[str, str]:
    """Fields of the event ``payloads``; schemas are left out if all would be too long, then descriptions."""
    names = sorted(definitions)
    texts = (
        dump_json(
            {
                name: {
                    "description": definitions[name].description,
                    "parameters": definitions[name].parameters,
                }
                for name in names
            }
        ),
        dump_json({name: {"description": definitions[name].description} for name in names}),
        dump_json({name: {} for name in names}),
    )
    fitting = (text for text in texts if len(text.encode()) <= MAX_STRING_BYTES)
    return {"names": clip(",".join(names)), "definitions": next(fitting, "{}")}
