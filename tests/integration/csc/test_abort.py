"""Design section 5, "Acks", rule 6: ``abort_job`` in every phase, by either id, as often as anybody likes."""

import asyncio
import json
import math
from typing import Any

import pytest

from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack
from support.http_server import status
from support.served_csc import KINDS, ServedBench

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
COMPLETE, ABORTED, FAILED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_ABORTED, SalRetCode.CMD_FAILED


async def start(remote: Remote, **fields: Any) -> Any:
    try:
        return await remote.cmd_run.set_start(
            wait_done=False, timeout=TIMEOUT, **({"payload": "echo"} | fields)
        )
    except AckError as error:
        return error.ackcmd


async def abort(remote: Remote, job_id: str) -> Any:
    try:
        return await remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
    except AckError as error:
        return error.ackcmd


async def test_rule_6_the_intent_is_in_the_ledger_before_the_back_end_is_asked(
    memory_csc: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        ack = await start(remote)
        written: list[bool] = []
        serve = memory_csc.service.serve

        async def look(backend: str, operation: str, work: Any) -> Any:
            if operation == "abort":
                record = await csc.context.ledger.find("1")
                written.append(record is not None and record.abort_requested)
            return await serve(backend, operation, work)

        monkeypatch.setattr(memory_csc.service, "serve", look)
        assert (await abort(remote, "1")).ack == COMPLETE
        assert written == [True]
        assert (await final_ack(remote, "run", ack)).ack == ABORTED


@pytest.mark.parametrize("phase", [P.QUEUED, P.EXECUTING, P.HELD, P.SUSPENDED, P.UNKNOWN])
async def test_rule_6_a_job_is_aborted_in_every_phase_in_which_it_lives(
    memory_csc: CscBench, phase: ExecutionPhase
) -> None:
    memory_csc.on_end(duration=math.inf, queued=math.inf if phase is P.QUEUED else 0)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        if phase not in {P.QUEUED, P.EXECUTING}:
            await spy.wait_for("job_phase", 2)
            (url,) = memory_csc.service.jobs()
            memory_csc.service.force(url, phase)
        await eventually(lambda: phase.value in spy.phases())
        assert (await abort(remote, "1")).ack == COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == ABORTED
        (result,) = await spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["phase"]) == (255, "ABORTED")


async def test_rule_6_a_run_that_waits_for_a_slot_is_aborted_and_never_runs(memory_csc: CscBench) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        first = await start(remote, payload="narrow")
        second = await start(remote, payload="narrow")
        assert (await abort(remote, "2")).ack == COMPLETE
        assert (await final_ack(remote, "run", second)).ack == ABORTED
        assert (await abort(remote, "1")).ack == COMPLETE
        assert (await final_ack(remote, "run", first)).ack == ABORTED
        assert [memory_csc.service.runs_of(url) for url in memory_csc.service.jobs()] == [1, 0]


async def test_rule_6_a_run_without_a_job_is_aborted_by_its_run_id(memory_csc: CscBench) -> None:
    async with memory_csc.csc(), memory_csc.remote() as remote:
        spy = Spy(remote)
        memory_csc.service.fail("create", *(BackendUnavailableError("fake", "away") for _ in range(99)))
        sending = asyncio.create_task(start(remote))
        told = remote.evt_active_jobs
        await eventually(lambda: told.get() is not None and len(told.get().jobs) > 2)
        (job,) = json.loads(told.get().jobs)
        assert job["job_id"] == ""
        assert (await abort(remote, job["run_id"])).ack == COMPLETE
        assert (await sending).ack == ABORTED
        (result,) = await spy.wait_for("job_result")
        assert (result.exit_code, result.job_id) == (255, job["run_id"])
    assert memory_csc.service.jobs() == {}


async def test_rule_6_many_aborts_at_once_are_one_in_effect(memory_csc: CscBench) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc(), memory_csc.remote() as remote, memory_csc.remote() as other:
        spy = Spy(remote)
        ack = await start(remote)
        (phase, *_) = await spy.wait_for("job_phase")
        names = ("1", phase.run_id, "1")
        done = await asyncio.gather(
            *(abort(who, name) for who, name in zip((remote, other, other), names, strict=True))
        )
        assert {one.ack for one in done} == {COMPLETE}
        assert (await final_ack(remote, "run", ack)).ack == ABORTED
        assert (await abort(other, "1")).ack == COMPLETE
        assert len(await spy.wait_for("job_result")) == 1
        assert memory_csc.service.calls["abort"] == 1
        assert memory_csc.service.calls["delete"] == 0


async def test_rule_6_a_job_that_failed_is_named_as_such_and_keeps_its_files(memory_csc: CscBench) -> None:
    memory_csc.on_end(P.ERROR)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        await final_ack(remote, "run", await start(remote))
        refused = await abort(remote, "1")
        assert (refused.ack, "has ended as ERROR" in refused.result) == (FAILED, True)
        assert memory_csc.service.calls["abort"] == memory_csc.service.calls["delete"] == 0
        await eventually(lambda: remote.evt_job_result.nqueued == 1)


async def test_rule_6_a_job_that_vanishes_after_an_abort_is_aborted(memory_csc: CscBench) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        await spy.wait_for("job_phase", 2)
        (url,) = memory_csc.service.jobs()
        memory_csc.service.forget(url)
        assert (await abort(remote, "1")).ack == COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == ABORTED
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 255


@pytest.mark.parametrize("kind", KINDS)
async def test_rule_6_a_job_of_somebody_else_that_has_ended_keeps_its_files(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        await served.end(await served.sleep())
        (job_id,) = server.jobs
        await eventually(lambda: not served.csc.context.tracker._followers)
        # As if another CSC had run it: this one knows nothing of it.
        served.csc.context.ledger._connection.execute("DELETE FROM runs")
        sent = len(server.requests)
        refused = await abort(served.remote, job_id)
        assert refused.ack == FAILED
        assert f"job {job_id} has ended as COMPLETED: nothing to abort" in refused.result
        assert {request.method for request in server.requests[sent:]} == {"GET"}
        assert list(server.jobs) == [job_id]


@pytest.mark.parametrize("kind", KINDS)
async def test_rule_6_a_list_that_cannot_be_read_is_named_and_is_no_unknown_job(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        server.habit = status(500, "the database is down")
        refused = await abort(served.remote, "77")
        assert refused.ack == FAILED
        assert "back end served" in refused.result
        assert "the database is down" in refused.result
