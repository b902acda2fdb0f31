"""PostgreSQL: several processes may share one database."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from typing_extensions import override

from .database import Database, map_error
from .errors import StoreError, StoreUnavailableError

__all__ = ["PostgresqlDatabase", "connection_options"]

T = TypeVar("T")

_CONNECTIONS = 8
_CONNECT_TIMEOUT = 5
"""Longest wait for a connection to the server (s)."""

_STATEMENT_TIMEOUT = 10
"""Longest time that the server may work on a statement, waits for locks included (s)."""

_DEADLINE = 15.0
"""Longest time for a whole call, a connection for it included (s); the server may hang, or the network."""

_UPGRADE_DEADLINE = 600.0
"""The same for what is done alone: another process may be changing tables of many jobs (s)."""


def connection_options(instance: str) -> dict[str, object]:
    """What every connection to the server is made with.

    Parameters
    ----------
    instance
        Which process asks; the news of its changes bear this name.
    """
    return {
        "connect_timeout": _CONNECT_TIMEOUT,
        "application_name": instance,
        # A server whose machine has vanished is noticed.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


class PostgresqlDatabase(Database):
    """A PostgreSQL database; made by `open`.

    Parameters
    ----------
    url
        Where it is.
    instance
        Which process asks.
    """

    def __init__(self, url: sa.URL, *, instance: str) -> None:
        self._name = url.render_as_string(hide_password=True)
        self._closed = False
        self._engine: AsyncEngine = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            # Values of parameters may be secrets; errors are logged.
            hide_parameters=True,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_DEADLINE,
            connect_args={
                **connection_options(instance),
                "options": f"-c statement_timeout={_STATEMENT_TIMEOUT}s -c timezone=UTC",
            },
        )

    @classmethod
    async def open(cls, url: sa.URL, upgrade: Callable[[sa.Connection], object], *, instance: str) -> Self:
        """Open the database at a URL.

        Parameters
        ----------
        url
            Where it is; the database must exist.
        upgrade
            Makes the tables, or brings them up to date.
        instance
            Which process asks.

        Raises
        ------
        StoreError
            If it cannot be used.
        """
        try:
            database = cls(url, instance=instance)
        except ModuleNotFoundError as error:
            raise StoreError(f"PostgreSQL needs the extra postgresql of this package: {error}") from error
        try:
            await database.write(upgrade, alone="upgrade")
        except BaseException:
            await database.aclose()
            raise
        return database

    @override
    async def write(self, call: Callable[[sa.Connection], T], *, alone: str = "") -> T:
        if not alone:
            async with self._connection() as connection:
                return await connection.run_sync(call)
        is_upgrade = alone == "upgrade"
        async with self._connection(_UPGRADE_DEADLINE if is_upgrade else _DEADLINE) as connection:
            _ = await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                if is_upgrade:
                    await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_key(alone))))
                return await connection.run_sync(call)

    @override
    async def read(self, call: Callable[[sa.Connection], T]) -> T:
        try:
            return await self._read(call)
        except StoreUnavailableError as error:
            # The first to use a connection after a restart of the server is told of its end.
            cause = error.__cause__
            if not (isinstance(cause, DBAPIError) and cause.connection_invalidated):
                raise
            return await self._read(call)

    @override
    async def aclose(self) -> None:
        self._closed = True
        await self._engine.dispose()

    async def _read(self, call: Callable[[sa.Connection], T]) -> T:
        async with self._connection() as connection:
            return await connection.run_sync(call)

    @asynccontextmanager
    async def _connection(self, deadline: float = _DEADLINE) -> AsyncIterator[AsyncConnection]:
        if self._closed:
            raise StoreError(f"database {self._name} is closed")
        try:
            async with asyncio.timeout(deadline), self._engine.connect() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreUnavailableError(f"database {self._name}: no answer within {deadline:g} s") from error
        except SQLAlchemyError as error:
            raise map_error(self._name, error) from error


def _lock_key(name: str) -> int:
    """The number of an advisory lock; the upper half tells ours from those of others."""
    return 0x4F435053 << 31 | zlib.crc32(name.encode()) >> 1
