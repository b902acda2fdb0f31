"""Job lists: which jobs are wanted, and what is read of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lsst.ts.ocps.uws.jobs import JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .owners import Caller
from .schema import jobs

__all__ = ["IS_ARCHIVED", "IS_TOLD_OF", "JobFilter", "ListedJob", "list_query", "listed_from_row", "seen_by"]

IS_ARCHIVED = jobs.c.phase == ExecutionPhase.ARCHIVED.value
IS_TOLD_OF = IS_ARCHIVED & jobs.c.destruction.is_not(None)
"""Archived, and not deleted since."""

_REF_COLUMNS = (
    jobs.c.job_id,
    jobs.c.payload,
    jobs.c.phase,
    jobs.c.run_id,
    jobs.c.owner_id,
    jobs.c.creation_time,
)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a list are wanted (UWS 1.1 section 2.2.2.1); the conditions are all to be met."""

    payload: str | None = None
    phases: frozenset[ExecutionPhase] = frozenset()
    """Empty: all but ARCHIVED."""

    after: datetime | None = None
    """Created later than this."""

    last: int | None = None
    """The newest so many, newest first."""


@dataclass(frozen=True, slots=True)
class ListedJob:
    """An entry of a job list, without its URL."""

    ref: JobRef
    payload: str


def seen_by(caller: Caller) -> list[sa.ColumnElement[bool]]:
    """Conditions that the jobs meet which a caller may see."""
    if caller.sees_all:
        return []
    # Who has no name sees nothing, and not what belongs to nobody.
    return [sa.false() if caller.owner_id is None else jobs.c.owner_id == caller.owner_id]


def list_query(wanted: JobFilter, caller: Caller) -> sa.Select[Any]:
    """What a caller may see; newest first if ``wanted.last`` is given, else oldest first."""
    is_shown: sa.ColumnElement[bool] = jobs.c.destroyed.is_(False)
    if ExecutionPhase.ARCHIVED in wanted.phases:
        is_shown = is_shown | IS_TOLD_OF
    conditions: list[sa.ColumnElement[bool]] = [is_shown, *seen_by(caller)]
    if wanted.payload is not None:
        conditions.append(jobs.c.payload == wanted.payload)
    if wanted.phases:
        conditions.append(jobs.c.phase.in_([phase.value for phase in wanted.phases]))
    else:
        conditions.append(~IS_ARCHIVED)
    if wanted.after is not None:
        conditions.append(jobs.c.creation_time > wanted.after)
    query = sa.select(*_REF_COLUMNS).where(*conditions)
    if wanted.last is None:
        query = query.order_by(jobs.c.creation_time, jobs.c.job_id)
    else:
        query = query.order_by(jobs.c.creation_time.desc(), jobs.c.job_id.desc()).limit(wanted.last)
    return query


def listed_from_row(row: Any) -> ListedJob:
    """Read a row of `list_query`."""
    ref = JobRef(
        job_id=row.job_id,
        phase=ExecutionPhase(row.phase),
        run_id=row.run_id,
        owner_id=row.owner_id,
        creation_time=row.creation_time,
    )
    return ListedJob(ref, row.payload)
