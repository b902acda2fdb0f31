"""Changes that are made at the same time: one transaction, and each has its own outcome."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from lsst.ts.ocps.service.database import Database
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.sqlite import SqliteDatabase

METADATA = sa.MetaData()
THINGS = sa.Table("things", METADATA, sa.Column("name", sa.String, primary_key=True))


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "things.sqlite", METADATA.create_all)
    try:
        yield database
    finally:
        await database.aclose()


def adding(name: str) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(sa.insert(THINGS), {"name": name})


async def list_names(database: Database) -> list[str]:
    query = sa.select(THINGS.c.name).order_by(THINGS.c.name)
    return await database.read(lambda connection: list(connection.execute(query).scalars()))


async def do_together(database: Database, *calls: Callable[[sa.Connection], object]) -> list[object]:
    """Do calls that the writing thread finds waiting all at once."""
    is_busy, may_go = threading.Event(), threading.Event()

    def hold_up(_connection: sa.Connection) -> None:
        is_busy.set()
        assert may_go.wait(30)

    held = asyncio.ensure_future(database.write(hold_up))
    assert await asyncio.to_thread(is_busy.wait, 30)
    waiting = [asyncio.ensure_future(database.write(call)) for call in calls]
    await asyncio.sleep(0)
    may_go.set()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.asyncio
async def test_changes_that_wait_at_the_same_time_become_one_transaction(tmp_path: Path) -> None:
    def is_in_transaction(connection: sa.Connection) -> bool:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver.in_transaction

    async with opened(tmp_path) as database:
        together = await do_together(database, adding("a"), is_in_transaction, adding("b"))
        assert together[1] is True
        assert await database.write(is_in_transaction) is False
        assert await list_names(database) == ["a", "b"]


@pytest.mark.asyncio
async def test_a_row_that_does_not_fit_concerns_nobody_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        outcomes = await do_together(database, adding("a"), adding("a"), adding("b"))
        assert isinstance(outcomes[1], StoreError)
        assert not any(isinstance(outcomes[number], Exception) for number in (0, 2))
        assert await list_names(database) == ["a", "b"]


@pytest.mark.asyncio
async def test_an_error_of_our_own_concerns_nobody_else(tmp_path: Path) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise ValueError("ours")

    async with opened(tmp_path) as database:
        outcomes = await do_together(database, adding("a"), fail)
        assert isinstance(outcomes[1], ValueError)
        with pytest.raises(ValueError, match="ours"):
            await database.write(fail)
        assert await list_names(database) == ["a"]


@pytest.mark.asyncio
async def test_where_the_database_fails_nothing_of_the_transaction_counts(tmp_path: Path) -> None:
    def fail(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO absent VALUES (1)")

    async with opened(tmp_path) as database:
        outcomes = await do_together(database, adding("a"), fail, adding("b"))
        assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True] * 3
        assert "things.sqlite" in str(outcomes[0])
        assert await list_names(database) == []
        await database.write(adding("c"))
        assert await list_names(database) == ["c"]


@pytest.mark.asyncio
async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.aclose()
        with pytest.raises(StoreError, match="closed"):
            await database.write(adding("a"))
        with pytest.raises(StoreError, match="closed"):
            await list_names(database)
