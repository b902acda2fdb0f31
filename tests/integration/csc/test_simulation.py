"""``--simulate``: the deployed pipelines true.yaml, false.yaml, fault.yaml; nothing real is touched."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.salobj import SalRetCode, State
from support.csc import TIMEOUT, Spy, eventually
from support.deposits import list_names
from support.served_csc import Pulse, Served, ServedBench, dead_url, start

pytestmark = pytest.mark.asyncio

COMPLETE, FAILED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED


@pytest_asyncio.fixture
async def served(served_bench: ServedBench) -> AsyncIterator[Served]:
    with dead_url() as url:
        served_bench.configure("uws", url, required=True)
        csc = OcpsCsc(1, config_dir=served_bench.config_dir, initial_state=State.ENABLED, simulation_mode=1)
        async with csc, served_bench.remote() as remote:
            yield Served(csc, remote, Spy(remote), Pulse(remote))


@pytest.mark.parametrize(
    ("pipeline", "exit_code", "phase"), [("true.yaml", 0, "COMPLETED"), ("false.yaml", 1, "ERROR")]
)
async def test_a_simulated_pipeline_ends_as_it_says(
    served: Served, pipeline: str, exit_code: int, phase: str
) -> None:
    ack = await start(served.remote, "execute", pipeline=pipeline)
    job_id = json.loads(ack.result)["job_id"]
    final = await served.end(ack, "execute")
    assert (final.ack, final.result) == (COMPLETE, "Done")
    (result,) = await served.spy.wait_for("job_result")
    document = json.loads(result.result)
    assert (result.exit_code, document["phase"], document["jobId"]) == (exit_code, phase, job_id)
    assert served.csc.summary_state is State.ENABLED


async def test_states_fault_2_a_simulated_fault(served: Served) -> None:
    ack = await start(served.remote, "execute", pipeline="fault.yaml")
    assert ack.ack == SalRetCode.CMD_INPROGRESS
    await eventually(lambda: served.csc.summary_state is State.FAULT)
    assert served.csc.evt_errorCode.data.errorCode == FaultCode.SIMULATED
    assert "fault.yaml" in served.csc.evt_errorCode.data.errorReport
    assert (await served.end(ack, "execute")).ack == FAILED
    (result,) = await served.spy.wait_for("job_result")
    assert result.exit_code == 1
    assert json.loads(result.result)["jobId"] == json.loads(ack.result)["job_id"]


async def test_another_pipeline_is_refused(served: Served) -> None:
    ack = await start(served.remote, "execute", pipeline="${CP_PIPE_DIR}/cpBias.yaml")
    assert ack.ack == FAILED
    assert "is not simulated; these are: true.yaml, false.yaml, fault.yaml" in ack.result


async def test_a_payload_without_pipeline_succeeds_and_can_be_aborted(served: Served) -> None:
    assert (await served.end(await served.sleep())).ack == COMPLETE
    ack = await served.sleep()
    job_id = json.loads(ack.result)["job_id"]
    await served.remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
    assert (await served.end(ack)).ack == SalRetCode.CMD_ABORTED


async def test_the_ledger_of_real_runs_is_not_touched(served: Served, served_bench: ServedBench) -> None:
    await served.end(await served.sleep())
    assert [path.name for path in served_bench.state_dir.iterdir()] == ["simulation"]
    mode = await served.remote.evt_simulationMode.aget(timeout=TIMEOUT)
    assert mode.mode == 1


async def test_what_was_never_computed_is_not_deposited(served_bench: ServedBench, tmp_path: Path) -> None:
    place = tmp_path / "deposits"
    place.mkdir()
    with dead_url() as url:
        served_bench.configure("uws", url, required=True, deposit={"location": str(place)})
        csc = OcpsCsc(1, config_dir=served_bench.config_dir, initial_state=State.ENABLED, simulation_mode=1)
        async with csc, served_bench.remote() as remote:
            simulated = Served(csc, remote, Spy(remote), Pulse(remote))
            await simulated.end(await simulated.sleep())
            (result,) = await simulated.spy.wait_for("job_result")
    assert json.loads(result.result)["deposit"] is None
    assert list_names(place) == []
