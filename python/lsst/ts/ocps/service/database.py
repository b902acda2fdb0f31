"""The database: one thread writes, several read, and the event loop waits for none of them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from lsst.ts.ocps.aio.batches import BatchThread

from .errors import StoreError

__all__ = ["Database"]

T = TypeVar("T")

_READERS = 4
_TIMEOUT = 15
"""Longest wait for a connection, and for another process's lock (s)."""


class Database:
    """An SQLite database; made by `open`.

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
        self._reader = _make_engine(path, connections=_READERS)
        self._closed = False
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database:read")
        self._thread: BatchThread[sa.Connection] = BatchThread(
            "database:write",
            self._transact,
            finish=self._writer.dispose,
            make_closed_error=self._make_closed_error,
        )

    @classmethod
    async def open(cls, path: Path, metadata: sa.MetaData) -> Self:
        """Open the database in a file, and make it and its tables if need be.

        Raises
        ------
        StoreError
            If it cannot be used.
        """
        database = cls(path)
        try:
            await database.write(metadata.create_all)
        except StoreError:
            await database.aclose()
            raise
        return database

    async def write(self, call: Callable[[sa.Connection], T]) -> T:
        """Change something; returns when the change is on the disk.

        Parameters
        ----------
        call
            Executes one statement, so that the change happens whole or not at all; runs in a thread.

        Raises
        ------
        StoreError
            If the database fails.
        """
        return await self._thread.submit(call)

    async def read(self, call: Callable[[sa.Connection], T]) -> T:
        """Read something.

        Parameters
        ----------
        call
            Reads; runs in a thread.

        Raises
        ------
        StoreError
            If the database fails.
        """
        if self._closed:
            raise self._make_closed_error()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    async def aclose(self) -> None:
        """Finish what was asked for, and close the connections."""
        self._closed = True
        await self._thread.aclose()
        await asyncio.to_thread(self._readers.shutdown)
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
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            outcomes = [self._run(call, connection) for call in calls]
            connection.exec_driver_sql("COMMIT")
        except SQLAlchemyError:
            # Some errors end the transaction by themselves.
            if connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("ROLLBACK")
            raise
        return outcomes

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
        return StoreError(f"database {self._path}: {error}")


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
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # What was answered must survive a power failure.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
