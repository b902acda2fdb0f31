"""Service and CSC as processes on Apache Kafka, which is killed in the middle of a run."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import Domain, Remote, SalRetCode, State, set_summary_state
from support.processes import until
from support.sal_log import read_samples
from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("stack"),
]

TIMEOUT = 90.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    with run_stack(BROKERS[-1], tmp_path / "stack", [PAYLOADS]) as running:
        running.start_csc()
        yield running


@pytest.mark.parametrize("seconds", [1, 12], ids=["ends-in-the-outage", "ends-after-the-outage"])
async def test_a_run_survives_the_broker_with_one_job_result_and_one_final_acknowledgement(
    stack: ProcessStack, seconds: int
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
        first_ack = await remote.cmd_run.set_start(
            payload="nap", parameters=json.dumps({"seconds": seconds}), wait_done=False, timeout=TIMEOUT
        )
        job_id = json.loads(first_ack.result)["job_id"]
        await asyncio.to_thread(stack.kill_broker)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(stack.restart_broker)
        final = await remote.cmd_run.next_ackcmd(first_ack, timeout=TIMEOUT)
        assert final.ack == SalRetCode.CMD_COMPLETE
        assert json.loads(final.result)["jobId"] == job_id
        result = await remote.evt_job_result.aget(timeout=TIMEOUT)
        assert (result.job_id, result.exit_code) == (job_id, 0)
        # A second run ends after everything that could still be said of the first.
        ackcmd = await remote.cmd_run.set_start(payload="nap", parameters="{}", timeout=TIMEOUT)
        assert ackcmd.ack == SalRetCode.CMD_COMPLETE
    settings = SalSettings.from_environment()
    results = await read_samples(settings, "OCPS", "evt_job_result")
    assert [each["job_id"] for each in results].count(job_id) == 1
    assert len(results) == 2
    acks = await read_samples(settings, "OCPS", "ack_ackcmd")
    codes = [ack["ack"] for ack in acks if ack["private_seqNum"] == first_ack.private_seqNum]
    # CMD_INPROGRESS is repeated before the sender's patience runs out, the final one never.
    assert set(codes[:-1]) == {SalRetCode.CMD_INPROGRESS}
    assert codes[-1] == SalRetCode.CMD_COMPLETE


async def test_a_csc_that_is_told_to_stop_while_the_broker_is_gone_ends_by_itself(
    stack: ProcessStack,
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
        await remote.cmd_run.set_start(
            payload="nap", parameters='{"seconds": 1}', wait_done=False, timeout=TIMEOUT
        )
        # A command that is under way, for there is nobody who could create its job; and a pair to be written.
        await asyncio.to_thread(stack.kill_service)
        sending = asyncio.create_task(remote.cmd_run.set_start(payload="nap", timeout=TIMEOUT))
        await until(lambda: stack.count_runs() == 2, "the CSC has the command", seconds=TIMEOUT)
        await asyncio.to_thread(stack.kill_broker)
        # SIGKILL after 20 s is an error.
        assert await asyncio.to_thread(stack.stop_csc) == 0, stack.log_of("csc")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await asyncio.to_thread(stack.restart_broker)
