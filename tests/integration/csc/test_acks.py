"""Design section 5, "Acks": each rule shown on the CSC with the in-memory broker and a fake service."""

import asyncio
import itertools
import json
import math
from typing import Any

import pytest

from lsst.ts.ocps.client.errors import BackendUnavailableError, RequestRefusedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, Spy, check_pairs, eventually, final_ack, write_configuration

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def start(remote: Remote, command: str = "run", **fields: Any) -> Any:
    """Send a command; its first acknowledgement, whatever it is."""
    values = {"payload": "echo"} | fields if command == "run" else fields
    topic = getattr(remote, f"cmd_{command}")
    try:
        return await topic.set_start(wait_done=False, timeout=TIMEOUT, **values)
    except AckError as error:
        return error.ackcmd


async def run_to_end(remote: Remote, command: str = "run", **fields: Any) -> Any:
    return await final_ack(remote, command, await start(remote, command, **fields))


async def test_rule_1_the_first_ack_is_in_progress_with_job_id_and_expected_duration(
    csc_bench: CscBench,
) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote)
        assert (ack.ack, ack.error) == (SalRetCode.CMD_INPROGRESS, 0)
        assert json.loads(ack.result) == {"job_id": "1"}
        assert ack.timeout == 30
        ack = await start(remote, "execute", pipeline="p.yaml")
        assert json.loads(ack.result) == {"job_id": "2"}
        assert ack.timeout == 600


async def test_rule_1_and_defect_18_in_progress_is_repeated_before_it_runs_out(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=1.5)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        acks = [await start(remote, payload="short")]
        while acks[-1].ack == SalRetCode.CMD_INPROGRESS:
            acks.append(await remote.cmd_run.next_ackcmd(acks[-1], timeout=TIMEOUT, wait_done=False))
        assert len(acks) > 2
        assert {ack.result for ack in acks[:-1]} == {'{"job_id":"1"}'}
        assert [ack.timeout for ack in acks[:2]] == [0.5, 30]
        assert acks[-1].ack == SalRetCode.CMD_COMPLETE


async def test_rule_2_events_come_in_order_and_once(csc_bench: CscBench) -> None:
    csc_bench.on_end(
        # Long enough for a slow machine to see both phases.
        queued=1.0,
        duration=1.0,
        results={"result.json": b'{"a": 1}', "metrics.json": b'[{"name": "m", "value": 2}]', "x.fits": b"12"},
    )
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        final = await run_to_end(remote, label="night 1")
        await spy.wait_for("job_result")
        assert spy.names() == [
            "job_id",
            *["job_phase"] * 4,
            *["job_output"] * 3,
            "job_metric",
            "job_result",
        ]
        assert spy.phases() == ["PENDING", "QUEUED", "EXECUTING", "COMPLETED"]
        assert [event.phase_code for event in spy.of("job_phase")] == [1, 2, 3, 4]
        (job_id,) = spy.of("job_id")
        assert (job_id.event_name, job_id.job_id) == ("cmd_run", "1")
        last = spy.of("job_phase")[-1]
        assert (last.label, last.payload, last.seq_num) == ("night 1", "echo", job_id.seq_num)
        assert last.requester == final.identity != ""
        assert last.creation_time < last.start_time < last.end_time
        assert {output.output_id: output.byte_size for output in spy.of("job_output")}["x.fits"] == 2


async def test_rule_2_result_and_ack_of_one_job_are_never_interleaved_with_anothers(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=0.05)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)

        async def client(remote: Remote) -> tuple[str, Any]:
            ack = await start(remote, "execute")
            return json.loads(ack.result)["job_id"], await final_ack(remote, "execute", ack)

        finals = dict(await asyncio.gather(*(client(remote) for _ in range(10))))
        # Clients share one event queue: the order over jobs is the same in both topics (baseline section 7).
        check_pairs(await spy.wait_for("job_result", 10), finals)
        assert len(finals) == 10


