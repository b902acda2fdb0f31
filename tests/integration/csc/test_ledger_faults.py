"""A ledger that the disk does not take, or has spoiled (design sections 5 "States" and 6)."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lsst.ts.ocps.csc import adoption, reconcile
from lsst.ts.ocps.csc.adoption import find_lost_runs
from lsst.ts.ocps.csc.backends import BackendPool
from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.csc.records import RunRecord
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, eventually, final_ack
from support.served_csc import ServedBench
from support.uws_server import UwsServer

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def start(remote: Remote) -> Any:
    return await remote.cmd_run.set_start(payload="echo", wait_done=False, timeout=TIMEOUT)


@asynccontextmanager
async def started(bench: CscBench, state: State) -> AsyncIterator[OcpsCsc]:
    """A CSC on its way to a state, where it may not stay."""
    csc = OcpsCsc(
        index=1,
        config_dir=bench.config_dir,
        initial_state=state,
        opener=bench.open_backend,
        patience=bench.patience,
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            await csc.start_task
        yield csc
    finally:
        await csc.close()


@pytest.mark.parametrize("state", [State.STANDBY, State.ENABLED])
async def test_states_fault_3_a_damaged_ledger_is_kept_aside_and_its_jobs_are_found_on_the_back_end(
    csc_bench: CscBench, state: State
) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        await start(remote)
        await eventually(lambda: csc.context.tracker.active[0].phase is P.EXECUTING)
        # As after a kill, but with a disk that has spoiled the file.
        await csc.context.tracker.aclose()
    ledger = csc_bench.state_dir / "ocps-1.sqlite3"
    ledger.write_bytes(b"\0" * 4096 + ledger.read_bytes()[4096:])
    async with csc_bench.remote() as remote, started(csc_bench, state) as csc:
        await eventually(lambda: csc.summary_state is State.FAULT)
        code = csc.evt_errorCode.data
        (aside,) = csc_bench.state_dir.glob("ocps-1.sqlite3.damaged-*")
        assert code.errorCode == FaultCode.LEDGER_UNUSABLE
        assert str(ledger) in code.errorReport
        assert aside.name in code.errorReport
        await remote.cmd_standby.start(timeout=TIMEOUT)
        await remote.cmd_start.start(timeout=TIMEOUT)
        await remote.cmd_enable.start(timeout=TIMEOUT)
        await eventually(lambda: csc.context.tracker.active)
        (url,) = csc_bench.service.jobs()
        csc_bench.service.force(url, P.COMPLETED)
        assert (await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)).exit_code == 0
        csc_bench.on_end()
        assert (await final_ack(remote, "run", await start(remote))).ack == SalRetCode.CMD_COMPLETE


async def test_what_a_full_disk_did_not_take_is_made_up_for_at_the_end_at_the_latest(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=0.2)
    async with csc_bench.remote() as remote:
        async with csc_bench.csc() as csc:
            ack = await start(remote)
            connection = csc.context.ledger._connection
            connection.execute("PRAGMA query_only = ON")
            assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
            await eventually(lambda: not csc.context.tracker._followers)
            connection.execute("PRAGMA query_only = OFF")
        async with csc_bench.csc(State.STANDBY) as csc:
            assert await csc.context.ledger.unfinished() == []
        await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        assert remote.evt_job_result.nqueued == 0


async def test_a_run_accepted_while_lost_jobs_are_looked_for_is_not_taken_for_one(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    csc_bench.on_end(duration=math.inf)
    looked = asyncio.Event()

    async def look_late(pool: BackendPool, *arguments: Any) -> AsyncIterator[RunRecord]:
        await eventually(
            lambda: [job for job in csc_bench.service.jobs().values() if job.phase is P.EXECUTING]
        )
        async for record in find_lost_runs(pool, *arguments):
            looked.set()
            yield record

    monkeypatch.setattr(adoption, "find_lost_runs", look_late)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        ack = await start(remote)
        async with asyncio.timeout(TIMEOUT):
            await looked.wait()
        await eventually(lambda: not any("adopt" in task.get_name() for task in asyncio.all_tasks()))
        assert "lost" not in caplog.text
        (url,) = csc_bench.service.jobs()
        csc_bench.service.force(url, P.COMPLETED)
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        assert csc.summary_state is State.ENABLED


async def test_jobs_of_a_lost_ledger_are_found_when_their_service_is_back(
    served_bench: ServedBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reconcile, "_INTERVAL", 0.3)
    async with served_bench.serve("uws") as server:
        assert isinstance(server, UwsServer)
        async with served_bench.running() as served:
            await served.sleep(duration=TIMEOUT)
            await eventually(lambda: "EXECUTING" in served.spy.phases())
            (job_id,) = server.jobs
            # As after a kill, and the loss of the disk.
            await served.csc.context.tracker.aclose()
        for file in served_bench.state_dir.iterdir():
            file.unlink()
        server.go_down()
        async with served_bench.running() as served:
            await eventually(lambda: "jobs of a lost ledger cannot be looked for yet" in caplog.text)
            asked = len(server.missed)
            await eventually(lambda: [one for one in server.missed[asked:] if one.path.endswith("/async")])
            assert served.csc.context.tracker.active == []
            server.come_up()
            await eventually(lambda: served.csc.context.tracker.active)
            server.force(job_id, "COMPLETED")
            (result,) = await served.spy.wait_for("job_result")
            assert (result.job_id, result.exit_code) == (job_id, 0)
            assert len(server.jobs) == 1
