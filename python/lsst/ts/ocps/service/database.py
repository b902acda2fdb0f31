"""How the database is opened."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["open_engines"]

_READERS = 4
_TIMEOUT = 15
"""Longest wait for a connection, and for another process's lock (s)."""


def open_engines(path: Path) -> tuple[AsyncEngine, AsyncEngine]:
    """Make the engines for writing and for reading an SQLite database.

    One connection writes, because SQLite has one writer at a time and waiting for a lock inside it is
    slower than waiting for a turn here; several read meanwhile (WAL).

    Parameters
    ----------
    path
        The file.
    """
    return _engine(path, connections=1), _engine(path, connections=_READERS)


def _engine(path: Path, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        # Values of parameters may be secrets; errors are logged.
        hide_parameters=True,
        connect_args={"timeout": _TIMEOUT},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_TIMEOUT,
        # Nothing is ever left open that would have to be rolled back.
        pool_reset_on_return=None,
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # What was answered must survive a power failure.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
