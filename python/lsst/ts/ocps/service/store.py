"""The jobs in the database: the truth. Phases change here and nowhere else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from lsst.ts.ocps.uws.phases import ExecutionPhase, may_change

from . import statements
from .claims import ANY_TERMS, Terms, take
from .columns import Damaged
from .database import Database
from .errors import UnreadableJobError
from .migrations import upgrade
from .outcome import Outcome, outcome_columns
from .postgresql import PostgresqlDatabase
from .rows import jobs_from_rows, note_unreadable
from .schema import StoredJob, StoredUpload, jobs, row_from_job
from .sqlite import SqliteDatabase
from .usage import ANY, Room, Usage, usage_of
from .watch import PhaseWatch

__all__ = ["ALONE", "Outcome", "Store"]

ALONE = "alone"
"""The name of a process that has the database for itself."""


class Store:
    """The jobs. A write is one statement, or a transaction of its own: it happens whole or not at all.

    Parameters
    ----------
    database
        Where they are.
    watch
        Told of every change of a phase, after it is durable.
    on_phase
        Called with every job that has come into a phase by us, a new one too.
    instance
        Which of the processes on one database this is.
    """

    def __init__(
        self,
        database: Database,
        watch: PhaseWatch,
        on_phase: Callable[[StoredJob], None] | None = None,
        *,
        instance: str = ALONE,
    ) -> None:
        self._database = database
        self._watch = watch
        self._on_phase = on_phase
        self._instance = instance

    @classmethod
    async def open(
        cls,
        where: Path | sa.URL,
        watch: PhaseWatch,
        on_phase: Callable[[StoredJob], None] | None = None,
        *,
        instance: str = ALONE,
    ) -> Self:
        """Open a database, and make the tables or bring them up to date.

        Parameters
        ----------
        where
            The file of an SQLite database, which is made if need be; or the URL of a PostgreSQL database.
        watch, on_phase
            As for the class.
        instance
            Which of the processes on one database this is.

        Raises
        ------
        StoreError
            If it cannot be used.
        """
        database: Database
        if isinstance(where, Path):
            database = await SqliteDatabase.open(where, upgrade)
        else:
            database = await PostgresqlDatabase.open(where, upgrade, instance=instance)
        return cls(database, watch, on_phase, instance=instance)

    @property
    def database(self) -> Database:
        """Where they are."""
        return self._database

    @property
    def instance(self) -> str:
        """Which of the processes on one database this is."""
        return self._instance

    def on(self, database: Database) -> "Store":
        """The same jobs, reached in another way."""
        return Store(database, self._watch, self._on_phase, instance=self._instance)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._database.aclose()

    async def ping(self) -> None:
        """Raise `StoreError` if the database does not answer."""
        await self._database.read(lambda connection: connection.execute(sa.select(sa.literal(1))).one())

    # Phase changes

    async def _change_phase(
        self,
        job_id: str,
        old: ExecutionPhase,
        new: ExecutionPhase,
        *,
        statement: sa.Executable = statements.UPDATE_IN_PHASE,
        alone: str = "",
        **values: Any,
    ) -> StoredJob | None:
        """Compare and set; None if the job is not in phase ``old`` (any more)."""
        if not may_change(old, new):
            raise ValueError(f"job {job_id}: no job goes from {old} to {new}")
        changed = await self._update(statement, job_id, alone=alone, old=old.value, phase=new.value, **values)
        if changed is not None:
            self._watch.publish(job_id, None if changed.is_hidden else changed)
            self._note_phase(changed)
        return changed

    def _note_phase(self, stored: StoredJob) -> None:
        if self._on_phase is not None:
            self._on_phase(stored)

    async def queue(self, job_id: str, old: ExecutionPhase, room: Room = ANY) -> StoredJob | None:
        """Commit a job to execution; None if it is not in phase ``old``, or there is no room for it."""
        statement = statements.update_if_room(room)
        return await self._change_phase(
            job_id, old, ExecutionPhase.QUEUED, statement=statement, alone=room.alone, handed_over=False
        )

    async def begin(
        self, job_id: str, old: ExecutionPhase, *, start_time: datetime | None, native_id: str | None
    ) -> StoredJob | None:
        """Note that the command runs; None if the job is not in phase ``old``."""
        values: dict[str, Any] = {"start_time": start_time, "native_id": native_id}
        return await self._change_phase(job_id, old, ExecutionPhase.EXECUTING, **values)

    async def lose_sight(self, job_id: str, old: ExecutionPhase) -> StoredJob | None:
        """Note that nobody can tell what the job does; None if it is not in phase ``old``."""
        return await self._change_phase(job_id, old, ExecutionPhase.UNKNOWN)

    async def end(
        self, job_id: str, old: ExecutionPhase, new: ExecutionPhase, outcome: Outcome
    ) -> StoredJob | None:
        """Note the end of the command; None if the job is not in phase ``old``."""
        return await self._change_phase(job_id, old, new, handed_over=False, **outcome_columns(outcome))

    async def abort(
        self, job_id: str, old: ExecutionPhase, *, end_time: datetime, hide: bool = False
    ) -> StoredJob | None:
        """End a job for its user, whatever its command still does; None if it is not in phase ``old``.

        Parameters
        ----------
        hide
            Whether it is destroyed at the same time, as `mark_destroyed` does: nobody sees it ABORTED.
        """
        values = statements.HIDDEN if hide else {}
        return await self._change_phase(job_id, old, ExecutionPhase.ABORTED, end_time=end_time, **values)

    async def archive(self, job_id: str, old: ExecutionPhase, *, until: datetime) -> StoredJob | None:
        """Keep only the record of a job, until some time; None if it is not in phase ``old``, or hidden."""
        values: dict[str, Any] = {"destroyed": True, "destruction": until, **statements.NOTHING_KEPT}
        return await self._change_phase(
            job_id, old, ExecutionPhase.ARCHIVED, statement=statements.ARCHIVE, **values
        )

    # Other changes

    async def add(self, stored: StoredJob, room: Room = ANY) -> bool:
        """Keep a new job; False if there is no room for it."""
        row = row_from_job(stored)
        if room.is_limited:
            values = [sa.literal(value, jobs.c[name].type) for name, value in row.items()]
            statement = statements.ADD.from_select(list(row), sa.select(*values).where(*room.conditions))
            added = await self._database.write(
                lambda connection: connection.execute(statement.returning(jobs.c.job_id)).first(),
                alone=room.alone,
            )
            if added is None:
                return False
        else:
            await self._database.write(lambda connection: connection.execute(statements.ADD, row))
        self._note_phase(stored)
        return True

    async def claim(self, job_id: str, terms: Terms = ANY_TERMS) -> StoredJob | None:
        """Take a queued job for an executor, once; None if it is not there to be taken on these terms."""
        return await self._database.write(
            lambda connection: take(connection, job_id, self._instance, terms), alone=terms.alone
        )

    async def put_back(self, job_id: str) -> StoredJob | None:
        """Let a job wait again whose command surely never ran; None if it is not QUEUED and claimed by us."""
        values = {"old": ExecutionPhase.QUEUED.value, "whose": self._instance}
        return await self._update(statements.PUT_BACK, job_id, handed_over=False, native_id=None, **values)

    async def set_upload_bytes(self, job_id: str, size: int) -> StoredJob | None:
        """Note how large the uploads of a job are (byte); the job as it is then."""
        return await self._update(statements.UPDATE, job_id, upload_bytes=size)

    async def set_native_id(self, job_id: str, native_id: str) -> None:
        """Keep what the executor calls the job."""
        await self._update(statements.UPDATE, job_id, native_id=native_id)

    async def record_end(self, job_id: str, outcome: Outcome) -> StoredJob | None:
        """Note the end of the command of a job whose phase has been settled before."""
        columns = outcome_columns(outcome)
        # When and why it ended was said when the phase was settled.
        for name in ("end_time", "error_message", "error_is_transient", "error_has_detail"):
            del columns[name]
        return await self._update(statements.UPDATE, job_id, handed_over=False, **columns)

    async def set_parameters(
        self,
        seen: StoredJob,
        pairs: Iterable[tuple[str, str]],
        uploads: Sequence[StoredUpload],
        room: Room = ANY,
    ) -> StoredJob | None:
        """Replace the parameters of a job, uploads among them.

        Returns
        -------
        StoredJob
            The job afterwards; None if it is not PENDING, or has others than ``seen`` has, or there is no
            room.
        """
        # Alone: of two who change different ones at the same time, one would lose what it was told is set.
        return await self._database.write(
            lambda connection: statements.replace_parameters(connection, seen, pairs, uploads, room),
            alone=f"quota of {seen.job.owner_id}",
        )

    async def set_execution_duration(self, job_id: str, seconds: int) -> StoredJob | None:
        """Set the limit of the execution time; None if the command was handed over or the job has ended."""
        return await self._update(statements.SET_DURATION, job_id, execution_duration=seconds)

    async def set_destruction(self, job_id: str, time: datetime) -> StoredJob | None:
        """Set the time of destruction; None if there is no such job, or no more than its record."""
        return await self._update(statements.SET_DESTRUCTION, job_id, destruction=time)

    async def mark_destroyed(self, job_id: str) -> StoredJob | None:
        """Hide a job for good; None if it is not in a final phase, or is not there.

        It has no time of destruction any more: that tells it from an archived one, which is still shown.
        """
        hidden = await self._update(statements.HIDE, job_id, **statements.HIDDEN)
        if hidden is not None:
            self._watch.publish(job_id, None)
        return hidden

    async def remove(self, job_id: str) -> None:
        """Forget a job altogether."""
        await self._database.write(
            lambda connection: connection.execute(statements.REMOVE, {"which": job_id})
        )

    async def note_cleaned(self, job_id: str) -> StoredJob | None:
        """Note that folder and command of an archived job are gone; None if it is none, or hidden since."""
        # Its command, if it still ran when its time came, has told the size of its results since.
        return await self._update(statements.CLEAN, job_id, destroyed=False, **statements.NOTHING_KEPT)

    # Reading: of several jobs, those are left out whose rows cannot be read

    async def find(self, job_id: str) -> StoredJob | None:
        """The job, unless it is gone for everybody."""
        stored = await self.find_any(job_id)
        return None if stored is None or stored.is_hidden else stored

    async def find_any(self, job_id: str) -> StoredJob | None:
        """The job, also if it is destroyed and only its row is left."""
        if "\0" in job_id:
            # No database has such a key; PostgreSQL would not even look for it.
            return None
        return await self._database.read(
            lambda connection: statements.read_job(connection.execute(statements.FIND, {"which": job_id}))
        )

    async def find_readable(self, job_id: str) -> StoredJob | None:
        """The same for those who can do without; None also if its row cannot be read, which is told of."""
        try:
            return await self.find_any(job_id)
        except UnreadableJobError as error:
            note_unreadable(error)
            return None

    async def find_known(self, job_ids: Sequence[str]) -> frozenset[str]:
        """Which of some jobs have a row, whoever may see them."""
        query = sa.select(jobs.c.job_id).where(jobs.c.job_id.in_(job_ids))
        return await self._database.read(lambda connection: frozenset(connection.scalars(query)))

    async def usage(self, owner_id: str | None) -> Usage:
        """What an owner has."""
        return await self._database.read(lambda connection: usage_of(connection, owner_id))

    async def count(self) -> Mapping[tuple[str, str], int]:
        """How many jobs there are of each payload in each phase, without those that nobody is told of."""
        return await self._database.read(
            lambda connection: {
                (row.payload, row.phase): row.number for row in connection.execute(statements.COUNT)
            }
        )

    async def list_queued(self) -> Sequence[StoredJob]:
        """The jobs that wait for an executor, in the order of their creation."""
        queued = jobs.c.phase == ExecutionPhase.QUEUED.value
        return await self._select(queued & jobs.c.handed_over.is_(False) & jobs.c.destroyed.is_(False))

    async def list_handed_over(self) -> Sequence[StoredJob]:
        """The jobs that this process handed over and whose commands may run, destroyed ones among them."""
        is_ours = jobs.c.instance == self._instance if self._instance != ALONE else sa.true()
        return await self._select(jobs.c.handed_over.is_(True) & is_ours)

    async def list_due(self, time: datetime) -> Sequence[StoredJob]:
        """The jobs whose time of destruction has come."""
        is_due = (jobs.c.destruction <= time) & jobs.c.destroyed.is_(False)
        return await self._select(is_due, jobs.c.destruction)

    async def list_removable(self) -> Sequence[StoredJob]:
        """The destroyed jobs whose commands have ended."""
        return await self._select(jobs.c.destroyed.is_(True) & jobs.c.handed_over.is_(False))

    async def next_destruction(self, after: datetime) -> datetime | None:
        """The earliest time of destruction there is after some time."""
        is_next = jobs.c.destroyed.is_(False) & (jobs.c.destruction > after)
        query = sa.select(sa.func.min(jobs.c.destruction)).where(is_next)
        time: datetime | Damaged | None = await self._database.read(lambda to: to.execute(query).scalar_one())
        # What cannot be read comes after all that can, or is no time to come.
        return None if isinstance(time, Damaged) else time

    # Helpers

    async def _update(
        self, statement: sa.Executable, job_id: str, *, alone: str = "", **values: Any
    ) -> StoredJob | None:
        """Execute an update of one job; ``values`` are those of columns and of the statement's conditions."""
        return await self._database.write(
            lambda connection: statements.read_job(
                connection.execute(statement, {"which": job_id, **values})
            ),
            alone=alone,
        )

    async def _select(
        self, condition: sa.ColumnElement[bool], order: sa.ColumnElement[Any] = jobs.c.job_id
    ) -> list[StoredJob]:
        query = sa.select(jobs).where(condition).order_by(order)
        return await self._database.read(lambda connection: jobs_from_rows(connection.execute(query)))
