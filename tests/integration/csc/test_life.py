"""Design section 6: nothing lost, nothing doubled, whatever fails (fake service, broker in memory)."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import BackendUnavailableError, RequestRefusedError
from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.csc.records import CommandKey, RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, observe
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.run_id import new_run_id
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack
from support.runs import make_run

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
COMPLETE = SalRetCode.CMD_COMPLETE


async def start(remote: Remote, **fields: Any) -> Any:
    try:
        return await remote.cmd_run.set_start(
            wait_done=False, timeout=TIMEOUT, **({"payload": "echo"} | fields)
        )
    except AckError as error:
        return error.ackcmd


@asynccontextmanager
async def torn(bench: CscBench) -> AsyncIterator[OcpsCsc]:
    """A CSC that ends as if it were killed: nothing more is reported, and its ledger stays as it is."""
    async with bench.csc() as csc:
        yield csc
        await csc.context.tracker.aclose()


async def unfinished(csc: OcpsCsc) -> list[RunRecord]:
    return await csc.context.ledger.unfinished()


@pytest.mark.parametrize("state", [State.STANDBY, State.DISABLED, State.ENABLED])
async def test_states_and_defect_04_a_run_of_an_earlier_life_is_followed_and_reported_in_every_state(
    csc_bench: CscBench, state: State
) -> None:
    csc_bench.on_end(duration=1.0)
    async with csc_bench.remote() as remote:
        spy = Spy(remote)
        async with torn(csc_bench):
            ack = await start(remote)
            await spy.wait_for("job_phase", 2)
        async with csc_bench.csc(state) as csc:
            final = await final_ack(remote, "run", ack)
            assert final.ack == COMPLETE
            (result,) = await spy.wait_for("job_result")
            assert final.result == result.result
            # What the broker has shown already is written down when its answer has come.
            await eventually(lambda: not csc.context.tracker._followers)
            assert await unfinished(csc) == []
        told = len(spy.of("active_jobs"))
        async with csc_bench.csc(state):
            await spy.wait_for("active_jobs", told + 1)
        assert len(spy.of("job_result")) == 1
    assert csc_bench.service.calls["create"] == 1
    (url,) = csc_bench.service.jobs()
    assert csc_bench.service.runs_of(url) == 1


async def test_a_job_that_ended_while_nobody_looked_is_reported_once(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.2, results={"result.json": b'{"a": 1}'})
    async with csc_bench.remote() as remote:
        spy = Spy(remote)
        async with torn(csc_bench):
            ack = await start(remote)
            await spy.wait_for("job_phase", 2)
        jobs = csc_bench.service.jobs
        await eventually(lambda: all(job.phase is P.COMPLETED for job in jobs().values()))
        async with csc_bench.csc(State.STANDBY):
            assert (await final_ack(remote, "run", ack)).ack == COMPLETE
            (result,) = await spy.wait_for("job_result")
            assert json.loads(result.result)["value"] == {"a": 1}


async def test_a_pending_job_of_an_earlier_life_is_started(csc_bench: CscBench) -> None:
    async with csc_bench.remote() as remote:
        spy = Spy(remote)
        async with torn(csc_bench):
            csc_bench.service.fail("start", *(BackendUnavailableError("fake", "away") for _ in range(99)))
            ack = await start(remote)
            await spy.wait_for("job_phase")
        csc_bench.service._errors.clear()
        async with csc_bench.csc(State.STANDBY):
            assert (await final_ack(remote, "run", ack)).ack == COMPLETE
    (url,) = csc_bench.service.jobs()
    assert csc_bench.service.runs_of(url) == 1


async def send_to_nobody(remote: Remote) -> tuple[asyncio.Task[Any], CommandKey]:
    """A command that no CSC has read, and the key under which a dead one had written it down."""
    sending = asyncio.create_task(start(remote))
    await eventually(lambda: remote.cmd_run.data.private_seqNum)
    return sending, CommandKey.of(remote.cmd_run.data)


@pytest.mark.parametrize("has_job", [False, True])
async def test_a_command_killed_while_its_job_was_created_gets_one_job_and_all_its_acks(
    csc_bench: CscBench, has_job: bool
) -> None:
    async with csc_bench.remote() as remote:
        sending, key = await send_to_nobody(remote)
        run = make_run(key=key, backend=csc_bench.stored_backend, accepted_at=time.time())
        if has_job:
            backend = await csc_bench.open_backend("fake", None)
            await backend.create(Submission("echo", run.run_id))
        ledger = await Ledger.open(csc_bench.state_dir, 1)
        assert await ledger.add(observe(RunRecord(run), CreateIntended())) is None
        await ledger.aclose()
        async with csc_bench.csc(State.STANDBY):
            first = await sending
            assert (first.ack, first.result) == (SalRetCode.CMD_INPROGRESS, '{"job_id":"1"}')
            assert (await final_ack(remote, "run", first)).ack == COMPLETE
            await eventually(lambda: remote.evt_job_result.nqueued == 1)
    (url,) = csc_bench.service.jobs()
    assert csc_bench.service.runs_of(url) == 1


async def test_a_command_that_got_no_job_before_a_long_break_is_refused(csc_bench: CscBench) -> None:
    async with csc_bench.remote() as remote:
        sending, key = await send_to_nobody(remote)
        run = make_run(key=key, backend=csc_bench.stored_backend, accepted_at=time.time() - 3600)
        backend = await csc_bench.open_backend("fake", None)
        await backend.create(Submission("echo", run.run_id))
        ledger = await Ledger.open(csc_bench.state_dir, 1)
        assert await ledger.add(observe(RunRecord(run), CreateIntended())) is None
        await ledger.aclose()
        async with csc_bench.csc() as csc:
            ack = await sending
            assert ack.ack == SalRetCode.CMD_FAILED
            assert "OCPS was not running" in ack.result
            await eventually(lambda: not csc.context.tracker._followers)
            await csc.context.tracker._reconciler.reconcile()
            assert await unfinished(csc) == []
        assert remote.evt_job_result.nqueued == 0
    assert csc_bench.service.jobs() == {}


async def test_a_command_that_is_under_way_when_the_csc_is_told_to_stop_is_told_so_and_never_runs(
    csc_bench: CscBench,
) -> None:
    async with csc_bench.remote() as remote:
        spy = Spy(remote)
        async with csc_bench.csc() as csc:
            csc_bench.service.delay = TIMEOUT
            sending = asyncio.create_task(start(remote))
            await eventually(lambda: csc_bench.service.calls["create"])
            await csc.close()
            assert (await sending).ack == SalRetCode.CMD_ABORTED
        csc_bench.service.delay = 0
        async with csc_bench.csc(State.STANDBY):
            (result,) = await spy.wait_for("job_result")
            assert result.exit_code == 255
    assert all(csc_bench.service.runs_of(url) == 0 for url in csc_bench.service.jobs())


async def test_an_answer_that_was_lost_at_the_creation_makes_no_second_job_run(csc_bench: CscBench) -> None:
    csc_bench.service.keeps_run_id = False
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        spy = Spy(remote)
        csc_bench.service.lose_answers("create")
        ack = await start(remote)
        assert json.loads(ack.result) == {"job_id": "2"}
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        await spy.wait_for("job_result")
        await eventually(lambda: not csc.context.tracker._followers)
        assert await unfinished(csc) == []
    runs = [csc_bench.service.runs_of(url) for url in csc_bench.service.jobs()]
    assert runs == [0, 1]


async def test_an_orphan_is_used_where_the_list_tells_of_it(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        csc_bench.service.lose_answers("create")
        ack = await start(remote)
        assert json.loads(ack.result) == {"job_id": "1"}
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
    assert csc_bench.service.calls["create"] == 1


async def test_an_orphan_is_deleted_when_it_is_found(csc_bench: CscBench) -> None:
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        # With an empty ledger the CSC looks for lost jobs first, and the error is not meant for that.
        await eventually(lambda: csc_bench.service.calls["list_jobs"])
        csc_bench.service.fail("list_jobs", RequestRefusedError("fake", "no list for you", status=403))
        csc_bench.service.lose_answers("create")
        ack = await start(remote)
        assert json.loads(ack.result) == {"job_id": "2"}
        await final_ack(remote, "run", ack)
        await eventually(lambda: not csc.context.tracker._followers)
        assert len(csc_bench.service.jobs()) == 2
        await csc.context.tracker._reconciler.reconcile()
        (job,) = csc_bench.service.jobs().values()
        assert job.job_id == "2"


async def test_an_answer_that_was_lost_at_the_start_makes_the_job_run_once(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.1)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        csc_bench.service.lose_answers("start")
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
    (url,) = csc_bench.service.jobs()
    assert csc_bench.service.runs_of(url) == 1
    assert csc_bench.service.calls["start"] == 1


async def test_a_request_to_start_that_never_arrived_is_sent_again(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        csc_bench.service.fail("start", BackendUnavailableError("fake", "away"))
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
    assert csc_bench.service.calls["start"] == 2


async def test_a_job_survives_a_back_end_that_is_away_for_a_while(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        await spy.wait_for("job_phase", 2)
        csc_bench.service.is_available = False
        (url,) = csc_bench.service.jobs()
        csc_bench.service.force(url, P.COMPLETED)
        await asyncio.sleep(1)
        assert remote.evt_job_result.nqueued == 0
        csc_bench.service.is_available = True
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 0


@pytest.mark.parametrize("phase", [P.UNKNOWN, P.SUSPENDED])
async def test_an_open_phase_is_never_an_end(csc_bench: CscBench, phase: ExecutionPhase) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        await spy.wait_for("job_phase", 2)
        (url,) = csc_bench.service.jobs()
        csc_bench.service.force(url, phase)
        await eventually(lambda: phase.value in spy.phases())
        reads = csc_bench.service.calls["read"] + csc_bench.service.calls["wait"]
        began = time.monotonic()
        await asyncio.sleep(0.5)
        # At least between_reads (0.1 s in these tests) lies between two reads that showed no change.
        most = (time.monotonic() - began) / csc_bench.patience.between_reads + 1
        assert csc_bench.service.calls["read"] + csc_bench.service.calls["wait"] - reads <= most
        assert spy.of("job_result") == []
        csc_bench.service.force(url, P.COMPLETED)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE


async def test_a_held_job_is_asked_to_run_again(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        await spy.wait_for("job_phase", 2)
        (url,) = csc_bench.service.jobs()
        csc_bench.on_end()
        csc_bench.service._records[url].script = Script()
        csc_bench.service.force(url, P.HELD)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        assert csc_bench.service.runs_of(url) == 2


async def test_states_a_run_is_followed_though_the_csc_leaves_enabled(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.5)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote)
        await remote.cmd_disable.start(timeout=TIMEOUT)
        await remote.cmd_standby.start(timeout=TIMEOUT)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        assert (await start(remote)).ack == SalRetCode.CMD_FAILED


async def test_a_slow_back_end_delays_no_other_command(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, serve, waiting = asyncio.Event(), csc_bench.service.serve, list[str]()

    async def serve_late(backend: str, operation: str, work: Callable[[], Any]) -> Any:
        if operation == "create":
            waiting.append(operation)
            await answers.wait()
        return await serve(backend, operation, work)

    monkeypatch.setattr(csc_bench.service, "serve", serve_late)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        running = [asyncio.create_task(start(remote)) for _ in range(5)]
        await eventually(lambda: len(waiting) == 5)
        await remote.cmd_setLogLevel.set_start(level=20, timeout=TIMEOUT)
        assert not any(task.done() for task in running)
        answers.set()
        for ack in await asyncio.gather(*running):
            assert (await final_ack(remote, "run", ack)).ack == COMPLETE


async def test_a_command_record_that_is_delivered_twice_starts_one_job_and_is_answered_again(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=0.2)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        data = csc.cmd_run.DataType()
        data.payload, data.private_seqNum, data.private_identity = "echo", 77, "somebody@host"
        data.private_origin, data.private_sndStamp = 5, 1e9
        # As a runtime that does not recognise duplicates calls it: twice at once, then after the end.
        first, second = await asyncio.gather(csc.do_run(data), csc.do_run(data))
        assert first.result == second.result == '{"job_id":"1"}'
        assert first.ack == second.ack == SalRetCode.CMD_INPROGRESS
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        await eventually(lambda: not csc.context.tracker._followers)
        again = await csc.do_run(data)
        assert (again.ack, again.result) == (COMPLETE, result.result)
        await remote.cmd_disable.start(timeout=TIMEOUT)
        assert (await csc.do_run(data)).ack == COMPLETE
        assert remote.evt_job_result.nqueued == 0
    assert csc_bench.service.calls["create"] == 1


def phases_in(active_jobs: Any) -> list[str]:
    return sorted(job["phase"] for job in json.loads(active_jobs.jobs))


def active_phases(spy: Spy) -> list[str] | None:
    told = spy.of("active_jobs")
    return phases_in(told[-1]) if told else None


async def test_active_jobs_tell_a_late_joiner_what_runs(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        await asyncio.gather(start(remote), start(remote, prereq_jobs="1"))
        await eventually(lambda: active_phases(spy) == ["EXECUTING", "PENDING"])
        async with csc_bench.remote(include=["active_jobs"]) as late:
            assert phases_in(late.evt_active_jobs.get()) == ["EXECUTING", "PENDING"]
        for job_id in ("1", "2"):
            await remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        await eventually(lambda: active_phases(spy) == [])


async def test_a_submission_names_our_run_id_and_the_limits_of_the_payload(csc_bench: CscBench) -> None:
    seen: list[Submission] = []

    def remember(submission: Submission) -> Script:
        seen.append(submission)
        return Script()

    csc_bench.service.script = remember
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote, parameters='{"text": "a b", "count": 2}')
        await final_ack(remote, "run", ack)
    (submission,) = seen
    assert submission.run_id.startswith("ocps-test-1-")
    assert set(submission.parameters) == {("text", "a b"), ("count", "2")}
    assert (submission.payload, submission.execution_duration) == ("echo", 300)


async def test_jobs_of_ours_are_reported_though_the_ledger_was_lost(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    backend = await csc_bench.open_backend("fake", None)
    run_id = new_run_id("test", 1)
    ours = await backend.create(Submission("echo", run_id))
    other = await backend.create(Submission("echo", new_run_id("test", 101)))
    waiting = await backend.create(Submission("echo", new_run_id("test", 1)))
    for created in (ours, other):
        await backend.start(created.url)
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        spy = Spy(remote)
        await remote.cmd_start.start(timeout=TIMEOUT)
        await spy.wait_for("job_phase")
        for created in (ours, other, waiting):
            csc_bench.service.force(created.url, P.COMPLETED)
        (result,) = await spy.wait_for("job_result")
        assert json.loads(result.result)["runId"] == run_id
        assert {phase.run_id for phase in spy.of("job_phase")} == {run_id}
        assert spy.of("job_id") == []
