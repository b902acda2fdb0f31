"""Lists of a few jobs among very many: the database goes to them by an index, and sorts nothing."""

import re
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.listing import JobFilter, list_query
from lsst.ts.ocps.service.owners import Caller
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.phases import ExecutionPhase as P
from support.postgresql import PostgresqlCluster

pytestmark = pytest.mark.asyncio

EVERYBODY = Caller(None, sees_all=True)
EXECUTING = frozenset({P.EXECUTING})

LISTS = [
    (JobFilter("p", last=100), EVERYBODY, "jobs_by_payload "),
    (JobFilter(last=100), EVERYBODY, "jobs_by_time"),
    (JobFilter("p", EXECUTING), EVERYBODY, "jobs_by_payload_and_phase"),
    (JobFilter("p", frozenset({P.ARCHIVED}), last=10), EVERYBODY, "jobs_by_payload_and_phase"),
    (JobFilter(None, EXECUTING), EVERYBODY, "jobs_by_phase"),
    (JobFilter("p", after=now()), EVERYBODY, "jobs_by_payload "),
    (JobFilter("p", last=100), Caller("somebody"), "jobs_by_owner "),
]
"""What is wanted, by whom, and the index that leads to it."""

FILL = """
    INSERT INTO jobs (job_id, payload, owner_id, phase, creation_time, execution_duration, parameters,
        results, error_is_transient, error_has_detail, executor, outputs, handed_over, destroyed, uploads,
        upload_bytes, stored_bytes)
    SELECT number::text, CASE WHEN number % 10 = 0 THEN 'p' ELSE 'other' END,
        CASE WHEN number % 7 = 0 THEN 'somebody' END,
        CASE WHEN number % 1000 = 0 THEN 'EXECUTING' ELSE 'COMPLETED' END, number, 0, '[]', '[]',
        false, false, 'local', 'out', number % 1000 = 0, false, '[]', 0, 0
    FROM generate_series(1, 20000) AS number
"""


def explain(path: Path, text: str, parameters: Any = ()) -> str:
    connection = sqlite3.connect(path)
    try:
        return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters))
    finally:
        connection.close()


@pytest.mark.parametrize(("wanted", "caller", "index"), LISTS)
async def test_a_list_takes_the_index_that_fits(
    tmp_path: Path, wanted: JobFilter, caller: Caller, index: str
) -> None:
    store = await Store.open(tmp_path / "jobs.sqlite", PhaseWatch())
    await store.aclose()
    query = list_query(wanted, caller).compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    plan = explain(tmp_path / "jobs.sqlite", str(query))
    assert f"USING INDEX {index}" in f"{plan} "
    assert "TEMP B-TREE" not in plan


async def test_what_the_service_looks_for_by_itself_is_found_by_an_index(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "jobs.sqlite", PhaseWatch())
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        await store.list_queued()
        await store.list_handed_over()
        await store.list_removable()
        await store.list_due(now() + timedelta(days=1))
        await store.next_destruction(now())
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        await store.aclose()
    plans = [explain(tmp_path / "jobs.sqlite", *each) for each in asked]
    indexes = ["jobs_by_phase", "jobs_handed_over", "jobs_destroyed", "jobs_by_destruction", "jobs_by_destr"]
    for plan, index in zip(plans, indexes, strict=True):
        assert f"USING INDEX {index}" in plan


@pytest_asyncio.fixture
async def filled(postgresql_cluster: PostgresqlCluster, postgresql_database: str) -> str:
    """The name of a database of PostgreSQL with very many jobs."""
    store = await Store.open(read_database_url(SecretStr(postgresql_database)), PhaseWatch())
    await store.aclose()
    name = postgresql_database.rpartition("/")[2]
    for statement in (FILL, "ANALYZE jobs"):
        postgresql_cluster.execute(statement, database=name)
    return name


@pytest.mark.system
@pytest.mark.xdist_group("postgresql")
async def test_postgresql_reads_hardly_more_than_it_lists(
    postgresql_cluster: PostgresqlCluster, filled: str
) -> None:
    for wanted, caller, index in LISTS:
        query = list_query(wanted, caller).compile(
            dialect=psycopg.dialect(),  # type: ignore[no-untyped-call]
            compile_kwargs={"literal_binds": True},
        )
        rows = postgresql_cluster.execute(f"EXPLAIN (ANALYZE) {query}", database=filled)
        plan = "\n".join(line for (line,) in rows)
        # Which one it takes depends on how many jobs there are of each kind, too.
        assert "using jobs_by_" in plan, (index, plan)
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan, plan
        assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", plan))) < 1000, plan
