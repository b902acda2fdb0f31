"""Lists of very many jobs: read, written and sent bit by bit, so that others have their turn between."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from lsst.ts.ocps.service import postgresql
from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.errors import StoreError, StoreUnavailableError
from lsst.ts.ocps.service.listing import JobFilter, ListedJob, list_jobs, list_whole
from lsst.ts.ocps.service.patience import patient
from lsst.ts.ocps.service.schema import StoredJob, jobs, now
from lsst.ts.ocps.service.sqlite import SqliteDatabase
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.codec import parse_job_list
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase as P
from support.service_process import FakeService, fake_service
from support.uws_samples import schema_problems

pytestmark = pytest.mark.asyncio

NUM = 250
IDS = [f"1{number:03}" for number in range(NUM)]


@asynccontextmanager
async def filled(place: Path | sa.URL) -> AsyncIterator[Store]:
    """A store with some hundred jobs."""
    store = await Store.open(place, PhaseWatch())
    try:
        await fill(store)
        yield store
    finally:
        await store.aclose()


async def fill(store: Store, payload: str = "work") -> None:
    begin = now() - timedelta(hours=1)
    added = (
        Job(job_id, P.PENDING, creation_time=begin + timedelta(milliseconds=number), execution_duration=0)
        for number, job_id in enumerate(IDS)
    )
    await asyncio.gather(*(store.add(StoredJob(job, payload, "fake", "out")) for job in added))


@pytest.fixture
def place(each_database: dict[str, str], tmp_path: Path) -> Path | sa.URL:
    """One after another a database of each kind."""
    url = each_database.get("database_url")
    return read_database_url(SecretStr(url)) if url else tmp_path / "jobs.sqlite"


def ids(part: Iterable[ListedJob]) -> list[str]:
    return [entry.ref.job_id for entry in part]


def joined(parts: Sequence[Sequence[str]]) -> list[str]:
    return [job_id for part in parts for job_id in part]


async def test_all_are_listed_in_order_part_by_part(place: Path | sa.URL) -> None:
    async with filled(place) as store:
        parts = await list_jobs(store.database, JobFilter(), ids)
        assert len(parts) == 3
        assert joined(parts) == IDS
        newest = await list_jobs(store.database, JobFilter("work", last=170), ids)
        assert joined(newest) == IDS[::-1][:170]
        whole = await list_whole(
            store.database, None, lambda part: [stored.job_id for stored in part], last=120
        )
        assert joined(whole) == IDS[::-1][:120]
        for last in (99, 100, 101):
            assert len(joined(await list_jobs(store.database, JobFilter(last=last), ids))) == last


async def test_others_have_their_turn_between_the_parts(place: Path | sa.URL) -> None:
    async with filled(place) as store:
        turns, seen = 0, []

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        def write(part: Iterable[ListedJob]) -> None:
            seen.append((turns, len(list(part))))

        counting = asyncio.create_task(count_turns())
        try:
            await list_jobs(store.database, JobFilter(), write)
        finally:
            counting.cancel()
        assert [size for _, size in seen] == [100, 100, 50]
        assert seen[0][0] < seen[1][0] < seen[2][0]


async def test_whoever_leaves_in_the_middle_leaves_the_way_free(place: Path | sa.URL) -> None:
    async with filled(place) as store:
        begun = asyncio.Event()

        def write(part: Iterable[ListedJob]) -> list[str]:
            begun.set()
            return ids(part)

        for _ in range(12):
            begun.clear()
            leaving = asyncio.create_task(list_jobs(store.database, JobFilter(), write))
            await begun.wait()
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        async with asyncio.timeout(20):
            both = await asyncio.gather(*(list_jobs(store.database, JobFilter(), ids) for _ in range(2)))
        assert [joined(parts) for parts in both] == [IDS, IDS]


async def test_an_error_of_whoever_writes_is_theirs(place: Path | sa.URL) -> None:
    def fail(_part: Iterable[ListedJob]) -> None:
        raise ZeroDivisionError

    async with filled(place) as store:
        with pytest.raises(ZeroDivisionError):
            await list_jobs(store.database, JobFilter(), fail)
        assert joined(await list_jobs(store.database, JobFilter(), ids)) == IDS


async def test_a_list_that_is_being_read_is_read_to_its_end_before_the_store_is_closed(
    place: Path | sa.URL,
) -> None:
    async with filled(place) as store:
        begun = asyncio.Event()

        def write(part: Iterable[ListedJob]) -> list[str]:
            begun.set()
            return ids(part)

        reading = asyncio.create_task(list_jobs(store.database, JobFilter(), write))
        await begun.wait()
    assert joined(await reading) == IDS


async def test_a_failing_database_is_told_and_one_that_is_closed(place: Path | sa.URL) -> None:
    async with filled(place) as store:
        nothing: sa.Select[Any] = sa.select(sa.literal_column("nothing")).select_from(jobs)
        with pytest.raises(StoreError, match="nothing"):
            await store.database.read_parts(nothing, print, size=10)
    with pytest.raises(StoreError, match="closed"):
        await store.database.read_parts(sa.select(jobs.c.job_id), print, size=10)


@pytest.mark.system
@pytest.mark.xdist_group("postgresql")
async def test_each_part_has_its_time_and_not_all_together(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL alone has a limit: it is on the other side of a network."""

    def write(part: Iterable[ListedJob]) -> list[str]:
        # What takes long on a busy machine is this.
        begin = time.perf_counter()
        while time.perf_counter() < begin + 0.8:
            pass
        return ids(part)

    async with filled(read_database_url(SecretStr(postgresql_database))) as store:
        monkeypatch.setattr(postgresql, "_DEADLINE", 2.0)
        assert joined(await list_jobs(store.database, JobFilter(), write)) == IDS


async def test_parts_of_an_attempt_that_failed_are_not_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_parts, failures = SqliteDatabase.read_parts, [StoreUnavailableError("away")]

    async def fail_at_first(self: SqliteDatabase, query: Any, take: Any, *, size: int) -> None:
        await read_parts(self, query, take, size=size)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(SqliteDatabase, "read_parts", fail_at_first)
    async with filled(tmp_path / "jobs.sqlite") as store:
        assert joined(await list_jobs(patient(store).database, JobFilter(), ids)) == IDS
    assert not failures


async def read_listed(fake: FakeService, query: dict[str, str]) -> list[str]:
    answer = await fake.calls.http.get("/work/async", params=query)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["Content-Type"] == "application/xml"
    assert schema_problems(answer.content) == []
    return [ref.job_id for ref in parse_job_list(answer.content, str(answer.url))]


async def test_the_documents_are_whole_however_long_they_are(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as fake:
        assert await read_listed(fake, {}) == []
        assert (await fake.calls.http.get("/api/v1/job")).json() == []
        await fill(fake.context.store)
        assert await read_listed(fake, {}) == IDS
        assert await read_listed(fake, {"LAST": "101"}) == IDS[::-1][:101]
        answer = await fake.calls.http.get("/api/v1/job")
        assert [entry["jobId"] for entry in answer.json()] == IDS[::-1]
        assert answer.text == json.dumps(answer.json())