async def test_rule_2_half_a_second_lies_between_the_first_ack_and_the_end(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        # A ts_salobj Remote that has not called next_ackcmd by then would raise.
        ack = await start(remote)
        final = await final_ack(remote, "run", ack)
        (result,) = await spy.wait_for("job_result")
        assert final.ack == SalRetCode.CMD_COMPLETE
        assert result.private_sndStamp - ack.private_sndStamp >= 0.5


@pytest.mark.parametrize(
    ("outcome", "exit_code", "run_code", "execute_code"),
    [
        (P.COMPLETED, 0, SalRetCode.CMD_COMPLETE, SalRetCode.CMD_COMPLETE),
        (P.ERROR, 1, SalRetCode.CMD_FAILED, SalRetCode.CMD_COMPLETE),
        (P.ABORTED, 255, SalRetCode.CMD_ABORTED, SalRetCode.CMD_ABORTED),
        (P.ARCHIVED, 1, SalRetCode.CMD_FAILED, SalRetCode.CMD_FAILED),
    ],
)
async def test_rules_3_and_4_exit_code_and_final_ack_tell_how_it_ended(
    csc_bench: CscBench,
    outcome: ExecutionPhase,
    exit_code: int,
    run_code: SalRetCode,
    execute_code: SalRetCode,
) -> None:
    csc_bench.on_end(outcome, duration=0.05, error="no flats")
    async with csc_bench.csc(), csc_bench.remote() as remote:
        run = await run_to_end(remote)
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        document = json.loads(result.result)
        assert (result.job_id, document["jobId"], result.exit_code) == ("1", "1", exit_code)
        assert document["phase"] == outcome.value
        assert run.ack == run_code
        execute = await run_to_end(remote, "execute")
        assert execute.ack == execute_code
        # Every failing acknowledgement has error 1, as those of other components have.
        for final in (run, execute):
            assert final.error == (0 if final.ack == SalRetCode.CMD_COMPLETE else 1)
        if outcome is P.COMPLETED:
            assert run.result == result.result
        if outcome is P.ERROR:
            assert run.result == "Failed: no flats"
        if execute_code is SalRetCode.CMD_COMPLETE:
            assert execute.result == "Done"


async def test_rule_3_a_job_id_with_odd_characters_is_told_as_our_run_id(csc_bench: CscBench) -> None:
    csc_bench.service._numbers = iter(["job 1/x"])  # type: ignore[assignment]
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        phase, *_ = await spy.wait_for("job_phase")
        assert json.loads(ack.result)["job_id"] == phase.job_id == phase.run_id
        assert phase.url.endswith("job 1/x")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"payload": "nothing"}, ["nothing", "echo"]),
        ({"parameters": "{"}, ["parameters"]),
        ({"parameters": "[]"}, ["parameters"]),
        (
            {"parameters": '{"count": "two", "colour": 1}', "prereq_jobs": "a/b"},
            ["count", "colour", "prereq_jobs"],
        ),
    ],
)
async def test_rule_5_a_wrong_command_gets_one_failed_that_names_every_problem_and_no_job(
    csc_bench: CscBench, fields: dict[str, str], words: list[str]
) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote, **fields)
        assert (ack.ack, ack.error) == (SalRetCode.CMD_FAILED, 1)
        assert all(word in ack.result for word in words)
    assert csc_bench.service.calls["create"] == 0


async def test_rule_5_a_back_end_that_is_down_is_one_failed_that_names_it(csc_bench: CscBench) -> None:
    write_configuration(csc_bench.config_dir.parents[1], create_timeout=1.0)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        csc_bench.service.is_available = False
        ack = await start(remote)
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "back end fake" in ack.result
        csc_bench.service.is_available = True
        assert (await run_to_end(remote)).ack == SalRetCode.CMD_COMPLETE
        await eventually(lambda: remote.evt_job_result.nqueued == 1)
        assert csc.context.tracker.active == []


