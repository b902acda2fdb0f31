"""Job lists: which jobs are wanted, and what is read of each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from lsst.ts.ocps.uws.jobs import JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .database import Database
from .owners import ANYBODY, Caller
from .rows import jobs_from_rows, readable
from .schema import StoredJob, jobs

__all__ = [
    "IS_ARCHIVED",
    "IS_TOLD_OF",
    "JobFilter",
    "ListedJob",
    "list_jobs",
    "list_query",
    "list_whole",
    "seen_by",
]

T = TypeVar("T")

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


def _listed_from_row(row: Any) -> ListedJob:
    """Read a row of `list_query`."""
    ref = JobRef(
        job_id=row.job_id,
        phase=ExecutionPhase(row.phase),
        run_id=row.run_id,
        owner_id=row.owner_id,
        creation_time=row.creation_time,
    )
    return ListedJob(ref, row.payload)


async def list_jobs(
    database: Database,
    wanted: JobFilter,
    write: Callable[[Iterable[ListedJob]], T],
    caller: Caller = ANYBODY,
) -> Sequence[T]:
    """List what a caller may see, newest first if ``wanted.last`` is given, else oldest first.

    There may be very many: what ``write`` makes of each part is kept, and nothing else.
    """
    query = list_query(wanted, caller)
    return await _read_many(
        database, query, lambda rows: write(readable(rows, _listed_from_row)), last=wanted.last, part=100
    )


async def list_whole(
    database: Database,
    phases: frozenset[ExecutionPhase] | None,
    write: Callable[[Iterable[StoredJob]], T],
    caller: Caller = ANYBODY,
    *,
    last: int,
) -> Sequence[T]:
    """List the newest jobs that a caller may see, whole, newest first; ``phases`` None: all but ARCHIVED."""
    is_wanted = ~IS_ARCHIVED if phases is None else jobs.c.phase.in_([phase.value for phase in phases])
    newest = jobs.c.creation_time.desc(), jobs.c.job_id.desc()
    query = sa.select(jobs).where(jobs.c.destroyed.is_(False), is_wanted, *seen_by(caller)).order_by(*newest)
    return await _read_many(database, query, lambda rows: write(jobs_from_rows(rows)), last=last, part=50)


async def _read_many(
    database: Database,
    query: sa.Select[Any],
    write: Callable[[Sequence[sa.Row[Any]]], T],
    *,
    last: int | None,
    part: int,
) -> Sequence[T]:
    """Read rows that are few as a rule, and may be so many that others would have to wait for long.

    What is written is made in the event loop of one part after the other; others have their turn between.
    """
    at_first = part + 1 if last is None else min(part + 1, last)
    few = await database.read(lambda connection: connection.execute(query.limit(at_first)).all())
    if len(few) <= part:
        return [write(few)]
    written: list[T] = []
    await database.read_parts(query.limit(last), lambda rows: written.append(write(rows)), size=part)
    return written
