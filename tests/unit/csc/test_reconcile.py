"""What the reconciler finds: runs that nobody follows, jobs that nobody wants, what may be forgotten."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.client.base import Backend, Submission
from lsst.ts.ocps.client.errors import BackendError, BackendFailedError, BackendUnavailableError
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.client.testing import FakeBackend, FakeService, Script
from lsst.ts.ocps.csc.backends import BackendPool
from lsst.ts.ocps.csc.crowd import Crowd
from lsst.ts.ocps.csc.deposit import Depositor
from lsst.ts.ocps.csc.parts import Parts
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.reconcile import Reconciler, Surroundings
from lsst.ts.ocps.csc.records import Report, RunRecord
from lsst.ts.ocps.csc.reporter import Reporter
from lsst.ts.ocps.csc.runs import CreateIntended, CreateRefused, ReportBuilt, ReportWritten
from lsst.ts.ocps.csc.scratch import Scratch
from lsst.ts.ocps.uws.run_id import new_run_id
from support.mortal_csc import STORED, InlineLedger, Mortality, MortalOutlet, World
from support.runs import ended_record, make_run, with_news

pytestmark = pytest.mark.asyncio


@dataclass
class Bench:
    """A reconciler whose runs are followed by a list."""

    world: World
    parts: Parts
    followed: dict[str, RunRecord] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    others: dict[str, FakeService] = field(default_factory=dict)
    """Services of other back ends, by their names."""

    def __post_init__(self) -> None:
        self.reconciler = Reconciler(
            self.parts,
            get_known=self.followed.keys,
            get_used=lambda: [record.run.backend for record in self.followed.values()],
            follow=lambda record: self.followed.update({record.run.run_id: record}),
        )
        self.reconciler.surroundings = Surroundings(("echo",), (STORED,))

    async def create(self, run_id: str, name: str = "fake") -> str:
        """A job; returns its URL."""
        backend = await self.parts.pool.get(STORED | {"name": name})
        return (await backend.create(Submission("echo", run_id))).url

    async def execute(self, name: str = "fake", *, run_id: str = "") -> str:
        """A job that runs; returns its run_id, which is one of ours unless it is given."""
        run_id = run_id or new_run_id("test", 1)
        url = await self.create(run_id, name)
        await (await self.parts.pool.get(STORED | {"name": name})).start(url)
        return run_id

    async def adopt(self) -> None:
        """As after the configuration."""
        await self.reconciler.adopt("ocps-test-1-")


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    world = World(creates_pending=True)
    mortality, troubles = Mortality(None), list[str]()
    ledger, outlet = InlineLedger(world, mortality), MortalOutlet(world.log, mortality)
    tasks = TaskSupervisor("test")
    others: dict[str, FakeService] = {}
    world.service.script = Script(duration=math.inf)

    async def open_backend(name: str, settings: AnyBackendSettings) -> Backend:
        if name in others:
            return FakeBackend(name, others[name])
        return await world.open_backend(name, settings)

    async def wait_for_other(_: str) -> str:
        return ""

    parts = Parts(
        ledger=ledger,
        reporter=Reporter(outlet, ledger, on_ledger_error=lambda _: None, on_death=lambda *_: None),
        depositor=Depositor(outlet, Scratch(ledger.path)),
        pool=BackendPool(open_backend),
        tasks=tasks,
        wait_for_other=wait_for_other,
        on_ledger_error=lambda error: troubles.append(str(error)),
        crowd=Crowd(tasks),
        patience=Patience(),
    )
    yield Bench(world, parts, troubles=troubles, others=others)
    await tasks.aclose()
    for service in others.values():
        await service.aclose()
    await parts.pool.aclose()
    await world.aclose()


async def test_unfinished_runs_that_nobody_follows_are_followed(bench: Bench) -> None:
    lost, known = (RunRecord(make_run(backend=STORED)) for _ in range(2))
    reported = with_news(ended_record(), ReportBuilt(Report(None)), ReportWritten())
    for record in (lost, known, reported):
        assert await bench.parts.ledger.add(record) is None
    bench.followed[known.run.run_id] = known
    await bench.reconciler.reconcile()
    assert bench.followed == {lost.run.run_id: lost, known.run.run_id: known}


async def test_a_row_that_cannot_be_read_does_not_keep_the_others_from_being_followed(bench: Bench) -> None:
    damaged, whole = (RunRecord(make_run(backend=STORED)) for _ in range(2))
    for record in (damaged, whole):
        await bench.parts.ledger.add(record)
    bench.world.connection.execute("UPDATE runs SET record = '{' WHERE run_id = ?", (damaged.run.run_id,))
    await bench.reconciler.reconcile()
    assert list(bench.followed) == [whole.run.run_id]
    assert damaged.run.run_id in bench.troubles[0]


async def test_a_ledger_that_cannot_be_read_is_told_and_nothing_is_done(bench: Bench) -> None:
    await bench.parts.ledger.add(RunRecord(make_run(backend=STORED)))
    bench.world.disk_is_full = True
    await bench.reconciler.reconcile()
    assert bench.followed == {}
    assert bench.troubles == ["database or disk is full"]


async def test_a_job_that_was_created_twice_is_deleted_when_the_back_end_answers(bench: Bench) -> None:
    run = make_run(backend=STORED)
    kept, orphan = await bench.create("another"), await bench.create(run.run_id)
    record = with_news(RunRecord(run), CreateIntended(), CreateIntended(), CreateRefused("no"))
    bench.reconciler.note_end(record)
    bench.world.service.fail("list_jobs", BackendUnavailableError("fake", "away"))
    await bench.reconciler.reconcile()
    assert set(bench.world.service.jobs()) == {kept, orphan}
    await bench.reconciler.reconcile()
    assert set(bench.world.service.jobs()) == {kept}


async def test_a_run_that_got_its_job_at_once_is_not_suspected(bench: Bench) -> None:
    bench.reconciler.note_end(ended_record())
    await bench.reconciler.reconcile()
    assert bench.world.service.calls["list_jobs"] == 0


async def test_reported_runs_are_forgotten_in_time_and_unfinished_ones_never(bench: Bench) -> None:
    old = time.time() - 100 * 86400
    reported = with_news(ended_record(accepted_at=old), ReportBuilt(Report(None)), ReportWritten())
    unfinished = RunRecord(make_run(backend=STORED, accepted_at=old))
    for record in (reported, unfinished):
        await bench.parts.ledger.add(record)
    bench.world.connection.execute("UPDATE runs SET ended_at = ? WHERE ended_at IS NOT NULL", (old,))
    await bench.reconciler.reconcile()
    assert [record.run.run_id for record in await bench.world.records()] == [unfinished.run.run_id]


async def test_back_ends_that_nobody_uses_are_closed(bench: Bench) -> None:
    backend = await bench.parts.pool.get(STORED)
    assert isinstance(backend, FakeBackend)
    await bench.reconciler.reconcile()
    assert await bench.parts.pool.get(STORED) is backend
    bench.reconciler.surroundings = replace(bench.reconciler.surroundings, backends=())
    await bench.reconciler.reconcile()
    assert await bench.parts.pool.get(STORED) is not backend


async def test_jobs_of_a_lost_ledger_are_adopted_once_and_only_ours(bench: Bench) -> None:
    ours = await bench.execute()
    for site, index in (("foreign", 1), ("tent", 1), ("test", 2)):
        await bench.execute(run_id=new_run_id(site, index))
    await bench.create(new_run_id("test", 1))  # it was never started: nobody's loss
    await asyncio.gather(*(bench.adopt() for _ in range(2)))
    assert list(bench.followed) == [ours]
    bench.followed.clear()
    await bench.adopt()
    assert bench.followed == {}


async def test_a_ledger_that_has_runs_has_lost_none(bench: Bench) -> None:
    await bench.parts.ledger.add(RunRecord(make_run(backend=STORED)))
    await bench.execute()
    await bench.adopt()
    await bench.reconciler.reconcile()
    assert bench.world.service.calls["list_jobs"] == 0


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("list_jobs", BackendUnavailableError("fake", "away")),
        ("list_jobs", BackendFailedError("fake", "nonsense")),
        ("read", BackendUnavailableError("fake", "away")),
    ],
)
async def test_a_back_end_that_cannot_be_read_is_asked_again_until_it_could_be(
    bench: Bench, operation: str, error: BackendError, caplog: pytest.LogCaptureFixture
) -> None:
    ours = await bench.execute()
    bench.world.service.fail(operation, error, error)
    await bench.adopt()
    await bench.reconciler.reconcile()
    assert bench.followed == {}
    assert caplog.text.count(str(error)) == 1
    # What is accepted meanwhile does not make the ledger a whole one.
    accepted = RunRecord(make_run(backend=STORED))
    await bench.parts.ledger.add(accepted)
    await bench.reconciler.reconcile()
    assert set(bench.followed) == {ours, accepted.run.run_id}
    asked = bench.world.service.calls["list_jobs"]
    await bench.reconciler.reconcile()
    assert bench.world.service.calls["list_jobs"] == asked


async def test_a_back_end_that_cannot_be_read_does_not_keep_the_jobs_of_others_from_being_adopted(
    bench: Bench,
) -> None:
    bench.others["other"] = FakeService(Script(duration=math.inf))
    bench.reconciler.surroundings = Surroundings(("echo",), (STORED, STORED | {"name": "other"}))
    late, early = await bench.execute(), await bench.execute("other")
    bench.world.service.is_available = False
    await bench.adopt()
    assert list(bench.followed) == [early]
    bench.world.service.is_available = True
    await bench.reconciler.reconcile()
    assert list(bench.followed) == [early, late]
    assert bench.others["other"].calls["list_jobs"] == 1


async def test_a_job_that_cannot_be_read_does_not_keep_others_from_being_adopted(bench: Bench) -> None:
    ours = {await bench.execute() for _ in range(2)}
    bench.world.service.fail("read", BackendFailedError("fake", "500"))
    await bench.adopt()
    assert len(bench.followed) == 1
    await bench.reconciler.reconcile()
    assert set(bench.followed) == ours


async def test_a_ledger_that_takes_nothing_is_no_reason_to_forget_jobs(bench: Bench) -> None:
    ours = await bench.execute()
    bench.world.disk_is_full = True
    await bench.adopt()
    assert bench.followed == {}
    bench.world.disk_is_full = False
    await bench.reconciler.reconcile()
    assert list(bench.followed) == [ours]
