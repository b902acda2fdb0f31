"""PostgreSQL: several processes may share one database."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from typing_extensions import override

from .database import Database, map_error
from .errors import StoreError, StoreUnavailableError

__all__ = ["PostgresqlDatabase", "connection_options"]

T = TypeVar("T")

_CONNECTIONS = 9
"""One of them hears the news."""

_CONNECT_TIMEOUT = 5
"""Longest wait for a connection to the server (s)."""

_STATEMENT_TIMEOUT = 10
"""Longest time that the server may work on a statement, waits for locks included (s)."""

_DEADLINE = 15.0
"""Longest time for a whole call, a connection for it included (s); the server may hang, or the network."""

_LONGEST_SILENCE = 10.0
"""Time without news after which the connection for it is tried (s)."""


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
        self._long_reading = asyncio.Lock()
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
                "options": _server_options(url),
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
            await asyncio.to_thread(database._upgrade, url, upgrade)
        except BaseException:
            await database.aclose()
            raise
        return database

    @override
    async def write(self, call: Callable[[sa.Connection], T], *, alone: str = "") -> T:
        if not alone:
            async with self._connection() as connection:
                return await connection.run_sync(call)
        async with self._connection() as connection:
            _ = await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
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
    async def read_parts(
        self, query: sa.Select[Any], take: Callable[[Sequence[sa.Row[Any]]], None], *, size: int
    ) -> None:
        limit, loop = asyncio.timeout(_DEADLINE), asyncio.get_running_loop()
        async with self._long_reading, self._connection(limit) as connection:
            # The server hands out a part at a time within a transaction only.
            _ = await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                result = await connection.stream(query, execution_options={"yield_per": size})
                try:
                    async for rows in result.partitions():
                        take(rows)
                        # Each part has its time: on a busy machine very many take longer than any call may.
                        limit.reschedule(loop.time() + _DEADLINE)
                finally:
                    # As a context manager it would not do that where there is an error.
                    await result.close()

    @override
    async def aclose(self) -> None:
        self._closed = True
        async with self._long_reading:
            await self._engine.dispose()

    async def listen(
        self,
        channel: str,
        *,
        on_ready: Callable[[], Awaitable[None]],
        on_news: Callable[[str], Awaitable[None]],
    ) -> None:
        """Hear what is notified, as long as the connection for it is there.

        Parameters
        ----------
        channel
            What to hear.
        on_ready
            Called as soon as all further news will be heard.
        on_news
            Called with each piece.

        Raises
        ------
        StoreUnavailableError
            If the connection is lost.
        """
        driver_error = self._engine.dialect.loaded_dbapi.Error
        try:
            async with self._engine.connect() as connection:
                # SQLAlchemy has no name for this.
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    async with asyncio.timeout(_DEADLINE):
                        await driver.execute(f"LISTEN {channel}")
                    await on_ready()
                    while True:
                        async for notice in driver.notifies(timeout=_LONGEST_SILENCE):
                            await on_news(notice.payload)
                        # A server that has vanished says nothing either.
                        async with asyncio.timeout(_DEADLINE):
                            await driver.execute("SELECT 1")
                finally:
                    await connection.invalidate()
        except (driver_error, SQLAlchemyError, TimeoutError) as error:
            said = (str(error).strip().splitlines() or ["no answer"])[0]
            raise StoreUnavailableError(f"database {self._name}: {type(error).__name__}: {said}") from error

    async def _read(self, call: Callable[[sa.Connection], T]) -> T:
        async with self._connection() as connection:
            return await connection.run_sync(call)

    def _upgrade(self, url: sa.URL, upgrade: Callable[[sa.Connection], object]) -> None:
        """Bring the tables up to date, in a thread; processes that start at the same time do it in turn."""
        engine = sa.create_engine(
            url, hide_parameters=True, connect_args={"connect_timeout": _CONNECT_TIMEOUT}
        )
        try:
            with engine.begin() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_key("upgrade"))))
                upgrade(connection)
        except SQLAlchemyError as error:
            raise map_error(self._name, error) from error
        finally:
            engine.dispose()

    @asynccontextmanager
    async def _connection(self, limit: asyncio.Timeout | None = None) -> AsyncIterator[AsyncConnection]:
        if self._closed:
            raise StoreError(f"database {self._name} is closed")
        try:
            async with limit or asyncio.timeout(_DEADLINE), self._engine.connect() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreUnavailableError(f"database {self._name}: no answer within {_DEADLINE:g} s") from error
        except SQLAlchemyError as error:
            raise map_error(self._name, error) from error


def _server_options(url: sa.URL) -> str:
    given = url.query.get("options", "")
    ours = f"-c statement_timeout={_STATEMENT_TIMEOUT}s"
    return " ".join((given,) if isinstance(given, str) else given) + f" {ours}"


def _lock_key(name: str) -> int:
    """The number of an advisory lock; the upper half tells ours from those of others."""
    return 0x4F435053 << 31 | zlib.crc32(name.encode()) >> 1
