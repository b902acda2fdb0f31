"""The store on a real database: phases along the table only, filters, what is hidden."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from lsst.ts.ocps.service.claims import Terms
from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.listing import JobFilter, ListedJob, list_jobs
from lsst.ts.ocps.service.owners import ANYBODY, NOBODY, Caller
from lsst.ts.ocps.service.schema import StoredJob, StoredResult, now
from lsst.ts.ocps.service.store import Outcome, Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, Parameter
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase, may_change

P = ExecutionPhase
CREATED = datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)


def new_job(job_id: str = "1a", phase: ExecutionPhase = P.PENDING, **values: Any) -> StoredJob:
    facts: dict[str, Any] = {"creation_time": CREATED, "execution_duration": 60} | values
    return StoredJob(Job(job_id, phase, **facts), payload="p", executor="local", outputs="out")


@pytest.fixture
def place(each_database: dict[str, str], tmp_path: Path) -> Path | sa.URL:
    """One after another a database of each kind."""
    url = each_database.get("database_url")
    return read_database_url(SecretStr(url)) if url else tmp_path / "jobs.sqlite"


@asynccontextmanager
async def opened(place: Path | sa.URL, watch: PhaseWatch | None = None) -> AsyncIterator[Store]:
    store = await Store.open(place, watch or PhaseWatch())
    try:
        yield store
    finally:
        await store.aclose()


async def listed(store: Store, **values: Any) -> list[ListedJob]:
    (part,) = await list_jobs(store.database, JobFilter(**values), list)
    return part


async def put(store: Store, phase: ExecutionPhase, job_id: str = "1a") -> None:
    """Bring a new job into a phase that the service uses."""
    await store.add(new_job(job_id))
    ended = Outcome(now())
    match phase:
        case P.PENDING:
            return
        case P.QUEUED | P.EXECUTING | P.UNKNOWN | P.COMPLETED | P.ERROR:
            await store.queue(job_id, P.PENDING)
        case P.ABORTED:
            await store.abort(job_id, P.PENDING, end_time=now())
        case P.HELD | P.SUSPENDED | P.ARCHIVED:
            raise ValueError(f"the service brings no job into {phase}")
    if phase in {P.EXECUTING, P.UNKNOWN, P.COMPLETED, P.ERROR}:
        await store.claim(job_id)
        await store.begin(job_id, P.QUEUED, start_time=now(), native_id="7")
    if phase is P.UNKNOWN:
        await store.lose_sight(job_id, P.EXECUTING)
    if phase in {P.COMPLETED, P.ERROR}:
        await store.end(job_id, P.EXECUTING, phase, ended)


@pytest.mark.asyncio
class TestStore:
    async def test_a_job_is_read_as_it_was_kept(self, place: Path | sa.URL) -> None:
        parameters = (Parameter("a", "1"), Parameter("a", "\N{SNOWMAN}\r\n"), Parameter("b", ""))
        job = new_job(run_id="r", destruction=CREATED + timedelta(days=1), parameters=parameters)
        async with opened(place) as store:
            await store.add(job)
            found = await store.find("1a")
        assert found is not None
        assert found == replace(job, job=replace(job.job, version="1.1"))

    async def test_jobs_outlive_the_store(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job())
        async with opened(place) as store:
            assert await store.find("1a")

    async def test_the_end_is_kept_whole(self, place: Path | sa.URL) -> None:
        files = (
            StoredResult("a_b", "a/b\udcff", 5, "text/plain", "ab" * 32),
            StoredResult("stdout.txt", "stdout.txt", 7, "text/plain", is_log=True),
        )
        error = ErrorSummary("wrong", is_transient=True, has_detail=True)
        async with opened(place) as store:
            await put(store, P.EXECUTING)
            await store.end("1a", P.EXECUTING, P.ERROR, Outcome(CREATED, 3, files, error))
            found = await store.find("1a")
        assert found is not None
        assert (found.phase, found.exit_code, found.files) == (P.ERROR, 3, files)
        assert (found.job.error, found.job.end_time) == (error, CREATED)
        assert [(result.result_id, result.size, result.sha256) for result in found.job.results] == [
            ("a_b", 5, "ab" * 32),
            ("stdout.txt", 7, None),
        ]
        assert not found.handed_over

    async def test_only_one_of_many_changes_from_the_same_phase_succeeds(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await put(store, P.EXECUTING)
            outcomes = await asyncio.gather(
                *(store.abort("1a", P.EXECUTING, end_time=now()) for _ in range(10)),
                *(store.end("1a", P.EXECUTING, P.COMPLETED, Outcome(now())) for _ in range(10)),
            )
        assert len([outcome for outcome in outcomes if outcome is not None]) == 1

    async def test_a_job_is_claimed_once(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await put(store, P.QUEUED)
            claims = await asyncio.gather(*(store.claim("1a") for _ in range(10)))
        assert len([claim for claim in claims if claim is not None]) == 1

    async def test_only_a_job_that_we_have_claimed_and_that_is_queued_is_put_back(
        self, place: Path | sa.URL
    ) -> None:
        async with opened(place) as store:
            await put(store, P.QUEUED)
            assert await store.put_back("1a") is None
            await store.claim("1a", Terms(native_id="x"))
            other = Store(store.database, PhaseWatch(), instance="another")
            assert await other.put_back("1a") is None
            back = await store.put_back("1a")
            assert back is not None
            assert (back.phase, back.handed_over, back.native_id) == (P.QUEUED, False, None)
            assert await store.claim("1a") is not None
            await store.begin("1a", P.QUEUED, start_time=now(), native_id="y")
            assert await store.put_back("1a") is None

    async def test_a_change_is_published_with_the_job_after_it(self, place: Path | sa.URL) -> None:
        watch = PhaseWatch()
        async with opened(place, watch) as store:
            await store.add(new_job())
            with watch.watching("1a") as change:
                await store.queue("1a", P.PENDING)
                published = await asyncio.wait_for(change, 5)
        assert published is not None
        assert published.phase is P.QUEUED

    async def test_a_change_that_did_not_happen_is_not_published(self, place: Path | sa.URL) -> None:
        watch = PhaseWatch()
        async with opened(place, watch) as store:
            await store.add(new_job())
            with watch.watching("1a") as change:
                assert await store.begin("1a", P.QUEUED, start_time=None, native_id=None) is None
                assert not change.done()

    async def test_the_late_end_of_the_command_of_an_aborted_job_adds_its_results_only(
        self, place: Path | sa.URL
    ) -> None:
        files = (StoredResult("a", "a", 1, "text/plain"),)
        async with opened(place) as store:
            await put(store, P.EXECUTING)
            await store.abort("1a", P.EXECUTING, end_time=CREATED)
            late = Outcome(CREATED + timedelta(seconds=9), -15, files, ErrorSummary("stopped"))
            recorded = await store.record_end("1a", late)
        assert recorded is not None
        assert (recorded.phase, recorded.exit_code, recorded.files) == (P.ABORTED, -15, files)
        assert (recorded.job.end_time, recorded.job.error, recorded.handed_over) == (CREATED, None, False)

    async def test_parameters_change_while_pending_only(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job())
            changed = await store.set_parameters(new_job(), [("a", "2")], ())
            assert changed is not None
            assert changed.pairs == (("a", "2"),)
            await store.queue("1a", P.PENDING)
            assert await store.set_parameters(changed, [("a", "3")], ()) is None

    async def test_parameters_that_are_not_those_that_were_seen_are_not_replaced(
        self, place: Path | sa.URL
    ) -> None:
        async with opened(place) as store:
            await store.add(new_job())
            setting = [store.set_parameters(new_job(), [("a", str(number))], ()) for number in range(10)]
            (changed,) = [stored for stored in await asyncio.gather(*setting) if stored is not None]
            assert await store.find("1a") == changed
            assert await store.set_parameters(new_job("1b"), [], ()) is None

    async def test_the_execution_duration_is_fixed_when_the_command_is_handed_over(
        self, place: Path | sa.URL
    ) -> None:
        async with opened(place) as store:
            await put(store, P.QUEUED)
            changed = await store.set_execution_duration("1a", 5)
            assert changed is not None
            assert changed.job.execution_duration == 5
            await store.claim("1a")
            assert await store.set_execution_duration("1a", 6) is None

    async def test_what_has_not_ended_is_not_destroyed(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job())
            assert await store.mark_destroyed("1a") is None
            assert await store.find("1a")

    async def test_a_destroyed_job_is_hidden_until_its_command_is_gone_and_then_removable(
        self, place: Path | sa.URL
    ) -> None:
        async with opened(place) as store:
            await put(store, P.EXECUTING)
            await store.abort("1a", P.EXECUTING, end_time=now())
            assert await store.mark_destroyed("1a")
            assert await store.mark_destroyed("1a") is None
            assert await store.find("1a") is None
            assert await listed(store) == []
            assert await store.set_destruction("1a", now()) is None
            assert await store.list_removable() == []
            assert [job.job_id for job in await store.list_handed_over()] == ["1a"]
            await store.record_end("1a", Outcome(now()))
            assert [job.job_id for job in await store.list_removable()] == ["1a"]
            await store.remove("1a")
            assert await store.find_any("1a") is None

    async def test_the_next_destruction_is_the_earliest_one_to_come(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            assert await store.next_destruction(CREATED) is None
            for number, job_id in enumerate(["1a", "1b", "1c"]):
                await store.add(new_job(job_id, destruction=CREATED + timedelta(hours=3 - number)))
            for after, hours in ((CREATED, 1), (CREATED + timedelta(hours=1), 2)):
                assert await store.next_destruction(after) == CREATED + timedelta(hours=hours)
            due = await store.list_due(CREATED + timedelta(hours=2))
        assert [job.job_id for job in due] == ["1c", "1b"]

    async def test_a_database_that_cannot_be_opened_is_told_by_its_path(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.sqlite").write_text("this is no database, and long enough to be seen as none" * 20)
        with pytest.raises(StoreError, match=r"jobs\.sqlite"):
            async with opened(tmp_path / "jobs.sqlite"):
                pass

    async def test_errors_do_not_show_the_values_of_parameters(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job(parameters=(Parameter("token", "hunter2"),)))
            with pytest.raises(StoreError) as raised:
                await store.add(new_job(parameters=(Parameter("token", "hunter2"),)))
        assert "hunter2" not in str(raised.value)


@pytest.mark.asyncio
class TestJobFilter:
    async def list_ids(self, store: Store, **values: Any) -> list[str]:
        return [entry.ref.job_id for entry in await listed(store, **values)]

    async def test_phases_are_united_and_conditions_are_met_together(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            for number, phase in enumerate([P.PENDING, P.QUEUED, P.ABORTED, P.PENDING]):
                await put(store, phase, f"1{number}")
            await store.add(replace(new_job("19"), payload="other"))
            assert await self.list_ids(store) == ["10", "11", "12", "13", "19"]
            assert await self.list_ids(store, payload="p") == ["10", "11", "12", "13"]
            wanted = frozenset({P.PENDING, P.ABORTED})
            assert await self.list_ids(store, payload="p", phases=wanted) == ["10", "12", "13"]
            assert await self.list_ids(store, payload="p", phases=wanted, last=2) == ["13", "12"]
            assert await self.list_ids(store, phases=frozenset({P.HELD})) == []

    async def test_who_has_no_name_sees_nothing_and_not_what_is_nobodys(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job("10"))
            await store.add(new_job("11", owner_id="alice"))
            for caller, expected in (
                (NOBODY, []),
                (Caller("alice"), ["11"]),
                (Caller("bob"), []),
                (ANYBODY, ["10", "11"]),
            ):
                (part,) = await list_jobs(store.database, JobFilter(), list, caller)
                assert [entry.ref.job_id for entry in part] == expected, caller

    async def test_last_are_the_newest_first(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            for number in (3, 1, 2):
                time = CREATED + timedelta(milliseconds=number)
                await store.add(new_job(f"1{9 - number}", creation_time=time))
            assert await self.list_ids(store, last=2) == ["16", "17"]
            assert await self.list_ids(store, last=99) == ["16", "17", "18"]

    async def test_after_the_time_of_a_job_does_not_list_the_job_itself(self, place: Path | sa.URL) -> None:
        async with opened(place) as store:
            await store.add(new_job(creation_time=now()))
            (entry,) = await listed(store)
            assert entry.ref.creation_time is not None
            assert await self.list_ids(store, after=entry.ref.creation_time) == []
            just_before = entry.ref.creation_time - timedelta(milliseconds=1)
            assert await self.list_ids(store, after=just_before) == ["1a"]


PHASES = st.sampled_from([P.PENDING, P.QUEUED, P.EXECUTING, P.UNKNOWN, P.COMPLETED, P.ERROR, P.ABORTED])


async def _attempt_all(store: Store, attempts: list[tuple[ExecutionPhase, ExecutionPhase]]) -> None:
    job_id = uuid.uuid4().hex
    await store.add(new_job(job_id))
    phase = P.PENDING
    for old, new in attempts:
        if not may_change(old, new):
            with pytest.raises(ValueError, match="no job goes"):
                await store._change_phase(job_id, old, new)
            continue
        changed = await store._change_phase(job_id, old, new)
        assert (changed is not None) == (old is phase)
        if changed is not None:
            assert phase not in FINAL
            phase = new
        found = await store.find(job_id)
        assert found is not None
        assert found.phase is phase


def test_whatever_is_tried_a_job_moves_along_the_table_only_and_stays_where_it_ended(
    place: Path | sa.URL,
) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(place, PhaseWatch()))

        @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(st.tuples(PHASES, PHASES), max_size=12))
        def check(attempts: list[tuple[ExecutionPhase, ExecutionPhase]]) -> None:
            runner.run(_attempt_all(store, attempts))

        try:
            check()
        finally:
            runner.run(store.aclose())
