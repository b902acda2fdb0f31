"""Nothing is lost and nothing doubled, whichever process is killed at whichever step (design section 6)."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.salobj import Domain, Remote, SalRetCode
from support.crash import TIMEOUT, CrashBench, check_deposit, send_nap, send_run, write_deposited_payload
from support.run_dying_csc import DeathStep
from support.s3_server import CREDENTIALS, make_bucket, read_objects
from support.stack import BROKERS, PAYLOADS, run_stack

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("stack"),
]

ON_KAFKA = pytest.param(BROKERS[-1], marks=pytest.mark.system)

IN_DEPOSIT = (DeathStep.DURING_DEPOSIT, DeathStep.AFTER_DEPOSIT)
BUCKET = "crashed-deposits"

DEATHS = [
    # Each takes some seconds: the default suite has the one that can double a job.
    pytest.param(BROKERS[0], DeathStep.AFTER_POST),
    *(
        pytest.param(BROKERS[-1], step, marks=pytest.mark.system)
        for step in DeathStep
        if step is not DeathStep.BEFORE_ROW and step not in IN_DEPOSIT
    ),
]


@pytest.fixture(scope="module", params=[BROKERS[0], ON_KAFKA])
def crash_bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashBench]:
    """Broker, registry and service; the CSC is started by the first test, and again after each death."""
    folder = tmp_path_factory.mktemp("crash")
    payloads = folder / "payloads"
    write_deposited_payload(payloads, "kept", str(tmp_path_factory.mktemp("deposits")))
    write_deposited_payload(payloads, "kept-in-s3", f"s3://{BUCKET}/ocps")
    with run_stack(request.param, folder / "stack", [PAYLOADS, payloads]) as stack:
        yield CrashBench(stack, folder)


async def wait_for_phase(remote: Remote, job_id: str, phase: str) -> None:
    while True:
        data = await remote.evt_job_phase.next(flush=False, timeout=TIMEOUT)
        if data.job_id == job_id and data.phase == phase:
            return


async def final_ack_of(remote: Remote, first: Any) -> Any:
    assert first.ack == SalRetCode.CMD_INPROGRESS
    return await remote.cmd_run.next_ackcmd(first, timeout=TIMEOUT)


async def test_sigkill_of_the_csc_before_the_row_leaves_one_failed_and_no_job(
    crash_bench: CrashBench,
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await crash_bench.ensure_csc(remote)
        jobs = await crash_bench.list_naps()
        crash_bench.arm(DeathStep.BEFORE_ROW)
        sending = asyncio.create_task(send_nap(remote, 0))
        await crash_bench.wait_for_death()
        await crash_bench.start_csc(remote)
        ack = await sending
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "OCPS was not running" in ack.result
        await crash_bench.check_no_run(ack, jobs)


@pytest.mark.parametrize(("crash_bench", "step"), DEATHS, indirect=["crash_bench"])
async def test_sigkill_of_the_csc_at_any_step_leaves_one_job_one_job_result_and_identical_acks(
    crash_bench: CrashBench, step: DeathStep
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await crash_bench.ensure_csc(remote)
        crash_bench.arm(step)
        sending = asyncio.create_task(send_nap(remote, 1))
        await crash_bench.wait_for_death()
        await crash_bench.start_csc(remote)
        first = await sending
        assert (await final_ack_of(remote, first)).ack == SalRetCode.CMD_COMPLETE
        await crash_bench.check_run(first)


async def die(bench: CrashBench, remote: Remote, payload: str, step: DeathStep) -> Any:
    """Send ``run``, and have the CSC die at a step; the first acknowledgement."""
    await bench.ensure_csc(remote)
    bench.arm(step)
    sending = asyncio.create_task(send_run(remote, payload))
    await bench.wait_for_death()
    return await sending


@pytest.mark.parametrize("step", IN_DEPOSIT)
@pytest.mark.parametrize("crash_bench", [ON_KAFKA], indirect=True)
async def test_sigkill_of_the_csc_in_a_deposit_leaves_one_whole_set_in_the_folder_and_one_job_result(
    crash_bench: CrashBench, step: DeathStep
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        first = await die(crash_bench, remote, "kept", step)
        run = crash_bench.read_run(first)
        assert run.deposit is not None
        root, run_id = Path(run.deposit.root), run.run_id
        # What a program that looks for sets finds while no CSC runs: nothing, or all of it.
        is_there = step is DeathStep.AFTER_DEPOSIT
        assert (root / run_id).exists() == is_there
        assert (root / f".{run_id}.partial").exists() != is_there
        made_at = (root / run_id).stat().st_mtime_ns if is_there else None
        await crash_bench.start_csc(remote)
        assert (await final_ack_of(remote, first)).ack == SalRetCode.CMD_COMPLETE
        document = await crash_bench.check_run(first)
        check_deposit({path.name: path.read_bytes() for path in (root / run_id).iterdir()}, document)
        assert not (root / f".{run_id}.partial").exists()
        if is_there:
            assert (root / run_id).stat().st_mtime_ns == made_at, "a set that was whole was made again"


@pytest.mark.parametrize("step", IN_DEPOSIT)
@pytest.mark.parametrize("crash_bench", [ON_KAFKA], indirect=True)
async def test_sigkill_of_the_csc_in_a_deposit_leaves_one_whole_set_in_s3_and_one_job_result(
    crash_bench: CrashBench, step: DeathStep, s3_environment: str
) -> None:
    crash_bench.set_variables(CREDENTIALS | {"S3_ENDPOINT_URL": s3_environment})
    bucket = await make_bucket(BUCKET)
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        first = await die(crash_bench, remote, "kept-in-s3", step)
        prefix = f"ocps/{crash_bench.read_run(first).run_id}/"
        files = await read_objects(bucket, prefix)
        # A set counts only with its manifest.
        assert ("manifest.json" in files) == (step is DeathStep.AFTER_DEPOSIT)
        assert files
        await crash_bench.start_csc(remote)
        assert (await final_ack_of(remote, first)).ack == SalRetCode.CMD_COMPLETE
        document = await crash_bench.check_run(first)
        check_deposit(await read_objects(bucket, prefix), document)
        assert not crash_bench.temporary_files("ocps-deposit-"), "the killed process has left something"


@pytest.mark.parametrize("victims", [("service",), ("csc", "service")], ids=["service", "both"])
async def test_sigkill_of_the_service_while_one_job_executes_and_one_is_pending(
    crash_bench: CrashBench, victims: tuple[str, ...]
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await crash_bench.ensure_csc(remote)
        executing = await send_nap(remote, 3)
        job_id = json.loads(executing.result)["job_id"]
        pending = await send_nap(remote, 0, prereq_jobs=job_id)
        await wait_for_phase(remote, job_id, "EXECUTING")
        if "csc" in victims:
            crash_bench.stack.kill_csc()
        crash_bench.stack.kill_service()
        await asyncio.to_thread(crash_bench.stack.restart_service)
        if "csc" in victims:
            # The program as it is shipped; nobody enables it, for accepted runs are followed in every state.
            crash_bench.stack.start_csc()
        for first in (executing, pending):
            assert (await final_ack_of(remote, first)).ack == SalRetCode.CMD_COMPLETE
            await crash_bench.check_run(first)
        if "csc" in victims:
            crash_bench.stack.kill_csc()


@pytest.mark.parametrize("crash_bench", [ON_KAFKA], indirect=True)
async def test_sigkill_of_csc_service_and_broker_at_once(crash_bench: CrashBench) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await crash_bench.ensure_csc(remote)
        executing = await send_nap(remote, 3)
        job_id = json.loads(executing.result)["job_id"]
        pending = await send_nap(remote, 0, prereq_jobs=job_id)
        await wait_for_phase(remote, job_id, "EXECUTING")
        crash_bench.stack.kill_csc()
        crash_bench.stack.kill_service()
        await asyncio.to_thread(crash_bench.stack.kill_broker)
        await asyncio.to_thread(crash_bench.stack.restart_broker)
        await asyncio.to_thread(crash_bench.stack.restart_service)
        await crash_bench.start_csc(remote)
        for first in (executing, pending):
            assert (await final_ack_of(remote, first)).ack == SalRetCode.CMD_COMPLETE
            await crash_bench.check_run(first)


@pytest.mark.system
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.system)])
async def test_a_full_disk_is_fault_3_and_what_is_known_is_reported_once(
    crash_bench: CrashBench, is_killed: bool
) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await crash_bench.ensure_csc(remote)
        known = await send_nap(remote, 2)
        jobs = await crash_bench.list_naps()
        remote.evt_errorCode.flush()
        with crash_bench.full_disk():
            refused = await send_nap(remote, 0)
            assert refused.ack == SalRetCode.CMD_FAILED
            assert str(crash_bench.stack.ledger) in refused.result
            code = await remote.evt_errorCode.next(flush=False, timeout=TIMEOUT)
            assert code.errorCode == FaultCode.LEDGER_UNUSABLE
            assert str(crash_bench.stack.ledger) in code.errorReport
            assert (await final_ack_of(remote, known)).ack == SalRetCode.CMD_COMPLETE
            if is_killed:
                crash_bench.stack.kill_csc()
        if not is_killed:
            assert await asyncio.to_thread(crash_bench.stack.stop_csc) == 0
        await crash_bench.start_csc(remote)
        await crash_bench.check_run(known)
        # A killed CSC could not write down how far it had come with the commands.
        await crash_bench.check_no_run(refused, jobs, refusals=1 + is_killed)
