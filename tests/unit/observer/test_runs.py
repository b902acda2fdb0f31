import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lsst.ts.ocps.observer import runs
from lsst.ts.ocps.observer.job_events import JobEvents
from lsst.ts.ocps.observer.runs import RunOutcome, RunRequest, RunVerdict, follow_run
from lsst.ts.ocps.observer.text import ack_name
from lsst.ts.ocps.observer.updates import Update, UpdateKind
from lsst.ts.ocps.salobj import SalRetCode
from support.observer import Pair

pytestmark = pytest.mark.asyncio

JOB = "job-1"
IN_PROGRESS = json.dumps({"job_id": JOB})


async def run(
    pair: Pair,
    behave: Callable[[Any], Awaitable[None]],
    *,
    wait: bool = True,
    detach: bool = False,
    seen: list[Update] | None = None,
) -> RunOutcome:
    """Send a command to a CSC that behaves so."""

    async def do_run(data: Any) -> Any:
        await behave(data)
        # What is acknowledged is all there is: no final acknowledgement of the library.
        return pair.csc.salinfo.make_ackcmd(private_seqNum=data.private_seqNum, ack=SalRetCode.CMD_ACK)

    pair.csc.cmd_run.callback = do_run
    request = RunRequest("nap", {"seconds": 1}, label="test", prereq_jobs=("a", "b"), detach=detach)
    note = seen.append if seen is not None else lambda _: None
    async with asyncio.timeout(30):
        return await follow_run(pair.remote, JobEvents(pair.remote), request, on_update=note, wait=wait)


def kinds(outcome: RunOutcome) -> list[str]:
    return [
        ack_name(update.data.ack) if update.kind is UpdateKind.ACK else update.kind.value
        for update in outcome.updates
        if update.kind is not UpdateKind.ACK or update.data.ack != SalRetCode.CMD_ACK
    ]


async def test_the_fields_of_the_command_are_those_of_the_request(pair: Pair) -> None:
    sent: list[Any] = []

    async def behave(data: Any) -> None:
        sent.append(data)
        await pair.ack(data, SalRetCode.CMD_FAILED, "no")

    await run(pair, behave)
    (data,) = sent
    assert data.payload == "nap"
    assert json.loads(data.parameters) == {"seconds": 1}
    assert (data.label, data.prereq_jobs, data.detach) == ("test", "a,b", False)


async def test_a_completed_run_has_all_its_news_in_the_order_of_sending(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)
        await pair.csc.evt_job_id.set_write(
            force_output=True, event_name="cmd_run", seq_num=data.private_seqNum, job_id=JOB
        )
        for phase in ("PENDING", "EXECUTING", "COMPLETED"):
            await pair.tell_phase(JOB, phase)
            await pair.tell_phase("somebody-elses", phase)
        await pair.csc.evt_job_metric.set_write(job_id=JOB, metric_name="noise", value=3.0)
        await pair.tell_result(JOB, 0, json.dumps({"phase": "COMPLETED", "value": 7}))
        await pair.ack(data, SalRetCode.CMD_COMPLETE, "{}")

    seen: list[Update] = []
    outcome = await run(pair, behave, seen=seen)
    assert outcome.verdict is RunVerdict.COMPLETED
    assert outcome.job_id == JOB
    assert outcome.phases == ("PENDING", "EXECUTING", "COMPLETED")
    assert outcome.result == {"phase": "COMPLETED", "value": 7}
    phases = ["job_phase"] * 3
    assert kinds(outcome) == ["INPROGRESS", "job_id", *phases, "job_metric", "job_result", "COMPLETE"]
    assert tuple(seen) == outcome.updates


async def test_events_that_come_before_the_first_ack_are_not_lost(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        await pair.tell_phase(JOB, "PENDING")
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)
        await pair.tell_result(JOB, 0)
        await pair.ack(data, SalRetCode.CMD_COMPLETE)

    outcome = await run(pair, behave)
    assert outcome.phases == ("PENDING",)
    assert outcome.verdict is RunVerdict.COMPLETED


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (SalRetCode.CMD_FAILED, RunVerdict.FAILED),
        (SalRetCode.CMD_ABORTED, RunVerdict.ABORTED),
    ],
)
async def test_a_job_that_ends_badly_has_the_verdict_of_the_final_ack(
    pair: Pair, code: SalRetCode, verdict: RunVerdict
) -> None:
    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)
        await pair.tell_result(JOB, 1)
        await pair.ack(data, code, "no such flat")

    outcome = await run(pair, behave)
    assert outcome.verdict is verdict
    assert outcome.message == "no such flat"


async def test_a_command_that_is_refused_at_once_is_rejected(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_FAILED, "Failed: parameters.seconds")

    outcome = await run(pair, behave)
    assert outcome.verdict is RunVerdict.REJECTED
    assert outcome.message == "Failed: parameters.seconds"
    assert kinds(outcome) == ["FAILED"]


async def test_a_repeated_in_progress_is_shown_and_waited_on(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        for _ in range(3):
            await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)
        await pair.tell_result(JOB, 0)
        await pair.ack(data, SalRetCode.CMD_COMPLETE)

    outcome = await run(pair, behave)
    assert kinds(outcome) == ["INPROGRESS"] * 3 + ["job_result", "COMPLETE"]


async def test_without_waiting_the_first_ack_is_enough(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)

    outcome = await run(pair, behave, wait=False)
    assert outcome.verdict is RunVerdict.ACCEPTED
    assert outcome.job_id == JOB


async def test_a_detached_run_is_accepted_and_no_result_is_waited_for(pair: Pair) -> None:
    async def behave(data: Any) -> None:
        assert data.detach
        await pair.ack(data, SalRetCode.CMD_COMPLETE, json.dumps({"job_id": JOB, "run_id": "run-1"}))

    outcome = await run(pair, behave, detach=True)
    assert outcome.verdict is RunVerdict.ACCEPTED
    assert outcome.job_id == JOB


async def test_silence_is_no_answer_and_never_an_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FIRST_ACK_TIMEOUT", 0.2)

    async def silent(data: Any) -> None:
        await asyncio.Event().wait()

    outcome = await run(pair, silent)
    assert outcome.verdict is RunVerdict.NO_ANSWER
    assert "no acknowledgement since the command" in outcome.message


async def test_a_csc_that_breaks_its_promise_of_a_next_word_is_no_answer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "ACK_MARGIN", 0.2)
    monkeypatch.setattr(runs, "RESULT_TIMEOUT", 0.2)

    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=0.1)
        await asyncio.Event().wait()

    outcome = await run(pair, behave)
    assert outcome.verdict is RunVerdict.NO_ANSWER
    assert "no acknowledgement since the last acknowledgement; the run may go on" in outcome.message
    assert outcome.job_id == JOB


async def test_a_final_ack_without_job_result_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RESULT_TIMEOUT", 0.2)

    async def behave(data: Any) -> None:
        await pair.ack(data, SalRetCode.CMD_INPROGRESS, IN_PROGRESS, next_word=60)
        await pair.ack(data, SalRetCode.CMD_COMPLETE)

    outcome = await run(pair, behave)
    assert outcome.verdict is RunVerdict.COMPLETED
    assert outcome.message == "the final acknowledgement came without job_result"
    assert outcome.result == {}
