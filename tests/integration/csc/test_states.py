"""Design section 5, "States", and the configuration: what the CSC does in which state, and why it faults."""

import asyncio
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, ExpectedError, SalRetCode, State, set_summary_state
from support.csc import QUICK, TIMEOUT, CscBench, Spy, eventually, final_ack, write_configuration

pytestmark = pytest.mark.asyncio


async def start(remote: Remote, **fields: Any) -> Any:
    try:
        return await remote.cmd_run.set_start(
            wait_done=False, timeout=TIMEOUT, **({"payload": "echo"} | fields)
        )
    except AckError as error:
        return error.ackcmd


async def refused(command: Any, **fields: Any) -> str:
    with pytest.raises(AckError) as caught:
        await command.set_start(timeout=TIMEOUT, **fields)
    assert caught.value.ackcmd.ack == SalRetCode.CMD_FAILED
    result = caught.value.ackcmd.result
    assert isinstance(result, str)
    return result


def configure(bench: CscBench, **values: Any) -> None:
    write_configuration(bench.config_dir.parents[1], **values)


async def test_the_csc_goes_through_all_states_and_back(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.STANDBY) as csc, csc_bench.remote() as remote:
        states = await set_summary_state(remote, State.ENABLED)
        assert states == [State.STANDBY, State.DISABLED, State.ENABLED]
        await set_summary_state(remote, State.STANDBY)
        await remote.cmd_exitControl.start(timeout=TIMEOUT)
        await asyncio.wait_for(csc.done_task, TIMEOUT)


@pytest.mark.parametrize("state", [State.STANDBY, State.DISABLED, State.FAULT])
async def test_states_new_jobs_are_taken_in_enabled_only(csc_bench: CscBench, state: State) -> None:
    is_fault = state is State.FAULT
    async with csc_bench.csc(State.ENABLED if is_fault else state) as csc, csc_bench.remote() as remote:
        if is_fault:
            await csc.fault(code=FaultCode.TASK_DIED, report="for this test")
        for command, fields in ((remote.cmd_run, {"payload": "echo"}), (remote.cmd_execute, {})):
            words = "Fault state: errorCode=4" if is_fault else f"state={state!r}"
            assert f"not allowed in {words}" in await refused(command, **fields)
    assert csc_bench.service.calls["create"] == 0


@pytest.mark.parametrize("state", [State.DISABLED, State.FAULT])
async def test_states_a_job_can_be_aborted_in_disabled_and_fault(csc_bench: CscBench, state: State) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        ack = await start(remote)
        if state is State.FAULT:
            await csc.fault(code=FaultCode.TASK_DIED, report="for this test")
        else:
            await remote.cmd_disable.start(timeout=TIMEOUT)
        done = await remote.cmd_abort_job.set_start(job_id="1", timeout=TIMEOUT)
        assert done.ack == SalRetCode.CMD_COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_ABORTED


