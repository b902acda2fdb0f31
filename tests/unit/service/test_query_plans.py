"""Lists of a few jobs among a hundred thousand: SQLite goes to them by an index, and sorts nothing."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from lsst.ts.ocps.service.listing import JobFilter, list_query
from lsst.ts.ocps.service.owners import Caller
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.phases import ExecutionPhase as P

pytestmark = pytest.mark.asyncio

EVERYBODY = Caller(None, sees_all=True)
EXECUTING = frozenset({P.EXECUTING})


def explain(path: Path, text: str, parameters: Any = ()) -> str:
    connection = sqlite3.connect(path)
    try:
        return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("wanted", "caller", "index"),
    [
        (JobFilter("p", last=100), EVERYBODY, "jobs_by_payload "),
        (JobFilter(last=100), EVERYBODY, "jobs_by_time"),
        (JobFilter("p", EXECUTING), EVERYBODY, "jobs_by_payload_and_phase"),
        (JobFilter("p", frozenset({P.ARCHIVED}), last=10), EVERYBODY, "jobs_by_payload_and_phase"),
        (JobFilter(None, EXECUTING), EVERYBODY, "jobs_by_phase"),
        (JobFilter("p", after=now()), EVERYBODY, "jobs_by_payload "),
        (JobFilter("p", last=100), Caller("somebody"), "jobs_by_owner "),
    ],
)
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
        await store.next_destruction()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        await store.aclose()
    plans = [explain(tmp_path / "jobs.sqlite", *each) for each in asked]
    indexes = ["jobs_by_phase", "jobs_handed_over", "jobs_destroyed", "jobs_by_destruction", "jobs_by_destr"]
    for plan, index in zip(plans, indexes, strict=True):
        assert f"USING INDEX {index}" in plan
