"""Design section 5, "Limits", on the CSC with the in-memory broker and a fake service."""

import asyncio
import itertools
import math
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.client.base import ShellJob, Submission
from lsst.ts.ocps.client.settings import ApiServerSettings
from lsst.ts.ocps.csc.backends import to_stored_settings
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.records import RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, observe
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import CscBench, Spy, eventually, final_ack
from support.http_server import status
from support.runs import make_run
from support.served_csc import ServedBench, url_of
from support.served_csc import start as send

pytestmark = pytest.mark.asyncio

FAILED, IN_PROGRESS = SalRetCode.CMD_FAILED, SalRetCode.CMD_INPROGRESS


def configure(bench: CscBench, **values: Any) -> None:
    """Put keys into the configuration."""
    file = bench.config_dir / "_init.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | values))


async def start(remote: Remote, payload: str = "echo", **fields: Any) -> Any:
    return await send(remote, payload=payload, **fields)


async def test_default_unlimited(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        acks = await asyncio.gather(*(start(remote) for _ in range(20)))
        assert {ack.ack for ack in acks} == {IN_PROGRESS}
        await eventually(lambda: csc_bench.service.calls["start"] == 20)


async def test_mode_synchronous_is_one_at_a_time_and_the_others_are_rejected(csc_bench: CscBench) -> None:
    configure(csc_bench, mode="synchronous")
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        first = await start(remote)
        refused = await start(remote, "narrow")
        assert refused.ack == FAILED
        assert "OCPS:1 is busy: 1 run is active, mode synchronous allows 1" in refused.result
        assert csc_bench.service.calls["create"] == 1
        await remote.cmd_abort_job.set_start(job_id="1", timeout=20)
        await final_ack(remote, "run", first)
        assert (await start(remote)).ack == IN_PROGRESS


async def test_mode_synchronous_has_no_detach(csc_bench: CscBench) -> None:
    configure(csc_bench, payloads={"echo": {"mode": "synchronous"}})
    async with csc_bench.csc(), csc_bench.remote() as remote:
        refused = await start(remote, detach=True)
        assert refused.ack == FAILED
        assert "detach: payload echo is in mode synchronous, in which nothing is detached" in refused.result
        assert csc_bench.service.calls["create"] == 0
        assert (await start(remote)).ack == IN_PROGRESS


async def test_mode_asynchronous_is_a_queue_of_bounded_length(csc_bench: CscBench) -> None:
    configure(csc_bench, mode="asynchronous", max_active=1, max_queued=2)
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        acks = [await start(remote, name) for name in ("echo", "narrow", "echo", "echo")]
        assert [ack.ack for ack in acks] == [IN_PROGRESS, IN_PROGRESS, IN_PROGRESS, FAILED]
        text = "OCPS:1 is busy: 3 runs are active or waiting, max_active allows 1 and max_queued 2 more"
        assert text in acks[3].result
        await spy.wait_for("job_phase", 4)
        assert csc_bench.service.calls["start"] == 1
        await end_one_after_another(csc_bench, remote, 3)
        assert [(await final_ack(remote, "run", ack)).ack for ack in acks[:3]] == [SalRetCode.CMD_ABORTED] * 3


async def test_the_limit_of_an_instance_holds_across_its_payloads(csc_bench: CscBench) -> None:
    configure(csc_bench, instances=[{"sal_index": 1, "max_active": 2}])
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        for name in ("echo", "short", "narrow", "exclusive"):
            assert (await start(remote, name)).ack == IN_PROGRESS
        await eventually(lambda: csc_bench.service.calls["start"] == 2)
        assert len(csc.context.tracker.waiting) == 2


async def test_execute_payload_never_rejects_for_load_by_default(csc_bench: CscBench) -> None:
    configure(csc_bench, mode="synchronous")
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        acks = await asyncio.gather(*(send(remote, "execute", pipeline="p") for _ in range(3)))
        assert {ack.ack for ack in acks} == {IN_PROGRESS}
        # One at a time all the same; only execute may wait.
        assert (await start(remote)).ack == FAILED
        await end_one_after_another(csc_bench, remote, 3)
        for ack in acks:
            assert (await final_ack(remote, "execute", ack)).ack == SalRetCode.CMD_ABORTED


async def end_one_after_another(bench: CscBench, remote: Remote, count: int) -> None:
    """Abort jobs; the next one in the line runs when its turn has come, and not before."""
    service = bench.service

    def find_running() -> list[str]:
        return [job.job_id for job in service.jobs().values() if job.phase is ExecutionPhase.EXECUTING]

    for number in range(1, count + 1):
        await eventually(find_running)
        (job_id,) = find_running()
        assert service.calls["start"] == number
        await remote.cmd_abort_job.set_start(job_id=job_id, timeout=20)


async def test_execute_is_rejected_for_load_where_that_is_asked_for(csc_bench: CscBench) -> None:
    configure(csc_bench, mode="synchronous", execute_when_busy="reject")
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        assert (await send(remote, "execute", pipeline="p")).ack == IN_PROGRESS
        refused = await send(remote, "execute", pipeline="p")
        assert refused.ack == FAILED
        assert "mode synchronous allows 1" in refused.result


async def test_limits_are_taken_up_again_after_a_restart(csc_bench: CscBench) -> None:
    configure(csc_bench, max_active=1)
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        assert [(await start(remote)).ack for _ in range(2)] == [IN_PROGRESS] * 2
        await eventually(lambda: csc_bench.service.calls["start"] == 1)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        assert (await start(remote, "short")).ack == IN_PROGRESS
        await eventually(lambda: len(csc.context.tracker.waiting) == 2)
        await remote.cmd_abort_job.set_start(job_id="1", timeout=20)
        await eventually(lambda: csc_bench.service.calls["start"] == 2)
        assert len(csc.context.tracker.waiting) == 1


async def test_limits_hold_where_creating_is_starting(served_bench: ServedBench) -> None:
    async with served_bench.serve("api_server") as server:
        configure(served_bench, max_active=1)
        async with served_bench.running() as served:
            acks = await asyncio.gather(*(served.sleep(duration=0.3) for _ in range(3)))
            # The command of a run that waits has no job to tell of, and gets its first answer later.
            assert {ack.ack for ack in acks} == {IN_PROGRESS}
            for ack in acks:
                assert (await served.end(ack)).ack == SalRetCode.CMD_COMPLETE
        assert_one_after_another(server)


async def test_a_job_that_may_run_counts_after_a_restart(served_bench: ServedBench) -> None:
    async with served_bench.serve("api_server") as server:
        configure(served_bench, max_active=1)
        settings = ApiServerSettings(url=url_of(server))
        stored = to_stored_settings("served", settings)
        run = make_run(payload="other", backend=stored, creates_pending=False)
        ledger = await Ledger.open(served_bench.state_dir, 1)
        assert await ledger.add(observe(RunRecord(run), CreateIntended())) is None
        await ledger.aclose()
        backend = await served_bench.open_backend("served", settings)
        await backend.create(Submission("other", run.run_id, (("duration", "1"),), shell=ShellJob("run")))
        await backend.aclose()
        # The list does not show the job for a while, as after a slow creation.
        server.misbehave("GET", "/job", *(status(500, "busy") for _ in range(3)))
        async with served_bench.running() as served:
            ack = await served.sleep(duration=0.1)
            assert (await served.end(ack)).ack == SalRetCode.CMD_COMPLETE
        assert_one_after_another(server)


def assert_one_after_another(server: Any) -> None:
    jobs = list(server.jobs.values())
    assert len(jobs) > 1
    for before, after in itertools.pairwise(jobs):
        assert before.ended <= after.created


async def test_a_record_that_is_delivered_again_is_not_refused_because_of_its_own_run(
    csc_bench: CscBench,
) -> None:
    configure(csc_bench, mode="synchronous")
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc() as csc:
        data = csc.cmd_run.DataType(
            payload="echo", private_identity="somebody", private_origin=1, private_seqNum=7
        )
        acks = [await csc.do_run(data) for _ in range(2)]
        assert [(ack.ack, ack.result) for ack in acks] == [(IN_PROGRESS, '{"job_id":"1"}')] * 2
        assert csc_bench.service.calls["create"] == 1


async def test_an_index_without_an_entry_does_not_start(csc_bench: CscBench) -> None:
    configure(csc_bench, instances=[{"sal_index": 2, "name": "LSSTComCam"}, {"sal_index": 3}])
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        refused = await send(remote, "start")
        assert refused.ack == FAILED
        text = "instances: has no entry for sal_index 1; those there are: 2 (LSSTComCam), 3"
        assert text in refused.result


async def test_a_payload_runs_on_the_back_end_of_its_instance(csc_bench: CscBench) -> None:
    backends = {name: {"url": "http://fake.invalid"} for name in ("fake", "other", "unused")}
    instance = {"sal_index": 1, "payloads": {"short": {"backend": "other"}}}
    configure(csc_bench, backends=backends, instances=[instance])
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        csc_bench.on_end(duration=math.inf)
        for name in ("echo", "short"):
            await start(remote, name)
        names = [record.run.backend["name"] for record in csc.context.tracker.active]
        assert names == ["fake", "other"]
