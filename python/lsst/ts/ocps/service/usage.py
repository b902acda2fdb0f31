"""What an owner has, counted by the database."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .schema import jobs
from .sections import OwnerLimits

__all__ = ["ANY", "Room", "Usage", "room_for", "room_for_files", "usage_of"]

_PASSIVE = [ExecutionPhase.PENDING.value, *(phase.value for phase in FINAL)]

# The table under another name: the statements that these conditions go into change rows of it.
_other = jobs.alias("other")
_IS_PENDING = _other.c.phase == ExecutionPhase.PENDING.value
_IS_ACTIVE = _other.c.phase.not_in(_PASSIVE)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner has."""

    pending: int
    active: int
    stored: int
    """Results and uploads kept (byte)."""


@dataclass(frozen=True, slots=True)
class Room:
    """Whether there is room for one job more."""

    conditions: Sequence[sa.ColumnElement[bool]] = ()
    """Conditions of the statement that adds it; empty: there always is."""

    alone: str = ""
    """What no two processes do at the same time: else both would find room for the last job."""

    @property
    def is_limited(self) -> bool:
        """Whether there may be none."""
        return bool(self.conditions)


ANY = Room()
"""Room for as many as there are."""


def room_for(owner_id: str | None, phase: ExecutionPhase, limits: OwnerLimits) -> Room:
    """Room for one more job of an owner in a phase, PENDING or QUEUED."""
    is_theirs = _is_theirs(owner_id)
    conditions: list[sa.ColumnElement[bool]] = []
    pending = phase is ExecutionPhase.PENDING
    bound = limits.max_pending if pending else limits.max_active
    if bound is not None:
        count = sa.select(sa.func.count()).where(is_theirs, _IS_PENDING if pending else _IS_ACTIVE)
        conditions.append(count.scalar_subquery() < bound)
    if limits.max_stored is not None:
        conditions.append(_stored(is_theirs).scalar_subquery() < int(limits.max_stored))
    return Room(conditions, f"quota of {owner_id}") if conditions else ANY


def room_for_files(owner_id: str | None, limits: OwnerLimits) -> Room:
    """Room for further files of a job that an owner has."""
    if limits.max_stored is None:
        return ANY
    stored = _stored(_is_theirs(owner_id)).scalar_subquery()
    return Room([stored < int(limits.max_stored)], f"quota of {owner_id}")


def usage_of(connection: sa.Connection, owner_id: str | None) -> Usage:
    """What an owner has now."""
    is_theirs = _is_theirs(owner_id)
    counts = [sa.select(sa.func.count()).where(is_theirs, which) for which in (_IS_PENDING, _IS_ACTIVE)]
    columns = [part.scalar_subquery() for part in (*counts, _stored(is_theirs))]
    return Usage(*connection.execute(sa.select(*columns)).one())


def _is_theirs(owner_id: str | None) -> sa.ColumnElement[bool]:
    is_owner = _other.c.owner_id.is_(None) if owner_id is None else _other.c.owner_id == owner_id
    return is_owner & _other.c.destroyed.is_(False)


def _stored(is_theirs: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
    return sa.select(sa.func.coalesce(sa.func.sum(_other.c.stored_bytes + _other.c.upload_bytes), 0)).where(
        is_theirs
    )
