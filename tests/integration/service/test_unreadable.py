"""One damaged row in the database: it is told of by its job id, and concerns no other job."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from lsst.ts.ocps.executors.testing import FakeCluster
from lsst.ts.ocps.service import listing
from lsst.ts.ocps.service.errors import UnreadableJobError
from lsst.ts.ocps.service.forms import Form
from lsst.ts.ocps.service.instances import InstanceTable
from lsst.ts.ocps.service.owners import Caller
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.postgresql import ON_POSTGRESQL
from support.processes import until
from support.service_process import FakeService, create_running, expire, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

TORN = """'[["text", "Sec'"""
"""The beginning of a list; SQLite keeps what it is given."""

OTHER = """'{"text": "x"}'"""
"""No list; PostgreSQL takes no JSON that is torn."""

# Within what a column takes, and far outside of what is a time.
DAMAGES = {"parameters": TORN, "results": OTHER, "uploads": "'[[1, 2, 3, 4, 5]]'", "phase": "'NONSENSE'"}
DAMAGES |= {"creation_time": "9000000000000000000"}


class Table:
    """The rows of jobs, as somebody with another program sees them."""

    def __init__(self, fake: FakeService) -> None:
        self._url = fake.config.database_url
        self._path = fake.config.data_directory / "jobs.sqlite"

    def execute(self, statement: str) -> Any:
        if self._url is not None:
            with psycopg.connect(self._url.get_secret_value(), autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchone() if cursor.description else None
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=20)) as file:
            return file.execute(statement).fetchone()

    def damage(self, path: str, column: str = "parameters") -> Callable[[], None]:
        """Make a row unreadable; what makes it whole again."""
        is_there = f"WHERE job_id = '{id_of(path)}'"
        value = DAMAGES[column]
        if value is TORN and self._url is not None:
            value = OTHER
        (before,) = self.execute(f"SELECT CAST({column} AS TEXT) FROM jobs {is_there}")  # noqa: S608 (ours)
        self.execute(f"UPDATE jobs SET {column} = {value} {is_there}")  # noqa: S608
        kind = "BIGINT" if column.endswith("_time") else "JSON" if value[1] in "[{" else "TEXT"
        if self._url is None and kind == "JSON":
            kind = "TEXT"
        repair = f"UPDATE jobs SET {column} = CAST('{before}' AS {kind}) {is_there}"  # noqa: S608
        return lambda: self.execute(repair)


@asynccontextmanager
async def service(directory: Path, database: Mapping[str, str], **values: Any) -> AsyncIterator[FakeService]:
    async with fake_service(directory, **(dict(database) | values)) as fake:
        yield fake
        assert not fake.context.failure.done()


def told_of(records: list[Any], path: str) -> list[str]:
    return [record["reason"] for record in records if record.get("job_id") == id_of(path)]


async def test_it_is_in_no_list_and_told_of_once_and_its_reader_is_told_so(fake: FakeService) -> None:
    good = await fake.calls.create("work", text="Secret")
    for column in DAMAGES:
        bad = await fake.calls.create("work", text="Secret")
        with capture_logs() as records:
            Table(fake).damage(bad, column)
            for _ in range(2):
                whole = (await fake.calls.http.get("/api/v1/job")).json()
                assert [job["jobId"] for job in whole] == [id_of(good)]
                for answer in (
                    await fake.calls.http.get(bad),
                    await fake.calls.post(f"{bad}/phase", PHASE="RUN"),
                    await fake.calls.http.delete(bad),
                ):
                    assert answer.status_code == 500
                    assert answer.text.startswith("Error: what the service has of this job cannot be read")
            # What a list does not tell may be damaged.
            listed = {ref.job_id for ref in await fake.calls.jobs("work")}
            assert id_of(good) in listed
            assert (id_of(bad) in listed) == (column not in {"phase", "creation_time"})
        assert len(told_of(records, bad)) == 1
        assert "Secret" not in str(records)
    assert not fake.context.failure.done()


@pytest.mark.parametrize("bad", [0, 50])
async def test_a_long_list_is_whole_without_it(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    jobs = [await fake.context.jobs.create("work", Form(())) for _ in range(51)]
    with capture_logs():
        Table(fake).damage(jobs[bad].job_id)
        listed = (await fake.calls.http.get("/api/v1/job")).json()
        # Lists are read in parts; of one of them there may be nothing else.
        monkeypatch.setattr(listing, "_read_many", partial(read_one_by_one, listing._read_many))
        assert (await fake.calls.http.get("/api/v1/job")).json() == listed
    assert {job["jobId"] for job in listed} == {job.job_id for job in jobs} - {jobs[bad].job_id}


async def read_one_by_one(read: Any, *arguments: Any, **values: Any) -> Any:
    return await read(*arguments, **(values | {"part": 1}))


async def test_whoever_may_not_see_it_is_not_told_that_it_is_there(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    Table(fake).damage(path)
    assert await fake.context.jobs.seen_by(Caller("somebody")).find(id_of(path)) is None
    with pytest.raises(UnreadableJobError):
        await fake.context.jobs.find(id_of(path))


async def test_text_that_is_no_utf8_concerns_no_other_job(tmp_path: Path) -> None:
    async with service(tmp_path, {}) as fake:
        bad, good = [await fake.calls.create("work", RUNID="r") for _ in range(2)]
        Table(fake).execute(f"UPDATE jobs SET run_id = CAST(x'ff41' AS TEXT) WHERE job_id = '{id_of(bad)}'")  # noqa: S608
        assert [ref.run_id for ref in await fake.calls.jobs("work")] == ["\N{REPLACEMENT CHARACTER}A", "r"]
        await expire(fake, good)
        assert (await fake.calls.until(good, lambda job: job.phase is P.ARCHIVED)).run_id == "r"


async def test_the_reaper_goes_on_and_does_not_look_at_it_again_and_again(fake: FakeService) -> None:
    bad, other_bad, good, later = [await fake.calls.create("work") for _ in range(4)]
    reaper, table = fake.context.jobs._reaper, Table(fake)
    with capture_logs() as records:
        repairs = [table.damage(bad), table.damage(other_bad, "creation_time")]
        both = f"('{id_of(bad)}', '{id_of(other_bad)}')"
        table.execute(f"UPDATE jobs SET destruction = 1 WHERE job_id IN {both}")  # noqa: S608
        for path in (good, later):
            await expire(fake, path)
            await fake.calls.until(path, lambda job: job.phase is P.ARCHIVED)
        # Several processes look every minute, whatever happens.
        soon = now() + timedelta(seconds=20)
        await until(lambda: reaper._next_look is not None and reaper._next_look > soon, "it rests")
    for path in (bad, other_bad):
        assert len(told_of(records, path)) == 1
    assert not fake.context.failure.done()
    for repair in repairs:
        repair()
    reaper._wake.set()
    for path in (bad, other_bad):
        await fake.calls.until(path, lambda job: job.phase is P.ARCHIVED)


async def test_a_job_damaged_between_two_steps_of_the_reaper_keeps_no_other(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = [await fake.calls.create("work") for _ in range(2)]
    list_due = type(fake.context.store).list_due

    async def damage_after_listing(store: Any, time: Any) -> Any:
        due = await list_due(store, time)
        if any(stored.job_id == id_of(bad) for stored in due):
            Table(fake).damage(bad)
        return due

    monkeypatch.setattr(type(fake.context.store), "list_due", damage_after_listing)
    for path in (bad, good):
        await fake.context.store.set_destruction(id_of(path), now())
    fake.context.jobs._reaper.note_destruction(now())
    await fake.calls.until(good, lambda job: job.phase is P.ARCHIVED)
    assert not fake.context.failure.done()


async def test_a_queued_one_keeps_no_other_from_being_started(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with service(tmp_path, service_database, max_running=1) as fake:
        first = await create_running(fake)
        bad, good = [await fake.calls.create("work", PHASE="RUN") for _ in range(2)]
        Table(fake).damage(bad)
        fake.cluster.finish(id_of(first))
        assert (await fake.calls.executing(good)).phase is P.EXECUTING
        assert id_of(bad) not in fake.cluster.keys


async def test_a_running_one_keeps_no_other_from_its_end(fake: FakeService) -> None:
    bad, good = [await create_running(fake) for _ in range(2)]
    Table(fake).damage(bad)
    for path in (bad, good):
        fake.cluster.finish(id_of(path))
    assert (await fake.calls.end(good)).phase is P.COMPLETED
    await until(lambda: not fake.context.dispatcher.running, "both are dealt with")
    assert not fake.context.failure.done()


async def test_neither_news_of_it_nor_looking_for_what_was_missed_fails(fake: FakeService) -> None:
    dispatcher = fake.context.dispatcher
    bad, running, good = (
        await fake.calls.create("work"),
        await create_running(fake),
        await create_running(fake),
    )
    for path in (bad, running):
        Table(fake).damage(path)
    for path in (bad, running):
        for phase in (P.QUEUED, P.ABORTED):
            await dispatcher.note_news(id_of(path), phase)
    # Another process has ended it, and nothing was heard of that.
    assert await fake.context.store.abort(id_of(good), P.EXECUTING, end_time=now())
    await dispatcher.reconcile()
    await until(lambda: fake.cluster.status(id_of(good)).state.is_final, "its command is ended")


async def test_a_service_starts_with_it_and_takes_it_up_when_it_is_repaired(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    cluster = FakeCluster()
    values = {"cluster": cluster, "max_running": 2}
    async with service(tmp_path, service_database, **values) as fake:
        bad, good = [await create_running(fake) for _ in range(2)]
        bad_queued, good_queued = [await fake.calls.create("work", PHASE="RUN") for _ in range(2)]
        gone = await fake.calls.create("work")
    table = Table(fake)
    repairs = [table.damage(path) for path in (bad, bad_queued, gone)]
    table.execute(f"UPDATE jobs SET destruction = 1 WHERE job_id = '{id_of(gone)}'")  # noqa: S608
    with capture_logs() as records:
        async with service(tmp_path, service_database, **values) as fake:
            # The place of the one that nobody follows is free.
            assert (await fake.calls.executing(good_queued)).phase is P.EXECUTING
            for path in (good, good_queued):
                cluster.finish(id_of(path))
                assert (await fake.calls.end(path)).phase is P.COMPLETED
            assert id_of(bad_queued) not in cluster.keys
    assert [len(told_of(records, path)) for path in (bad, bad_queued, gone)] == [1, 1, 1]
    for repair in repairs:
        repair()
    async with service(tmp_path, service_database, **values) as fake:
        assert (await fake.calls.executing(bad_queued)).phase is P.EXECUTING
        cluster.finish(id_of(bad), 3)
        assert (await fake.calls.end(bad)).phase is P.ERROR
        await fake.calls.until(gone, lambda job: job.phase is P.ARCHIVED)


class TestHeirs:
    pytestmark = ON_POSTGRESQL

    async def test_the_jobs_of_a_dead_process_are_taken_over_without_it(
        self, tmp_path: Path, postgresql_database: str
    ) -> None:
        async with service(tmp_path, {"database_url": postgresql_database}) as fake:
            bad, good = [await create_running(fake) for _ in range(2)]
            heirs = InstanceTable(fake.context.store.database, name="heir", lease=1)
            table = Table(fake)
            table.execute("INSERT INTO instances VALUES ('dead', 'elsewhere', 1)")
            table.execute("UPDATE jobs SET instance = 'dead'")
            table.damage(bad)
            assert await heirs.list_abandoned() == ["dead"]
            assert [stored.job_id for stored in await heirs.list_gone("dead", 60)] == [id_of(good)]
            assert [stored.job_id for stored in await heirs.adopt("dead")] == [id_of(good)]
            # It is there when it is repaired.
            found = table.execute(f"SELECT instance FROM jobs WHERE job_id = '{id_of(bad)}'")  # noqa: S608
            assert found == ("heir",)
