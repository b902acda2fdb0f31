"""Taking a queued job for an executor: once, by one process, and not more than may run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .schema import StoredJob, jobs
from .statements import CLAIM, CLAIM_IF_FEW, read_job

__all__ = ["ANY_TERMS", "Taken", "Terms", "take"]

Taken = Mapping[tuple[str, str], int]
"""How many jobs of a payload and an executor are taken."""

_TAKEN_HERE = (
    sa.select(jobs.c.payload, jobs.c.executor, sa.func.count().label("number"))
    .where(jobs.c.handed_over.is_(True), jobs.c.instance.startswith(sa.bindparam("host"), autoescape=False))
    .group_by(jobs.c.payload, jobs.c.executor)
)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a job is taken."""

    native_id: str | None = None
    """What the executor calls the job before it has it."""

    max_active: int | None = None
    """It is not to be taken if so many of its payload are taken, by whatever process; None: any number."""

    bears: Callable[[Taken], bool] | None = None
    """Whether the machine bears the job beside those that all processes of this host have taken; None: it
    does."""

    @property
    def alone(self) -> str:
        """The name under which others are kept from taking jobs meanwhile; "" if that need not be."""
        # Of two who count at the same time, neither sees what the other is about to take.
        return "" if self.max_active is None and self.bears is None else "claim"


ANY_TERMS = Terms()


def take(connection: sa.Connection, job_id: str, instance: str, terms: Terms) -> StoredJob | None:
    """Take a job for a process; None if it is not there to be taken, or not on these terms."""
    if terms.bears is not None and not terms.bears(_count_taken(connection, instance)):
        return None
    values = {
        "which": job_id,
        "old": ExecutionPhase.QUEUED.value,
        "handed_over": True,
        "instance": instance,
        "native_id": terms.native_id,
    }
    if terms.max_active is None:
        return read_job(connection.execute(CLAIM, values))
    return read_job(connection.execute(CLAIM_IF_FEW, {**values, "most": terms.max_active}))


def _count_taken(connection: sa.Connection, instance: str) -> Taken:
    # The name of a process is that of its host, a line, and digits.
    host, line, _ = instance.rpartition("_")
    rows = connection.execute(_TAKEN_HERE, {"host": f"{host}{line}"})
    return {(row.payload, row.executor): row.number for row in rows}
