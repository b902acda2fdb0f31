"""The processes that share a database and a data directory: who they are, and which of them live.

A process is known by a lock on a file ``instances/NAME.lock`` of the data directory, which the kernel lets go
when it dies, whatever way; and by a row in the database that it prolongs as long as it lives. The row tells
when to look, the lock tells the truth: a process that hangs keeps its jobs. The name begins with that of the
host, since nobody can see the commands of another host.
"""

import asyncio
import fcntl
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .database import Database
from .errors import ServiceStartError
from .rows import jobs_from_rows
from .schema import StoredJob, instances, jobs

__all__ = ["InstanceTable", "alone_in", "host_name", "own_name", "try_lock"]

_LONGEST_HOST = 40
"""PostgreSQL cuts names of its clients after 63 bytes."""

_FORGOTTEN = 86_400.0
"""A process without jobs that has been dead so long is forgotten (s)."""

# By the clock of the database: those of several hosts differ.
_TIME = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger)


def host_name() -> str:
    """The name of this host, made of letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:_LONGEST_HOST] or "host"


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Have a data directory for oneself: two services with databases of their own would run its jobs twice.

    Raises
    ------
    ServiceStartError
        If another service uses it, or it cannot be written.
    """
    with _service_lock(directory, fcntl.LOCK_EX):
        yield


@contextmanager
def own_name(directory: Path) -> Iterator[str]:
    """Be one of the processes that share a data directory and a PostgreSQL database.

    Yields
    ------
    str
        The name of this process: that of a dead one of this host, whose jobs it inherits, or a new one.

    Raises
    ------
    ServiceStartError
        If a service with an SQLite database uses the directory, or it cannot be written.
    """
    host = host_name()
    with _service_lock(directory, fcntl.LOCK_SH):
        try:
            names = directory / "instances"
            names.mkdir(exist_ok=True)
            known = sorted(path.stem for path in names.glob(f"{host}_*.lock"))
            for name in (*known, f"{host}_{secrets.token_hex(6)}"):
                lock = os.open(_lock_path(directory, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                if _lock(lock, fcntl.LOCK_EX):
                    break
                os.close(lock)
            else:
                raise ServiceStartError(f"no name is free in {names}")
        except OSError as error:
            raise ServiceStartError(f"the data directory {directory} cannot be written: {error}") from error
        try:
            yield name
        finally:
            os.close(lock)


@asynccontextmanager
async def try_lock(directory: Path, name: str, *, of_any_host: bool = False) -> AsyncIterator[bool]:
    """Hold the lock of a dead process; gives whether it is dead, and of this host and data directory."""
    lock = await asyncio.to_thread(_take_over_lock, directory, name, of_any_host=of_any_host)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _take_over_lock(directory: Path, name: str, *, of_any_host: bool) -> int | None:
    if not of_any_host and name.rpartition("_")[0] != host_name():
        return None
    try:
        lock = os.open(_lock_path(directory, name), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if _lock(lock, fcntl.LOCK_EX):
        return lock
    os.close(lock)
    return None


@contextmanager
def _service_lock(directory: Path, kind: int) -> Iterator[None]:
    try:
        lock = os.open(directory / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ServiceStartError(f"the data directory {directory} cannot be written: {error}") from error
    try:
        if not _lock(lock, kind):
            raise ServiceStartError(f"the data directory {directory} is used by another service")
        yield
    finally:
        os.close(lock)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_path(directory: Path, name: str) -> Path:
    return directory / "instances" / f"{name}.lock"


class InstanceTable:
    """The rows of the processes in a PostgreSQL database.

    Parameters
    ----------
    database
        The database.
    name
        The name of this process.
    lease
        How long a row says that its process lives (s).
    """

    def __init__(self, database: Database, *, name: str, lease: float) -> None:
        self._database = database
        self._name = name
        self._lease = lease

    async def prolong(self) -> None:
        """Say that this process lives."""
        await self._say(self._lease)

    async def leave(self) -> None:
        """Say that this process ends, so that nobody waits for the end of its lease."""
        await self._say(0)

    async def _say(self, seconds: float) -> None:
        until = _TIME + round(seconds * 1000)
        row = {"instance": self._name, "host": host_name(), "alive_until": until}
        statement = insert(instances).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=[instances.c.instance], set_={"alive_until": until}
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def list_abandoned(self) -> Sequence[str]:
        """The processes that handed over commands which may run, and do not say that they live."""
        lives = sa.exists().where(instances.c.instance == jobs.c.instance, instances.c.alive_until > _TIME)
        query = (
            sa.select(jobs.c.instance)
            .distinct()
            .where(jobs.c.handed_over.is_(True), jobs.c.instance != self._name, ~lives)
            .order_by(jobs.c.instance)
        )
        return await self._database.read(lambda connection: connection.execute(query).scalars().all())

    async def list_gone(self, name: str, seconds: float) -> Sequence[StoredJob]:
        """The jobs of a process that has given no sign of life for so long (s)."""
        is_gone = sa.exists().where(
            instances.c.instance == name, instances.c.alive_until < _TIME - round(seconds * 1000)
        )
        return await self._select(jobs.c.handed_over.is_(True), jobs.c.instance == name, is_gone)

    async def list_given_up(self) -> Sequence[StoredJob]:
        """The jobs of this process that others have ended as abandoned since its last sign of life.

        Before the first one of this life.
        """
        last = sa.select(instances.c.alive_until).where(instances.c.instance == self._name)
        return await self._select(
            jobs.c.instance == self._name,
            jobs.c.handed_over.is_(False),
            jobs.c.destroyed.is_(False),
            jobs.c.phase == ExecutionPhase.ERROR.value,
            sa.type_coerce(jobs.c.end_time, sa.BigInteger) > last.scalar_subquery(),
        )

    async def _select(self, *conditions: sa.ColumnElement[bool]) -> Sequence[StoredJob]:
        query = sa.select(jobs).where(*conditions).order_by(jobs.c.job_id)
        return await self._database.read(lambda connection: jobs_from_rows(connection.execute(query)))

    async def adopt(self, name: str) -> Sequence[StoredJob]:
        """Take over the jobs of a dead process; the caller holds its lock."""
        statement = (
            sa.update(jobs)
            .where(jobs.c.handed_over.is_(True), jobs.c.instance == name)
            .values(instance=self._name)
            .returning(jobs)
        )
        return await self._database.write(lambda connection: jobs_from_rows(connection.execute(statement)))

    async def forget_dead(self) -> None:
        """Remove the rows of processes that have been dead for long, and have left nothing."""
        left = sa.exists().where(jobs.c.instance == instances.c.instance, jobs.c.handed_over.is_(True))
        is_old = instances.c.alive_until < _TIME - round(_FORGOTTEN * 1000)
        statement = sa.delete(instances).where(is_old, ~left)
        await self._database.write(lambda connection: connection.execute(statement))
