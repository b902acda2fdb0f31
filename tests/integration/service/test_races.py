"""Two things at the same time: each ends in one way, for everybody, and stays so."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lsst.ts.ocps.service.claims import Terms
from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.service.store import Outcome, Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase
from support.processes import until
from support.service_process import FakeService, create_running, id_of, make_config

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
_ROUNDS = 10


@pytest_asyncio.fixture
async def stores(tmp_path: Path, service_database: dict[str, Any]) -> AsyncIterator[list[Store]]:
    """The jobs as several processes have them; SQLite has one at a time, whose threads compete."""
    where = make_config(tmp_path, {}, **service_database).database
    if isinstance(where, Path):
        where.parent.mkdir()
        opened = [await Store.open(where, PhaseWatch())]
    else:
        opened = [await Store.open(where, PhaseWatch(), instance=f"process {number}") for number in range(3)]
    yield [opened[number % len(opened)] for number in range(3)]
    for store in opened:
        await store.aclose()


async def phase_of(fake: FakeService, path: str) -> ExecutionPhase:
    return (await fake.calls.job(path)).phase


async def is_gone(fake: FakeService, path: str) -> None:
    """Wait until nothing is left of a job, neither row nor folder."""
    async with asyncio.timeout(20):
        while await fake.context.store.find_any(id_of(path)) is not None:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.005)
    assert not (fake.config.jobs_directory / id_of(path)).exists()


def in_turn(
    is_first: bool,
    write: Callable[..., Awaitable[StoredJob | None]],
    trying: asyncio.Event,
    done: asyncio.Event,
) -> Callable[..., Awaitable[StoredJob | None]]:
    """A write that comes first, or tries, and waits until the other one is done."""

    async def write_in_turn(*arguments: Any, **options: Any) -> StoredJob | None:
        if not is_first:
            # It has been seen what the job is, and that is not so any more when it goes on.
            trying.set()
            await done.wait()
        changed = await write(*arguments, **options)
        done.set()
        return changed

    return write_in_turn


class TestRequests:
    async def test_of_many_who_run_a_job_one_does(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        asking = [fake.calls.post(f"{path}/phase", PHASE="RUN") for _ in range(10)]
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*asking))
        assert statuses == {303: 1, 403: 9}
        await fake.calls.executing(path)
        assert fake.cluster.keys == (id_of(path),)

    async def test_two_aborts_are_one_end(self, fake: FakeService) -> None:
        path = await create_running(fake)
        asking = [fake.calls.post(f"{path}/phase", PHASE="ABORT") for _ in range(10)]
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {303}
        job = await fake.calls.job(path)
        assert job.phase is P.ABORTED
        await until(lambda: fake.context.dispatcher.running == 0, "the command is gone")
        assert (await fake.calls.job(path)).end_time == job.end_time

    async def test_an_abort_and_the_end_of_the_command_give_one_phase_that_stays(
        self, fake: FakeService
    ) -> None:
        seen = Counter[ExecutionPhase]()
        for number in range(-_ROUNDS, _ROUNDS):
            path = await create_running(fake)
            if number < 0:
                # Either gets a larger and larger head start.
                fake.cluster.finish(id_of(path))
                await asyncio.sleep(-number / 1000)
            aborting = asyncio.create_task(fake.calls.post(f"{path}/phase", PHASE="ABORT"))
            if number >= 0:
                await asyncio.sleep(number / 1000)
                fake.cluster.finish(id_of(path))
            assert (await aborting).status_code == 303
            phase = await phase_of(fake, path)
            seen[phase] += 1
            await until(lambda: fake.context.dispatcher.running == 0, "the command is gone")
            assert await phase_of(fake, path) is phase
        # That each of them can be the first is shown below.
        assert set(seen) <= {P.ABORTED, P.COMPLETED}

    @pytest.mark.parametrize(("first", "phase"), [("abort", P.ABORTED), ("end", P.COMPLETED)])
    async def test_of_an_abort_and_the_end_of_the_command_the_first_to_be_written_holds(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch, first: str, phase: ExecutionPhase
    ) -> None:
        trying, done = asyncio.Event(), asyncio.Event()
        path = await create_running(fake)
        for name in ("abort", "end"):
            monkeypatch.setattr(Store, name, in_turn(name == first, getattr(Store, name), trying, done))
        async with asyncio.timeout(20):
            if first == "abort":
                fake.cluster.finish(id_of(path))
                await trying.wait()
            aborting = asyncio.create_task(fake.calls.post(f"{path}/phase", PHASE="ABORT"))
            if first == "end":
                await trying.wait()
                fake.cluster.finish(id_of(path))
            assert (await aborting).status_code == 303
            await until(lambda: fake.context.dispatcher.running == 0, "the command is gone")
        job = await fake.calls.job(path)
        assert (job.phase, job.error) == (phase, None)

    async def test_who_waits_for_a_job_that_is_deleted_learns_of_it(self, fake: FakeService) -> None:
        path = await create_running(fake)
        query = {"WAIT": "50", "PHASE": "EXECUTING"}
        waiting = [asyncio.create_task(fake.calls.http.get(path, params=query)) for _ in range(10)]
        await until(lambda: fake.context.watch.count(id_of(path)) == 10, "all wait")
        assert (await fake.calls.http.delete(path)).status_code == 303
        async with asyncio.timeout(20):
            answers: list[httpx.Response] = await asyncio.gather(*waiting)
        assert {answer.status_code for answer in answers} == {404}
        await is_gone(fake, path)

    async def test_fifty_who_wait_for_one_job_all_learn_of_its_end(self, fake: FakeService) -> None:
        path = await create_running(fake)
        waiting = [asyncio.create_task(fake.calls.end(path)) for _ in range(50)]
        await until(lambda: fake.context.watch.count(id_of(path)) == 50, "all wait")
        fake.cluster.finish(id_of(path), 3)
        async with asyncio.timeout(20):
            assert {job.phase for job in await asyncio.gather(*waiting)} == {P.ERROR}
        assert fake.context.watch.total == 0

    async def test_a_job_deleted_while_it_is_started_runs_no_further(self, fake: FakeService) -> None:
        for number in range(_ROUNDS):
            path = await fake.calls.create("work")
            running = asyncio.create_task(fake.calls.post(f"{path}/phase", PHASE="RUN"))
            for _ in range(3 * number):
                await asyncio.sleep(0)
            deleted = await fake.calls.http.delete(path)
            await running
            assert deleted.status_code == 303
            await is_gone(fake, path)
            await until(lambda: fake.context.dispatcher.running == 0, "the command is gone")
            if id_of(path) in fake.cluster.keys:
                assert fake.cluster.status(id_of(path)).state.is_final

    async def test_parameters_that_are_accepted_are_those_that_are_run_with(self, fake: FakeService) -> None:
        for number in range(_ROUNDS):
            path = await fake.calls.create("work", text="old")
            setting = asyncio.create_task(fake.calls.post(f"{path}/parameters", text="new"))
            for _ in range(number):
                await asyncio.sleep(0)
            assert (await fake.calls.post(f"{path}/phase", PHASE="RUN")).status_code == 303
            is_set = (await setting).status_code == 303
            (parameter,) = (await fake.calls.job(path)).parameters
            assert parameter.value == ("new" if is_set else "old")

    async def test_of_parameters_set_by_several_at_once_none_is_lost(self, fake: FakeService) -> None:
        for _ in range(_ROUNDS):
            path = await fake.calls.create("several")
            setting = [
                fake.calls.post(f"{path}/parameters", a="1"),
                fake.calls.http.put(f"{path}/parameters/b", content="2"),
                fake.calls.post(f"{path}/parameters", c="3"),
            ]
            assert {answer.status_code for answer in await asyncio.gather(*setting)} == {303}
            found = {parameter.name: parameter.value for parameter in (await fake.calls.job(path)).parameters}
            assert found == {"a": "1", "b": "2", "c": "3"}


class TestStores:
    """What several processes do to one job at the same time."""

    async def put(self, store: Store, phase: ExecutionPhase) -> str:
        """Bring a new job into a phase."""
        job_id = uuid.uuid4().hex
        job = Job(job_id, P.PENDING, creation_time=now(), execution_duration=60)
        await store.add(StoredJob(job, payload="p", executor="local", outputs="out"))
        if phase is not P.PENDING:
            await store.queue(job_id, P.PENDING)
        if phase is P.EXECUTING:
            await store.claim(job_id)
            await store.begin(job_id, P.QUEUED, start_time=now(), native_id="1")
        return job_id

    async def one_succeeds(self, *changes: Awaitable[object]) -> int:
        """Make changes at the same time; which of them was made."""
        made = [number for number, one in enumerate(await asyncio.gather(*changes)) if one is not None]
        assert len(made) == 1
        return made[0]

    async def test_a_job_is_queued_and_claimed_once(self, stores: list[Store]) -> None:
        for _ in range(_ROUNDS):
            job_id = await self.put(stores[0], P.PENDING)
            await self.one_succeeds(*(store.queue(job_id, P.PENDING) for store in stores * 3))
            winner = await self.one_succeeds(*(store.claim(job_id) for store in stores * 3))
            stored = await stores[0].find(job_id)
            assert stored is not None
            assert stored.instance == (stores * 3)[winner].instance

    async def test_no_more_are_claimed_than_may_run(self, stores: list[Store]) -> None:
        job_ids = [await self.put(stores[0], P.QUEUED) for _ in range(_ROUNDS)]
        claims = [
            store.claim(job_id, Terms(max_active=4))
            for job_id, store in zip(job_ids, stores * _ROUNDS, strict=False)
        ]
        taken = [stored for stored in await asyncio.gather(*claims) if stored is not None]
        assert len(taken) == 4
        assert await stores[0].record_end(taken[0].job_id, Outcome(now())) is not None
        left = [job_id for job_id in job_ids if job_id not in {stored.job_id for stored in taken}]
        again = await asyncio.gather(*(stores[1].claim(job_id, Terms(max_active=4)) for job_id in left))
        assert len([stored for stored in again if stored is not None]) == 1

    async def test_an_end_an_abort_and_a_loss_of_sight_exclude_each_other(self, stores: list[Store]) -> None:
        one, two, three = stores
        for _ in range(_ROUNDS):
            job_id = await self.put(stores[0], P.EXECUTING)
            winner = await self.one_succeeds(
                one.end(job_id, P.EXECUTING, P.COMPLETED, Outcome(now(), 0)),
                two.abort(job_id, P.EXECUTING, end_time=now()),
                three.lose_sight(job_id, P.EXECUTING),
            )
            stored = await one.find(job_id)
            assert stored is not None
            assert stored.phase is (P.COMPLETED, P.ABORTED, P.UNKNOWN)[winner]

    async def test_a_destruction_and_a_claim_exclude_each_other(self, stores: list[Store]) -> None:
        for _ in range(_ROUNDS):
            job_id = await self.put(stores[0], P.QUEUED)
            claimed, hidden = await asyncio.gather(
                stores[0].claim(job_id), stores[1].abort(job_id, P.QUEUED, end_time=now(), hide=True)
            )
            # It may be claimed first; then its command is asked to end, and it is hidden all the same.
            assert hidden is not None
            assert hidden.handed_over == (claimed is not None)
            assert await stores[2].find(job_id) is None

    async def test_an_archived_job_is_archived_once(self, stores: list[Store]) -> None:
        for _ in range(_ROUNDS):
            job_id = await self.put(stores[0], P.PENDING)
            await stores[0].abort(job_id, P.PENDING, end_time=now())
            await self.one_succeeds(*(store.archive(job_id, P.ABORTED, until=now()) for store in stores * 2))
            stored = await stores[0].find_any(job_id)
            assert stored is not None
            assert stored.phase in FINAL
