"""Tables of earlier versions become those of this one, and ``schema.py`` says what those are."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr

from lsst.ts.ocps.service import migrations
from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.database import Database
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.listing import JobFilter, list_jobs
from lsst.ts.ocps.service.postgresql import PostgresqlDatabase
from lsst.ts.ocps.service.schema import metadata
from lsst.ts.ocps.service.sqlite import SqliteDatabase
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.phases import ExecutionPhase

pytestmark = pytest.mark.asyncio

# The table as it was made before there were migrations, and a job in it.
_BEFORE = """
CREATE TABLE jobs (
    job_id VARCHAR(32) NOT NULL, payload VARCHAR(63) NOT NULL, run_id VARCHAR(64), owner_id VARCHAR(128),
    phase VARCHAR(16) NOT NULL, creation_time BIGINT NOT NULL, start_time BIGINT, end_time BIGINT,
    destruction BIGINT, execution_duration INTEGER NOT NULL, parameters JSON NOT NULL, results JSON NOT NULL,
    error_message TEXT, error_is_transient BOOLEAN NOT NULL, error_has_detail BOOLEAN NOT NULL,
    exit_code INTEGER, executor VARCHAR(32) NOT NULL, outputs TEXT NOT NULL, native_id TEXT,
    handed_over BOOLEAN NOT NULL, destroyed BOOLEAN NOT NULL, PRIMARY KEY (job_id)
);
CREATE INDEX jobs_by_destroyed ON jobs (destroyed);
CREATE INDEX jobs_by_destruction ON jobs (destruction);
CREATE INDEX jobs_by_handed_over ON jobs (handed_over);
CREATE INDEX jobs_by_payload ON jobs (payload, creation_time, job_id);
CREATE INDEX jobs_by_phase ON jobs (phase);
CREATE INDEX jobs_by_time ON jobs (creation_time, job_id);
INSERT INTO jobs VALUES ('1a', 'p', 'r', NULL, 'QUEUED', 1000, NULL, NULL, 2000, 60, '[["a", "1"]]', '[]',
    NULL, 0, 0, NULL, 'local', 'out', NULL, 0, 0);
"""


def make_old_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(_BEFORE)
    connection.close()


def find_differences(connection: sa.Connection) -> list[Any]:
    """What the tables have that ``schema.py`` does not tell, and the other way round, but for comments."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found = compare_metadata(context, metadata)
    flat = [part for entry in found for part in (entry if isinstance(entry, list) else [entry])]
    return [difference for difference in flat if difference[0] != "modify_comment"]


async def open_database(each_database: dict[str, str], directory: Path) -> Database:
    if url := each_database.get("database_url"):
        place = read_database_url(SecretStr(url))
        return await PostgresqlDatabase.open(place, migrations.upgrade, instance="test")
    return await SqliteDatabase.open(directory / "jobs.sqlite", migrations.upgrade)


async def test_migrations_make_the_tables_that_the_schema_tells(
    each_database: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(2):
        database = await open_database(each_database, tmp_path)
        try:
            assert await database.read(find_differences) == []
        finally:
            await database.aclose()


async def test_a_database_from_before_migrations_is_taken_over_with_its_jobs(tmp_path: Path) -> None:
    make_old_database(tmp_path / "jobs.sqlite")
    store = await Store.open(tmp_path / "jobs.sqlite", PhaseWatch())
    try:
        ((listed,),) = await list_jobs(store.database, JobFilter(), list)
        assert listed.ref.phase is ExecutionPhase.QUEUED
        claimed = await store.claim("1a")
        assert claimed is not None
        assert claimed.pairs == (("a", "1"),)
    finally:
        await store.aclose()
    database = await open_database({}, tmp_path)
    try:
        assert await database.read(find_differences) == []
    finally:
        await database.aclose()


async def test_a_migration_that_fails_half_way_leaves_the_tables_as_they_were(
    each_database: dict[str, str], tmp_path: Path
) -> None:
    def fail(connection: sa.Connection) -> None:
        migrations.upgrade(connection)
        raise ValueError("half way")

    place = read_database_url(SecretStr(url)) if (url := each_database.get("database_url")) else None
    opening = (
        PostgresqlDatabase.open(place, fail, instance="test")
        if place is not None
        else SqliteDatabase.open(tmp_path / "jobs.sqlite", fail)
    )
    with pytest.raises(ValueError, match="half way"):
        await opening
    if place is None:
        connection = sqlite3.connect(tmp_path / "jobs.sqlite")
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
        connection.close()
    database = await open_database(each_database, tmp_path)
    try:
        assert await database.read(find_differences) == []
    finally:
        await database.aclose()


async def test_tables_of_a_later_version_are_left_alone(
    each_database: dict[str, str], tmp_path: Path
) -> None:
    database = await open_database(each_database, tmp_path)
    later = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(later))
    await database.aclose()
    with pytest.raises(StoreError, match="later"):
        await open_database(each_database, tmp_path)


async def test_migrations_are_found_below_a_folder_with_special_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(migrations.__file__).parent
    folder = tmp_path / "100%(here)s of it"
    shutil.copytree(source, folder)
    monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
    database = await open_database({}, tmp_path)
    await database.aclose()
