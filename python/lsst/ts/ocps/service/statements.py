"""The statements that read and change jobs, built once; values come when they are executed."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .listing import IS_ARCHIVED, IS_TOLD_OF
from .rows import job_from_row
from .schema import StoredJob, StoredUpload, jobs, upload_columns
from .usage import Room

__all__ = [
    "ADD",
    "ARCHIVE",
    "CLAIM",
    "CLAIM_IF_FEW",
    "CLEAN",
    "COUNT",
    "FIND",
    "HIDDEN",
    "HIDE",
    "NOTHING_KEPT",
    "PUT_BACK",
    "REMOVE",
    "SET_DESTRUCTION",
    "SET_DURATION",
    "UPDATE",
    "UPDATE_IN_PHASE",
    "read_job",
    "replace_parameters",
    "update_if_room",
]

ADD = sa.insert(jobs)
FIND = sa.select(jobs).where(jobs.c.job_id == sa.bindparam("which"))
UPDATE = sa.update(jobs).where(jobs.c.job_id == sa.bindparam("which")).returning(jobs)
UPDATE_IN_PHASE = UPDATE.where(jobs.c.phase == sa.bindparam("old"))
_UPDATE_KEPT = UPDATE.where(jobs.c.destroyed.is_(False))
ARCHIVE = UPDATE_IN_PHASE.where(jobs.c.destroyed.is_(False))
CLAIM = UPDATE_IN_PHASE.where(jobs.c.handed_over.is_(False))
PUT_BACK = UPDATE_IN_PHASE.where(
    jobs.c.handed_over.is_(True), jobs.c.instance == sa.bindparam("whose", type_=sa.String)
)
_others = jobs.alias("others")
_TAKEN = (
    sa.select(sa.func.count())
    .select_from(_others)
    .where(_others.c.payload == jobs.c.payload, _others.c.handed_over.is_(True))
    .correlate(jobs)
    .scalar_subquery()
)
CLAIM_IF_FEW = CLAIM.where(sa.bindparam("most", type_=sa.Integer) > _TAKEN)
_FINAL = [phase.value for phase in FINAL]
SET_DURATION = UPDATE.where(jobs.c.phase.not_in(_FINAL), jobs.c.handed_over.is_(False))
SET_DESTRUCTION = _UPDATE_KEPT.where(~IS_ARCHIVED)
HIDE = UPDATE.where(jobs.c.phase.in_(_FINAL), jobs.c.destroyed.is_(False) | IS_TOLD_OF)
HIDDEN: dict[str, Any] = {"destroyed": True, "destruction": None}
NOTHING_KEPT: dict[str, Any] = {"stored_bytes": 0, "upload_bytes": 0}
CLEAN = UPDATE.where(IS_TOLD_OF)
COUNT = (
    sa.select(jobs.c.payload, jobs.c.phase, sa.func.count().label("number"))
    .where(jobs.c.destroyed.is_(False) | IS_TOLD_OF)
    .group_by(jobs.c.payload, jobs.c.phase)
)
REMOVE = sa.delete(jobs).where(jobs.c.job_id == sa.bindparam("which"))


def read_job(found: sa.CursorResult[Any]) -> StoredJob | None:
    """Read the one job that was found or changed; None if there is none.

    Raises
    ------
    UnreadableJobError
        If its row is damaged.
    """
    row = found.one_or_none()
    return None if row is None else job_from_row(row)


def update_if_room(room: Room) -> sa.Executable:
    """The change of a job in a phase, if there is room for what it takes."""
    return UPDATE_IN_PHASE.where(*room.conditions) if room.is_limited else UPDATE_IN_PHASE


def replace_parameters(
    connection: sa.Connection,
    seen: StoredJob,
    pairs: Iterable[tuple[str, str]],
    uploads: Sequence[StoredUpload],
    room: Room,
) -> StoredJob | None:
    """Do what `Store.set_parameters` says, in a transaction that no other such change comes into."""
    current = read_job(connection.execute(FIND, {"which": seen.job_id}))
    if current is None or (current.pairs, current.uploads) != (seen.pairs, seen.uploads):
        return None
    values: dict[str, Any] = {
        "which": seen.job_id,
        "old": ExecutionPhase.PENDING.value,
        "parameters": [list(pair) for pair in pairs],
        **upload_columns(uploads),
    }
    return read_job(connection.execute(update_if_room(room), values))