async def test_rule_5_what_the_back_end_refuses_is_one_failed_with_its_words(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        csc_bench.service.fail("create", RequestRefusedError("fake", "quota exceeded", status=403))
        ack = await start(remote)
        assert (ack.ack, ack.error) == (SalRetCode.CMD_FAILED, 1)
        assert "quota exceeded" in ack.result
        assert csc_bench.service.calls["create"] == 1


async def test_rule_5_beyond_the_limit_of_a_payload_that_rejects(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        first, second = await asyncio.gather(*(start(remote, payload="exclusive") for _ in range(2)))
        assert sorted([first.ack, second.ack]) == [SalRetCode.CMD_FAILED, SalRetCode.CMD_INPROGRESS]
        failed = first if first.ack == SalRetCode.CMD_FAILED else second
        assert "exclusive is busy" in failed.result


async def test_a_payload_that_queues_runs_one_after_another(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.3)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        acks = await asyncio.gather(*(start(remote, payload="narrow") for _ in range(3)))
        assert {ack.ack for ack in acks} == {SalRetCode.CMD_INPROGRESS}
        await asyncio.gather(*(final_ack(remote, "run", ack) for ack in acks))
        spans = sorted((job.start_time, job.end_time) for job in csc_bench.service.jobs().values())
        for (_, end), (begin, _) in itertools.pairwise(spans):
            assert begin is not None
            assert end is not None
            assert end <= begin
        await spy.wait_for("job_result", 3)


@pytest.mark.parametrize("by", ["job_id", "run_id"])
async def test_rule_6_abort_by_job_id_and_by_run_id(csc_bench: CscBench, by: str) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await start(remote)
        phase = (await spy.wait_for("job_phase"))[0]
        done = await remote.cmd_abort_job.set_start(job_id=f" {getattr(phase, by)} ", timeout=TIMEOUT)
        assert done.ack == SalRetCode.CMD_COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_ABORTED
        (result,) = await spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["jobId"]) == (255, "1")
        assert csc_bench.service.calls["delete"] == 0


async def test_rule_6_an_aborted_job_may_be_aborted_again_and_an_ended_one_may_not(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote)
        for _ in range(2):
            assert (await start(remote, "abort_job", job_id="1")).ack == SalRetCode.CMD_COMPLETE
        await final_ack(remote, "run", ack)
        assert (await start(remote, "abort_job", job_id="1")).ack == SalRetCode.CMD_COMPLETE
        csc_bench.on_end()
        await run_to_end(remote)
        refused = await start(remote, "abort_job", job_id="2")
        assert refused.ack == SalRetCode.CMD_FAILED
        assert "COMPLETED" in refused.result
        assert csc_bench.service.calls["abort"] == 1
        assert csc_bench.service.calls["delete"] == 0


@pytest.mark.parametrize("job_id", ["", "../../etc", "a b", "99", "1?x=y"])
async def test_rule_6_an_unknown_id_is_never_passed_on(csc_bench: CscBench, job_id: str) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote, "abort_job", job_id=job_id)
        assert ack.ack == SalRetCode.CMD_FAILED
        assert csc_bench.service.calls["abort"] == csc_bench.service.calls["delete"] == 0


async def test_rule_6_a_job_of_somebody_else_in_the_list_can_be_aborted(csc_bench: CscBench) -> None:
    from lsst.ts.ocps.client.base import Submission  # noqa: PLC0415 (used by this test alone)
    from lsst.ts.ocps.client.testing import FakeBackend  # noqa: PLC0415 (same)

    csc_bench.on_end(duration=math.inf)
    other = FakeBackend("other", csc_bench.service)
    created = await other.create(Submission("echo", "somebody-else"))
    await other.start(created.url)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        assert (await start(remote, "abort_job", job_id="1")).ack == SalRetCode.CMD_COMPLETE
        assert csc_bench.service.jobs()[created.url].phase is P.ABORTED
        assert remote.evt_job_result.nqueued == 0


async def test_rule_6_and_defect_19_a_job_that_waits_for_a_prerequisite_can_be_aborted(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        await start(remote)
        ack = await start(remote, prereq_jobs="1")
        assert (await start(remote, "abort_job", job_id="2")).ack == SalRetCode.CMD_COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_ABORTED
        jobs = list(csc_bench.service.jobs())
        assert csc_bench.service.runs_of(jobs[1]) == 0


async def test_rule_6_the_abort_of_a_job_whose_back_end_is_away_is_repeated_until_it_works(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await start(remote)
        csc_bench.service.fail("abort", *(BackendUnavailableError("fake", "away") for _ in range(3)))
        aborting = asyncio.create_task(start(remote, "abort_job", job_id="1"))
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_ABORTED
        done = await aborting
        if done.ack == SalRetCode.CMD_INPROGRESS:
            done = await final_ack(remote, "abort_job", done)
        assert done.ack == SalRetCode.CMD_COMPLETE


async def test_detached_commands_are_complete_when_the_job_is_accepted(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.1)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        ack = await remote.cmd_run.set_start(payload="echo", detach=True, timeout=TIMEOUT)
        told = json.loads(ack.result)
        assert ack.ack == SalRetCode.CMD_COMPLETE
        assert told.keys() == {"job_id", "run_id"}
        (result,) = await spy.wait_for("job_result")
        assert json.loads(result.result)["runId"] == told["run_id"]


async def test_defect_19_prerequisites_have_ended_before_a_job_starts_well_or_badly(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(P.ERROR, duration=0.4)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        await asyncio.gather(start(remote), start(remote))
        ack = await start(remote, prereq_jobs="1, 2,,vanished")
        assert json.loads(ack.result) == {"job_id": "3"}
        await final_ack(remote, "run", ack)
        jobs = sorted(csc_bench.service.jobs().values(), key=lambda job: job.job_id)
        ends = [job.end_time for job in jobs[:2] if job.end_time is not None]
        assert jobs[2].start_time is not None
        assert jobs[2].start_time >= max(ends)
        assert any("vanished" in event.message for event in spy.of("job_phase"))
