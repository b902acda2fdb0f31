"""What other processes do to jobs, as the dispatcher hears of it or finds it."""

from pathlib import Path

import pytest

from lsst.ts.ocps.service.claims import Terms
from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.service.store import Outcome, Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, create_running, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def find(store: Store, job_id: str) -> StoredJob:
    stored = await store.find_any(job_id)
    assert stored is not None
    return stored


def elsewhere(fake: FakeService) -> Store:
    """The same jobs as another process has them, of whose changes this one hears nothing by itself."""
    return Store(fake.context.store.database, PhaseWatch(), instance="elsewhere")


async def tell(fake: FakeService, stored: StoredJob | None) -> None:
    assert stored is not None
    await fake.context.dispatcher.note_news(stored.job_id, stored.phase)


async def test_a_job_that_another_process_has_queued_is_run(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    await tell(fake, await elsewhere(fake).queue(id_of(path), P.PENDING))
    assert (await fake.calls.executing(path)).phase is P.EXECUTING


async def test_a_job_that_another_process_has_taken_is_not_run(tmp_path: Path) -> None:
    async with fake_service(tmp_path, max_running=1) as fake:
        first = await create_running(fake)
        path = await fake.calls.create("work", PHASE="RUN")
        store = elsewhere(fake)
        assert await store.claim(id_of(path))
        await tell(fake, await store.begin(id_of(path), P.QUEUED, start_time=now(), native_id="1"))
        assert fake.context.dispatcher.queued == 0
        fake.cluster.finish(id_of(first))
        await fake.calls.end(first)
        assert fake.cluster.keys == (id_of(first),)


@pytest.mark.parametrize("heard", [True, False])
async def test_an_abort_by_another_process_ends_the_command(fake: FakeService, heard: bool) -> None:
    path = await create_running(fake)
    aborted = await elsewhere(fake).abort(id_of(path), P.EXECUTING, end_time=now())
    if heard:
        await tell(fake, aborted)
    else:
        await fake.context.dispatcher.reconcile()
    await until(lambda: fake.context.dispatcher.running == 0, "the command is gone")
    assert not (await find(fake.context.store, id_of(path))).handed_over


async def test_a_queued_job_of_which_nothing_was_heard_is_found(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    await elsewhere(fake).queue(id_of(path), P.PENDING)
    await fake.context.dispatcher.reconcile()
    assert (await fake.calls.executing(path)).phase is P.EXECUTING


async def test_what_other_processes_of_this_host_run_takes_of_the_machine_too(tmp_path: Path) -> None:
    async with fake_service(tmp_path, cpus=2.5) as fake:
        store = fake.context.store
        store._instance = "here_1"
        of_here, of_there = (
            Store(store.database, PhaseWatch(), instance=f"{host}_2") for host in ("here", "there")
        )
        paths = [await fake.calls.create("large") for _ in range(2)]
        for path, other in zip(paths, (of_here, of_there), strict=True):
            await other.queue(id_of(path), P.PENDING)
            assert await other.claim(id_of(path))
        # One of two processors is taken here, and two there.
        waiting = await fake.calls.create("work", PHASE="RUN")
        await until(lambda: fake.context.dispatcher.running == 0, "it was tried")
        assert await fake.calls.text(f"{waiting}/phase") == "QUEUED"
        small = await create_running(fake, "tiny")
        assert small
        await tell(fake, await of_here.end(id_of(paths[0]), P.QUEUED, P.ERROR, Outcome(now())))
        assert (await fake.calls.executing(waiting)).phase is P.EXECUTING
        assert fake.cluster.keys == (id_of(small), id_of(waiting))


async def test_where_the_payload_is_full_elsewhere_the_next_end_makes_room(fake: FakeService) -> None:
    taken = await fake.calls.create("single")
    store = elsewhere(fake)
    await store.queue(id_of(taken), P.PENDING)
    assert await store.claim(id_of(taken), Terms(max_active=1))
    path = await fake.calls.create("single", PHASE="RUN")
    # It is tried, and waits again.
    await until(lambda: fake.context.dispatcher.queued == 1, "it waits")
    await create_running(fake, "work")
    assert await fake.calls.text(f"{path}/phase") == "QUEUED"
    aborted = await store.abort(id_of(taken), P.QUEUED, end_time=now())
    await tell(fake, aborted)
    # Its command may still run.
    await until(lambda: fake.context.dispatcher.queued == 1, "it waits again")
    assert await fake.calls.text(f"{path}/phase") == "QUEUED"
    await tell(fake, await store.record_end(id_of(taken), Outcome(now())))
    assert (await fake.calls.executing(path)).phase is P.EXECUTING
