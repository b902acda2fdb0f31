"""What real UWS servers do otherwise than the standard wishes, and what a client of the CSC sees of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from lsst.ts.ocps.csc import aborts, reconcile
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.uws.run_id import new_run_id
from support.csc import TIMEOUT, eventually
from support.http_server import Behaviour, Reply, Request, status
from support.served_csc import Served, ServedBench, start
from support.uws_server import UwsServer, _Job

pytestmark = pytest.mark.asyncio

COMPLETE, FAILED, ABORTED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED, SalRetCode.CMD_ABORTED
INPROGRESS = SalRetCode.CMD_INPROGRESS


@pytest.fixture(autouse=True)
def _told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who aborts a job is told earlier than after a second that it takes longer."""
    monkeypatch.setattr(aborts, "_SHORT", 0.1)
    monkeypatch.setattr(aborts, "_POLL", 0.02)


def aborts_sent(server: UwsServer) -> int:
    return sum(request.field("PHASE") == "ABORT" for request in server.sent("POST", "/phase"))


async def start_executing(served: Served, duration: float = 60.0) -> tuple[Any, str]:
    """Run a job, and wait until it executes: its first acknowledgement and its id."""
    ack = await served.sleep(duration=duration)
    await eventually(lambda: "EXECUTING" in served.spy.phases())
    job_id: str = json.loads(ack.result)["job_id"]
    return ack, job_id


async def test_rule_6_an_abort_that_takes_effect_after_its_answer_is_asked_for_once_and_waited_for(
    served_bench: ServedBench,
) -> None:
    served_bench.be_patient(abort=TIMEOUT)
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)
        server.abort_delay = 0.4
        ack, job_id = await start_executing(served)
        first = await start(served.remote, "abort_job", job_id=job_id)
        # What is read right after the answer still says EXECUTING.
        assert (first.ack, first.result) == (INPROGRESS, "asked to abort")
        assert server.jobs[job_id].phase == "EXECUTING"
        assert served.spy.of("job_result") == []
        assert (await served.end(first, "abort_job")).ack == COMPLETE
        assert (await served.end(ack)).ack == ABORTED
        (result,) = await served.spy.wait_for("job_result")
        document = json.loads(result.result)
        assert (result.exit_code, document["phase"], document["jobId"]) == (255, "ABORTED", job_id)
        assert aborts_sent(server) == 1


async def test_rule_6_an_abort_of_a_job_of_somebody_else_that_takes_effect_later_is_waited_for(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)
        server.abort_delay = 0.4
        server.jobs["77"] = _Job("77", "sleep", [])
        server.force("77", "EXECUTING")
        first = await start(served.remote, "abort_job", job_id="77")
        assert (first.ack, server.jobs["77"].phase) == (INPROGRESS, "EXECUTING")
        assert (await served.end(first, "abort_job")).ack == COMPLETE
        assert server.jobs["77"].phase == "ABORTED"
        assert aborts_sent(server) == 1


def never_aborts(behaviour: Behaviour | None) -> Behaviour:
    """What a server does that does not support ABORT."""

    async def behave(request: Request) -> Reply | None:
        is_abort = request.method == "POST" and request.field("PHASE") == "ABORT"
        return await behaviour(request) if is_abort and behaviour is not None else None

    return behave


@pytest.mark.parametrize("code", [303, 403, 501])
async def test_rule_6_a_server_that_never_aborts_has_the_abort_failed_and_the_job_reported(
    served_bench: ServedBench, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(aborts, "_LONG", 0.2)
    served_bench.be_patient(abort=0.1)
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)
        if code == 303:
            server.abort_delay = TIMEOUT
        else:
            server.habit = never_aborts(status(code, "UsageError: ABORT is not supported"))
        ack, job_id = await start_executing(served)
        first = await start(served.remote, "abort_job", job_id=job_id)
        assert first.ack == INPROGRESS
        final = await served.end(first, "abort_job")
        assert final.ack == FAILED
        assert f"job {job_id} is still EXECUTING: its abort is not confirmed" in final.result
        await eventually(lambda: aborts_sent(server) > 1)
        server.force(job_id, "COMPLETED")
        # What it has done is not called aborted.
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["phase"]) == (0, "COMPLETED")


