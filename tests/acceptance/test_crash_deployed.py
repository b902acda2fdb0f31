"""What is deployed today, ``execute`` on a server where creating a job starts it, with a CSC that is killed.

Nothing may be asked for twice there, whatever is not known (design section 6, point 5).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lsst.ts.ocps.salobj import AckError, Domain, Remote, SalRetCode
from support.api_server_double import ApiServerDouble
from support.crash import TIMEOUT, CrashBench
from support.deployed import CALIBRATION, deployed_body, sent_body, write_deployed_configuration
from support.run_dying_csc import DeathStep
from support.stack import BROKERS, PAYLOADS, run_stack

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("stack"),
]

STEPS = [
    DeathStep.AFTER_ROW,
    DeathStep.DURING_POST,
    DeathStep.AFTER_POST,
    DeathStep.EXECUTING,
    DeathStep.BEFORE_REPORT,
    DeathStep.BEFORE_ACK,
    DeathStep.AFTER_ACK,
]


@pytest.fixture(scope="module")
def stack_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashBench]:
    """Broker and registry."""
    folder = tmp_path_factory.mktemp("crash")
    with run_stack(BROKERS[-1], folder / "stack", [PAYLOADS]) as stack:
        yield CrashBench(stack, folder)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServerDouble]:
    """The server of the jobs, which outlives every CSC."""
    async with ApiServerDouble() as server:
        server.duration = 1.0
        yield server


@pytest.fixture
def crash_bench(stack_bench: CrashBench, server: ApiServerDouble, tmp_path: Path) -> CrashBench:
    """The same, and a CSC that gets the deployed configuration with this server in it."""
    write_deployed_configuration(tmp_path, server.base)
    stack_bench.set_variables({"DM_CONFIG_OCPS_DIR": str(tmp_path)})
    return stack_bench


async def send_execute(remote: Remote) -> Any:
    """The nightly calibration; the first acknowledgement, or the failed one."""
    try:
        return await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT, **CALIBRATION)
    except AckError as error:
        return error.ackcmd


async def die(bench: CrashBench, remote: Remote, step: DeathStep) -> "asyncio.Task[Any]":
    """Have the CSC die at a step of a command, and start it again; gives the first acknowledgement."""
    await bench.ensure_csc(remote)
    bench.arm(step)
    sending = asyncio.create_task(send_execute(remote))
    await bench.wait_for_death()
    await bench.start_csc(remote)
    return sending


@pytest.mark.parametrize("step", STEPS)
async def test_sigkill_of_the_csc_at_any_step_leaves_one_job_that_was_asked_for_once(
    crash_bench: CrashBench, server: ApiServerDouble, step: DeathStep
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        first = await (await die(crash_bench, remote, step))
        (job_id,) = server.jobs
        assert (first.ack, first.result) == (SalRetCode.CMD_INPROGRESS, f'{{"job_id":"{job_id}"}}')
        final = await remote.cmd_execute.next_ackcmd(first, timeout=TIMEOUT)
        assert (final.ack, final.result) == (SalRetCode.CMD_COMPLETE, "Done")
        document = await crash_bench.check_run(first)
        assert document["jobId"] == job_id
        (sent,) = server.sent("PUT")
        assert json.loads(sent.body)["run_id"] == document["runId"]
        assert sent_body(sent.body, "sandbox") == deployed_body(CALIBRATION)
        assert server.sent("DELETE") == []


async def test_sigkill_of_the_csc_before_it_asks_leaves_no_job_and_says_that_nothing_is_known(
    crash_bench: CrashBench, server: ApiServerDouble
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        # The ledger says that a job was to be asked for. Whether it was, nobody can tell after this.
        ack = await (await die(crash_bench, remote, DeathStep.BEFORE_POST))
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "outcome unknown, not resubmitted" in ack.result
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        while result.job_id != crash_bench.read_run(ack).run_id:
            result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        assert (result.exit_code, json.loads(result.result)["phase"]) == (1, "UNKNOWN")
        assert json.loads(result.result)["runId"] == crash_bench.read_run(ack).run_id
        assert server.jobs == {}
        assert server.sent("PUT") == []
        # It has looked for a job before it said so.
        assert server.sent("GET", "/job")
