"""What the tracker reads of the ledger while runs come and go."""

import asyncio
import time
from collections.abc import Callable, Collection

import pytest

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.csc.documents import build_report, reported_job_id
from lsst.ts.ocps.csc.errors import LedgerDamagedError
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import RunRecord
from lsst.ts.ocps.csc.results import RunResults
from lsst.ts.ocps.csc.runs import AbortAsked, ReportBuilt
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.mortal_csc import STORED, CoreLife, World
from support.runs import ended_record, make_record, make_run, with_news
from support.virtual_time import run_in_virtual_time


async def play_a_run_that_ends_while_the_ledger_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(creates_pending=True)
    world.service.script = Script(duration=0.4)
    life = CoreLife(world, None, Patience())
    await life.start()
    read = life.ledger.unfinished
    run = make_run(backend=STORED, accepted_at=time.time())

    async def read_slowly(
        on_unreadable: Callable[[LedgerDamagedError], None] | None = None, *, known: Collection[str] = ()
    ) -> list[RunRecord]:
        monkeypatch.undo()
        await life.obey(run)
        records = await read(on_unreadable, known=known)
        assert [record.run.run_id for record in records] == [run.run_id]
        while life.tracker._followers:  # noqa: ASYNC110 (in virtual time)
            await asyncio.sleep(0.1)
        return records

    monkeypatch.setattr(life.ledger, "unfinished", read_slowly)
    await asyncio.sleep(100.0)
    assert world.deaths == []
    assert not world.has_unfinished
    assert len(world.results_of(run.run_id)) == 1
    await life.aclose()
    await world.aclose()


def test_a_run_that_ends_while_the_ledger_is_read_is_not_followed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_in_virtual_time(play_a_run_that_ends_while_the_ledger_is_read(monkeypatch))


async def play_a_prerequisite_that_cannot_be_looked_for() -> None:
    world = World(creates_pending=True)

    def fill_the_disk(_submission: Submission) -> Script:
        world.disk_is_full = True
        return Script()

    world.service.script = fill_the_disk
    life = CoreLife(world, None, Patience())
    await life.start()
    run = make_run(backend=STORED, accepted_at=time.time(), prerequisites=("vanished",))
    await life.obey(run)
    await asyncio.sleep(100.0)
    (url,) = world.service.jobs()
    assert world.service.runs_of(url) == 0
    world.disk_is_full = False
    await asyncio.sleep(100.0)
    assert world.service.runs_of(url) == 1
    assert world.deaths == []
    assert not world.has_unfinished
    assert len(world.results_of(run.run_id)) == 1
    await life.aclose()
    await world.aclose()


def test_a_run_waits_while_the_ledger_does_not_tell_whether_its_prerequisite_has_ended() -> None:
    run_in_virtual_time(play_a_prerequisite_that_cannot_be_looked_for())


async def play_a_report_that_is_out_though_the_ledger_does_not_say_so() -> None:
    """The ack of a detached command that is sent again comes before what its job is settled by."""
    world = World(creates_pending=True)
    life = CoreLife(world, None, Patience())
    aborted = with_news(make_record(backend=STORED), AbortAsked())
    told = ended_record(ExecutionPhase.ABORTED, backend=STORED, detach=True)
    report = build_report(told, RunResults())
    for record in (aborted, with_news(told, ReportBuilt(report))):
        assert await life.ledger.add(record) is None
    fields = {"job_id": reported_job_id(told), "exit_code": report.exit_code, "result": report.result}
    world.log.records.append(("evt_job_result", fields))
    acknowledge = life.reporter.acknowledge

    async def acknowledge_slowly(record: RunRecord) -> None:
        await asyncio.sleep(1.0)
        await acknowledge(record)

    life.reporter.acknowledge = acknowledge_slowly  # type: ignore[method-assign, assignment]
    await life.start()
    await asyncio.sleep(100.0)
    assert not world.has_unfinished
    for record in (told, aborted):
        assert len(world.results_of(record.run.run_id)) == 1
    assert world.deaths == []
    await life.aclose()
    await world.aclose()


def test_what_an_earlier_process_may_have_reported_is_settled_before_another_run_is_reported() -> None:
    run_in_virtual_time(play_a_report_that_is_out_though_the_ledger_does_not_say_so())


async def play_a_report_that_nobody_settles() -> None:
    world = World(creates_pending=True)
    life = CoreLife(world, None, Patience())
    told = ended_record(ExecutionPhase.COMPLETED, backend=STORED)
    other = ended_record(ExecutionPhase.COMPLETED, backend=STORED)
    for record in (with_news(told, ReportBuilt(build_report(told, RunResults()))), other):
        assert await life.ledger.add(record) is None
    report = life.reporter.report

    async def fail_at_one(record: RunRecord, results: RunResults) -> RunRecord:
        if record.run == told.run:
            await asyncio.sleep(1.0)
            raise ZeroDivisionError
        return await report(record, results)

    life.reporter.report = fail_at_one  # type: ignore[method-assign]
    await life.start()
    await asyncio.sleep(5.0)
    assert world.deaths
    assert len(world.results_of(other.run.run_id)) == 1
    await life.aclose()
    await world.aclose()


def test_a_report_that_nobody_settles_any_more_holds_up_no_other() -> None:
    run_in_virtual_time(play_a_report_that_nobody_settles())


async def play_a_run_whose_turn_comes_while_the_disk_is_full() -> None:
    """Where creating is starting: a process that came after a kill would not know that it was asked for."""
    world = World(creates_pending=False)
    world.service.script = Script(duration=5.0)
    life = CoreLife(world, None, Patience(create=60.0))
    await life.start()
    first = make_run(backend=STORED, accepted_at=time.time(), creates_pending=False)
    second = make_run(
        backend=STORED, accepted_at=time.time(), creates_pending=False, prerequisites=(first.run_id,)
    )
    await life.obey(first)
    obeying = asyncio.create_task(life.obey(second))
    await asyncio.sleep(1.0)
    world.disk_is_full = True
    await asyncio.sleep(30.0)
    assert len(world.results_of(first.run_id)) == 1
    assert world.service.calls["create"] == 1
    world.disk_is_full = False
    await asyncio.sleep(100.0)
    assert world.service.calls["create"] == 2
    assert len(world.results_of(second.run_id)) == 1
    assert world.deaths == []
    await obeying
    await life.aclose()
    await world.aclose()


def test_where_creating_is_starting_nothing_is_asked_for_while_the_disk_is_full() -> None:
    run_in_virtual_time(play_a_run_whose_turn_comes_while_the_disk_is_full())