async def test_a_server_of_uws_1_0_runs_one_job_though_the_answer_to_its_creation_was_lost(
    served_bench: ServedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_INTERVAL", 0.3)
    async with served_bench.serve("uws") as server:
        assert isinstance(server, UwsServer)
        server.version = "1.0"

        async def create_and_drop(request: Request) -> Reply:
            await server.answer(request)
            return Reply(0, closes=True)

        async with served_bench.running() as served:
            server.misbehave("POST", "/async", create_and_drop)
            ack = await served.sleep(duration=0.3, value='{"n": 9}')
            assert (await served.end(ack)).ack == COMPLETE
            (result,) = await served.spy.wait_for("job_result")
            document = json.loads(result.result)
            assert (result.exit_code, document["phase"], document["value"]) == (0, "COMPLETED", {"n": 9})
            # Nobody knows in its list which job is whose, and one that waits for ever is in nobody's way; but
            # its own document tells, and it is deleted.
            await eventually(lambda: len(server.jobs) == 1)
            (job,) = server.jobs.values()
            assert (job.job_id, job.phase) == (document["jobId"], "COMPLETED")
            assert len(server.sent("POST", "/phase")) == 1
            assert len(server.sent("POST", "/async")) == 2


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_running_job_of_ours_that_no_ledger_knows_is_reported(
    served_bench: ServedBench, version: str
) -> None:
    """Also where a back end has some of the payloads only, and where a list tells no run_ids."""
    async with served_bench.serve("uws") as server:
        assert isinstance(server, UwsServer)
        server.version = version
        ours, others = new_run_id("test", 1), new_run_id("test-1", 1)
        for job_id, run_id in (("1", ours), ("2", others), ("3", "a-b"), ("4", "")):
            server.jobs[job_id] = _Job(job_id, "sleep", [("RUNID", run_id)])
            server.force(job_id, "EXECUTING")
        async with served_bench.running() as served:
            # What is written at the start may come before anybody listens.
            await eventually(lambda: served.csc.context.tracker.active)
            server.force("1", "COMPLETED")
            (result,) = await served.spy.wait_for("job_result")
            assert (result.exit_code, json.loads(result.result)["runId"]) == (0, ours)
            await served.spy.wait_for("job_phase")
            assert {event.run_id for event in served.spy.of("job_phase")} == {ours}


async def test_a_prerequisite_that_nobody_knows_counts_as_ended_where_a_back_end_has_some_payloads_only(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        ack = await start(served.remote, payload="sleep", prereq_jobs="vanished")
        assert (await served.end(ack)).ack == COMPLETE
        assert any("vanished" in event.message for event in served.spy.of("job_phase"))
        assert len(server.sent("POST", "/phase")) == 1


async def test_a_server_without_any_of_the_lists_is_no_proof_that_a_job_is_unknown(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)
        server.payloads.clear()
        ack = await start(served.remote, "abort_job", job_id="77")
        assert ack.ack == FAILED
        assert "async: 404 Not Found" in ack.result


async def test_results_that_are_listed_before_there_are_any_are_told_and_read_at_the_end(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)

        async def list_early(request: Request) -> Reply:
            reply = await server.answer(request)
            early = b'<uws:results><uws:result id="result.json" xlink:href="/nothing/yet"/></uws:results>'
            return replace(reply, body=reply.body.replace(b"<uws:results></uws:results>", early))

        server.habit = list_early
        ack, job_id = await start_executing(served, duration=0.3)
        assert served.spy.of("job_output") == []
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        document = json.loads(result.result)
        own = f"{server.url}/sleep/async/{job_id}/results/result.json"
        assert document["results"] == [{"id": "result.json", "uri": own}]
        (output,) = await served.spy.wait_for("job_output")
        assert output.url == own
        assert server.sent("GET", "/nothing/yet") == []
