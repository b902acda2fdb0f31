"""The ledger at work: a CSC that is killed in the middle of a run."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.salobj import Domain, Remote, SalRetCode, State, set_summary_state
from support.stack import BROKERS, ProcessStack, run_stack

pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("stack")]

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads"
TIMEOUT = 60.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    with run_stack(BROKERS[0], tmp_path / "stack", [PAYLOADS]) as running:
        yield running


async def start_nap(remote: Remote, seconds: float) -> Any:
    """Send ``run`` and return the first acknowledgement."""
    return await remote.cmd_run.set_start(
        payload="nap", parameters=json.dumps({"seconds": seconds}), wait_done=False, timeout=TIMEOUT
    )


async def wait_for_phase(remote: Remote, job_id: str, phase: str) -> None:
    while True:
        data = await remote.evt_job_phase.next(flush=False, timeout=TIMEOUT)
        if data.job_id == job_id and data.phase == phase:
            return


async def test_sigkill_during_a_run_and_a_restart_end_in_exactly_one_job_result(stack: ProcessStack) -> None:
    results: list[Any] = []
    fence_seen = asyncio.Event()
    fence = ""

    async def note_result(data: Any) -> None:
        results.append(data)
        if data.job_id == fence:
            fence_seen.set()

    stack.start_csc()
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
        remote.evt_job_result.callback = note_result
        first_ack = await start_nap(remote, 4)
        assert first_ack.ack == SalRetCode.CMD_INPROGRESS
        killed = json.loads(first_ack.result)["job_id"]
        await wait_for_phase(remote, killed, "EXECUTING")

        stack.kill_csc()
        stack.start_csc()
        # Nobody enables it: accepted runs are followed in every state.
        final = await remote.cmd_run.next_ackcmd(first_ack, timeout=TIMEOUT)
        assert final.ack == SalRetCode.CMD_COMPLETE
        assert json.loads(final.result)["jobId"] == killed

        # A third life, and a run that ends after everything that could still be said of the first.
        stack.kill_csc()
        remote.evt_summaryState.flush()
        stack.start_csc()
        # Commands written before a process listens are never executed.
        await remote.evt_summaryState.next(flush=False, timeout=TIMEOUT)
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
        fence_ack = await start_nap(remote, 0)
        fence = json.loads(fence_ack.result)["job_id"]
        await remote.cmd_run.next_ackcmd(fence_ack, timeout=TIMEOUT)
        if fence not in {data.job_id for data in results}:
            async with asyncio.timeout(TIMEOUT):
                await fence_seen.wait()

    counts = Counter(data.job_id for data in results)
    assert counts == {killed: 1, fence: 1}
    assert results[0].exit_code == 0
    assert json.loads(results[0].result)["phase"] == "COMPLETED"
