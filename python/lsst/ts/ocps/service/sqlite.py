"""SQLite: one thread writes, several read, and the event loop waits for none of them."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from typing_extensions import override

from lsst.ts.ocps.aio.batches import BatchThread

from .database import Database, map_error
from .errors import StoreError

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

_READERS = 4
_TIMEOUT = 15
"""Longest wait for a connection, and for another process's lock (s)."""


class SqliteDatabase(Database):
    """An SQLite database, of one process; made by `open`.

    SQLite has one writer at a time, and waiting for its lock is slower than waiting for a turn here. So all
    writes are done in one thread, in the order in which they were asked for, and those that have come
    meanwhile become one transaction: the disk is waited for once for all of them. Several threads read
    meanwhile (WAL). A whole statement takes one change of threads; an asynchronous driver changes threads
    for each step of it, which costs more than the statement.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _make_engine(path, connections=1)
        # One more, with a thread of its own, for what takes long.
        self._reader = _make_engine(path, connections=_READERS + 1)
        self._long_reader = ThreadPoolExecutor(1, thread_name_prefix="database:long")
        self._long_reading = asyncio.Lock()
        self._closed = False
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database:read")
        self._thread: BatchThread[sa.Connection] = BatchThread(
            "database:write",
            self._transact,
            finish=self._writer.dispose,
            make_closed_error=self._make_closed_error,
        )

    @classmethod
    async def open(cls, path: Path, upgrade: Callable[[sa.Connection], object]) -> Self:
        """Open the database in a file, and make it if need be.

        Parameters
        ----------
        path
            The file.
        upgrade
            Makes the tables, or brings them up to date.

        Raises
        ------
        StoreError
            If it cannot be used.
        """
        database = cls(path)
        try:
            await database.write(upgrade, alone="upgrade")
        except BaseException:
            await database.aclose()
            raise
        return database

    @override
    async def write(self, call: Callable[[sa.Connection], T], *, alone: str = "") -> T:
        return await self._thread.submit(_wholly(call) if alone else call)

    @override
    async def read(self, call: Callable[[sa.Connection], T]) -> T:
        if self._closed:
            raise self._make_closed_error()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    @override
    async def read_parts(
        self, query: sa.Select[Any], take: Callable[[Sequence[sa.Row[Any]]], None], *, size: int
    ) -> None:
        run = partial(asyncio.get_running_loop().run_in_executor, self._long_reader)
        async with self._long_reading:
            if self._closed:
                raise self._make_closed_error()
            parts = self._read_parts(query, size)
            try:
                while rows := await run(next, parts, ()):
                    take(rows)
            finally:
                # After what the thread may be doing yet; whoever is cancelled does not wait for it.
                _ = self._long_reader.submit(parts.close)

    @override
    async def aclose(self) -> None:
        self._closed = True
        await self._thread.aclose()
        await asyncio.to_thread(self._readers.shutdown)
        async with self._long_reading:
            await asyncio.to_thread(self._long_reader.shutdown)
        self._reader.dispose()

    def _make_closed_error(self) -> StoreError:
        return StoreError(f"database {self._path} is closed")

    # What follows runs in threads.

    def _read(self, call: Callable[[sa.Connection], T]) -> T:
        try:
            with self._reader.connect() as connection:
                return call(connection)
        except SQLAlchemyError as error:
            raise self._map(error) from error

    def _read_parts(self, query: sa.Select[Any], size: int) -> Generator[Sequence[sa.Row[Any]], None, None]:
        try:
            with self._reader.connect() as connection:
                yield from connection.execute(query).partitions(size)
        except SQLAlchemyError as error:
            raise self._map(error) from error

    def _transact(self, calls: Sequence[Callable[[sa.Connection], Any]]) -> Sequence[object]:
        try:
            with self._writer.connect() as connection:
                if len(calls) == 1:
                    return [calls[0](connection)]
                return self._transact_together(connection, calls)
        except SQLAlchemyError as error:
            mapped = self._map(error)
            mapped.__cause__ = error
            return [mapped] * len(calls)

    def _transact_together(
        self, connection: sa.Connection, calls: Sequence[Callable[[sa.Connection], Any]]
    ) -> Sequence[object]:
        with _transaction(connection):
            return [self._run(call, connection) for call in calls]

    def _run(self, call: Callable[[sa.Connection], Any], connection: sa.Connection) -> object:
        """Do one of several changes; a row that does not fit concerns nobody else, a failing disk all."""
        try:
            return call(connection)
        except IntegrityError as error:
            return self._map(error)
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 (it is raised where the change is awaited)
            return error

    def _map(self, error: SQLAlchemyError) -> StoreError:
        return map_error(str(self._path), error)


def _wholly(call: Callable[[sa.Connection], T]) -> Callable[[sa.Connection], T]:
    """The same as one transaction; others cannot come between, for there is one writing thread."""

    def run(connection: sa.Connection) -> T:
        if _is_in_transaction(connection):
            return call(connection)
        with _transaction(connection):
            return call(connection)

    return run


@contextmanager
def _transaction(connection: sa.Connection) -> Iterator[None]:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except Exception:
        # Some errors end the transaction by themselves.
        if _is_in_transaction(connection):
            connection.exec_driver_sql("ROLLBACK")
        raise


def _is_in_transaction(connection: sa.Connection) -> bool:
    driver: Any = connection.connection.dbapi_connection
    return bool(driver.in_transaction)


def _make_engine(path: Path, *, connections: int) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        # Values of parameters may be secrets; errors are logged.
        hide_parameters=True,
        # A connection is used by one thread at a time, but not always by the same.
        connect_args={"timeout": _TIMEOUT, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_TIMEOUT,
        # Nothing is ever left open that would have to be rolled back.
        pool_reset_on_return=None,
    )
    sa.event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # A text that is damaged is the damage of its row: as an error, it would be one of the database.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # What was answered must survive a power failure.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