async def test_states_a_job_cannot_be_aborted_in_standby(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        assert "abort_job not allowed" in await refused(remote.cmd_abort_job, job_id="1")


async def test_a_broken_configuration_is_refused_with_file_field_value_and_reason(
    csc_bench: CscBench,
) -> None:
    folder = csc_bench.config_dir
    (folder / "_test.yaml").write_text("fault_after: 3\n")
    (folder / "night.yaml").write_text("fault_aftr: 5\nkeep_runs: never\n")
    async with csc_bench.csc(State.STANDBY) as csc, csc_bench.remote() as remote:
        text = await refused(remote.cmd_start, configurationOverride="night.yaml")
        assert "night.yaml: fault_aftr: unknown key; did you mean fault_after?" in text
        assert "night.yaml: keep_runs: " in text
        assert "'never'" in text
        assert csc.summary_state is State.STANDBY
        await remote.cmd_start.set_start(timeout=TIMEOUT)


async def test_a_file_that_is_no_yaml_is_refused(csc_bench: CscBench) -> None:
    (csc_bench.config_dir / "night.yaml").write_text("a: [")
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        assert "night.yaml" in await refused(remote.cmd_start, configurationOverride="night.yaml")


async def test_a_broken_payload_definition_is_refused_with_its_file(csc_bench: CscBench) -> None:
    (csc_bench.config_dir / "../../payloads/broken.yaml").resolve().write_text("name: broken\ncolour: red\n")
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        text = await refused(remote.cmd_start)
        assert "broken.yaml" in text
        assert "colour" in text


async def test_credentials_that_are_not_there_are_named_and_never_shown(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {"kind": "bearer", "environment": "OCPS_TEST_TOKEN"}
    backend = {"kind": "uws", "url": "http://127.0.0.1:9", "credentials": credentials}
    configure(csc_bench, backends={"fake": backend})
    csc = OcpsCsc(index=1, config_dir=csc_bench.config_dir)
    async with csc, csc_bench.remote() as remote:
        assert "OCPS_TEST_TOKEN" in await refused(remote.cmd_start)
        monkeypatch.setenv("OCPS_TEST_TOKEN", "planted-secret")
        await remote.cmd_start.start(timeout=TIMEOUT)
        stored = csc.context.pool._backends
        assert "planted-secret" not in json.dumps(list(stored))


async def test_execute_without_its_payload_fails_and_everything_else_works(csc_bench: CscBench) -> None:
    configure(csc_bench, execute_payload="absent")
    async with csc_bench.csc(), csc_bench.remote() as remote:
        assert "absent" in await refused(remote.cmd_execute)
        assert (await start(remote)).ack == SalRetCode.CMD_INPROGRESS


async def test_states_a_new_configuration_does_not_touch_a_run_that_is_under_way(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=1.0)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote)
        await remote.cmd_disable.start(timeout=TIMEOUT)
        await remote.cmd_standby.start(timeout=TIMEOUT)
        configure(csc_bench, backends={"other": {"kind": "uws", "url": "http://x"}}, default_backend="other")
        await set_summary_state(remote, State.ENABLED)
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        (url,) = csc_bench.service.jobs()
        assert url.startswith("http://fake.invalid")


async def test_defect_21_enable_is_refused_while_a_required_back_end_is_away(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.DISABLED) as csc, csc_bench.remote() as remote:
        csc_bench.service.is_available = False
        text = await refused(remote.cmd_enable)
        assert "fake at http://fake.invalid" in text
        assert csc.summary_state is State.DISABLED
        csc_bench.service.is_available = True
        await remote.cmd_enable.start(timeout=TIMEOUT)


async def test_states_fault_1_a_required_back_end_is_away_for_longer_than_fault_after(
    csc_bench: CscBench,
) -> None:
    configure(csc_bench, fault_after=0.3)
    csc_bench.patience = replace(QUICK, probe=0.1)
    csc_bench.on_end(duration=1.0)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        ack = await start(remote)
        csc_bench.service.is_available = False
        await eventually(lambda: csc.summary_state is State.FAULT)
        error = await remote.evt_errorCode.aget(timeout=TIMEOUT)
        await eventually(lambda: remote.evt_errorCode.get().errorCode == FaultCode.BACKEND_UNREACHABLE)
        error = remote.evt_errorCode.get()
        assert "http://fake.invalid" in error.errorReport
        status = json.loads(remote.evt_backend_status.get().backends)
        assert status["fake"]["connected"] is False
        csc_bench.service.is_available = True
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        await remote.cmd_standby.start(timeout=TIMEOUT)
        await set_summary_state(remote, State.ENABLED)


async def test_states_fault_1_is_for_enabled_and_there_the_time_begins_anew_when_the_back_end_is_seen(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(csc_bench, fault_after=0.1)
    csc_bench.patience = replace(QUICK, probe=0.05)
    async with csc_bench.csc(State.DISABLED) as csc, csc_bench.remote() as remote:
        reports: list[str] = []
        health, note_lost = csc.context.health, csc._note_lost

        async def note(report: str) -> None:
            reports.append(report)
            await note_lost(report)

        monkeypatch.setattr(health, "_on_lost", note)
        csc_bench.service.is_available = False
        await eventually(lambda: len(reports) > 1)
        assert csc.summary_state is State.DISABLED
        csc_bench.service.is_available = True
        await remote.cmd_enable.start(timeout=TIMEOUT)
        assert health._lost_at == {}
        await eventually(lambda: csc.summary_state is State.ENABLED)


async def test_states_a_back_end_that_is_not_required_may_be_away(csc_bench: CscBench) -> None:
    backend = {"kind": "uws", "url": "http://fake.invalid", "required": False}
    configure(csc_bench, fault_after=0.1, backends={"fake": backend})
    csc_bench.patience = replace(QUICK, probe=0.1)
    csc_bench.service.is_available = False
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        await asyncio.sleep(0.6)
        assert csc.summary_state is State.ENABLED
        assert remote.evt_backend_status.get().connected is True
        assert "fake service is down" in (await start(remote)).result


async def test_states_fault_3_a_ledger_that_cannot_be_written_takes_no_new_run_and_reports_the_old(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=0.5)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        ack = await start(remote)
        connection = csc.context.ledger._connection
        connection.execute("PRAGMA query_only = ON")
        failed = await start(remote)
        assert failed.ack == SalRetCode.CMD_FAILED
        assert "ledger" in failed.result
        await eventually(lambda: csc.summary_state is State.FAULT)
        assert csc.evt_errorCode.data.errorCode == FaultCode.LEDGER_UNUSABLE
        assert csc_bench.service.calls["create"] == 1
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        assert (await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)).exit_code == 0
        await eventually(lambda: not csc.context.tracker._followers)
        connection.execute("PRAGMA query_only = OFF")
        # What could not be written is made up for, so that the next process does not report it once more.
        await csc.context.tracker._reconciler.reconcile()
        assert await csc.context.ledger.unfinished() == []
        assert csc.context.tracker._followers == {}
        # The same process serves again.
        for name in ("standby", "start", "enable"):
            await getattr(remote, f"cmd_{name}").start(timeout=TIMEOUT)
        assert (await final_ack(remote, "run", await start(remote))).ack == SalRetCode.CMD_COMPLETE


async def test_states_fault_4_an_internal_task_died_and_its_run_is_taken_up_again(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        reporter, told = csc.context.reporter, []
        publish = reporter.publish_job

        async def fail_once(record: Any) -> None:
            told.append(record)
            if len(told) == 1:
                raise TypeError("a mistake of ours")
            await publish(record)

        monkeypatch.setattr(reporter, "publish_job", fail_once)
        ack = await start(remote)
        await eventually(lambda: csc.summary_state is State.FAULT)
        assert csc.evt_errorCode.data.errorCode == FaultCode.TASK_DIED
        assert "a mistake of ours" in csc.evt_errorCode.data.errorReport
        await csc.context.tracker._reconciler.reconcile()
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        await eventually(lambda: remote.evt_job_result.nqueued == 1)


async def test_the_payloads_and_back_ends_are_told(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.DISABLED), csc_bench.remote() as remote:
        payloads = await remote.evt_payloads.aget(timeout=TIMEOUT)
        assert payloads.names == "echo,exclusive,execute,narrow,short"
        definitions = json.loads(payloads.definitions)
        assert definitions["echo"]["description"] == "Says what it was told."
        assert definitions["echo"]["parameters"]["properties"]["count"]["minimum"] == 1
        status = await remote.evt_backend_status.aget(timeout=TIMEOUT)
        assert json.loads(status.backends)["fake"] == {
            "url": "http://fake.invalid",
            "kind": "uws",
            "version": "1.1",
            "connected": True,
            "message": "",
        }


async def test_the_numbers_of_jobs_are_told(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        await start(remote)
        await start(remote, prereq_jobs="1")
        await spy.wait_for("job_phase", 3)
        counts = remote.tel_job_counts
        await eventually(lambda: counts.get() and counts.get().executing == counts.get().waiting == 1)
        await remote.cmd_abort_job.set_start(job_id="1", timeout=TIMEOUT)
        await eventually(lambda: counts.get().aborted == 1)


async def test_two_cscs_of_one_index_cannot_share_a_ledger(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.STANDBY):
        second = OcpsCsc(index=1, config_dir=csc_bench.config_dir)
        with pytest.raises(ExpectedError, match="held by process"):
            await second.done_task
        await second.close()


async def test_a_missing_state_folder_is_said_at_the_start(csc_bench: CscBench, monkeypatch: Any) -> None:
    monkeypatch.setenv("OCPS_STATE_DIR", str(csc_bench.state_dir / "absent"))
    csc = OcpsCsc(index=1, config_dir=csc_bench.config_dir)
    with pytest.raises(ExpectedError, match="absent does not exist"):
        await csc.done_task
    await csc.close()
