"""Design section 5, "Writing" and what the other sections of it say that is not about acknowledgements."""

import asyncio
import json
import math
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.csc.texts import MAX_STRING_BYTES
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, ExpectedError, SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

EVENTS = ("job_id", "job_phase", "job_output", "job_metric", "job_result", "active_jobs")
STATES = ("payloads", "backend_status", "summaryState", "errorCode", "softwareVersions", "logMessage")


async def start(remote: Remote, command: str = "run", **fields: Any) -> Any:
    values = {"payload": "echo"} | fields if command == "run" else fields
    try:
        return await getattr(remote, f"cmd_{command}").set_start(wait_done=False, timeout=TIMEOUT, **values)
    except AckError as error:
        return error.ackcmd


async def test_writing_every_write_names_every_field_and_inherits_nothing(memory_csc: CscBench) -> None:
    memory_csc.on_end(P.ERROR, error="no flats")
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        spy = Spy(remote)
        await final_ack(remote, "run", await start(remote, label="night 1"))
        memory_csc.on_end(results={"metrics.json": b'[{"name": "m", "value": 2}]'})
        await final_ack(remote, "execute", await start(remote, "execute"))
        results = await spy.wait_for("job_result", 2)
        last = spy.of("job_phase")[-1]
        assert (last.label, last.message, last.payload) == ("", "", "execute")
        assert json.loads(results[1].result)["errorSummary"] is None
        assert [event.event_name for event in spy.of("job_id")] == ["cmd_run", "cmd_execute"]
        # The outlet notes a write that leaves out a field of the interface, or adds one.
        assert csc._ocps_outlet.differences == {}


async def test_writing_equal_records_are_written_all_the_same(memory_csc: CscBench) -> None:
    async with memory_csc.csc(State.STANDBY) as csc, memory_csc.remote() as remote:
        told: list[Any] = []

        async def hear(data: Any) -> None:
            told.append(data)

        remote.evt_payloads.callback = hear
        for _ in range(2):
            await csc.context.reporter.publish_payloads({})
        await eventually(lambda: len(told) == 2)
        assert {(data.names, data.definitions) for data in told} == {("", "{}")}


async def test_writing_no_string_is_longer_than_60_000_bytes(memory_csc: CscBench) -> None:
    big = "ä" * 40_000
    metrics = [{"name": f"m{number}", "value": number, "tags": {"t": "ü" * 300}} for number in range(400)]
    memory_csc.on_end(
        results={
            "result.json": json.dumps({"a": "b" * 60_000}).encode(),
            "metrics.json": json.dumps(metrics).encode(),
            **{f"{number}-{'ö' * 100}.fits": b"1" for number in range(300)},
        }
    )
    payloads = (memory_csc.config_dir / "../../payloads").resolve()
    for number in range(40):
        definition = {"name": f"big-{number}", "description": "ß" * 1000}
        (payloads / f"big-{number}.yaml").write_text(yaml.safe_dump(definition))
    async with memory_csc.csc(), memory_csc.remote() as remote:
        heard: list[Any] = []

        async def hear(data: Any) -> None:
            heard.append(data)

        for name in (*EVENTS, *STATES):
            getattr(remote, f"evt_{name}").callback = hear
        run = await final_ack(remote, "run", await start(remote, parameters=json.dumps({"text": big})))
        memory_csc.on_end(P.ERROR, error=big)
        failed = await final_ack(remote, "run", await start(remote))
        wrong = json.dumps({f"unknown-{number}": big for number in range(1500)})
        refused = await start(remote, parameters=wrong[:900_000].rpartition(",")[0] + "}")
        many = json.dumps({f"unknown-{number}": 1 for number in range(3000)})
        listed = await start(remote, parameters=many)
        assert [run.ack, failed.ack, refused.ack, listed.ack] == [
            SalRetCode.CMD_COMPLETE,
            *[SalRetCode.CMD_FAILED] * 3,
        ]
        document = json.loads(run.result)
        assert document["shed"][:2] == ["value", "metrics"]
        assert {"jobId", "phase", "startTime", "endTime"} <= document.keys()
        texts = [text for data in (*heard, run, failed, refused, listed) for text in vars(data).values()]
        sizes = [len(text.encode()) for text in texts if isinstance(text, str)]
        assert max(sizes) <= MAX_STRING_BYTES == 60_000


async def test_limits_are_none_by_default(memory_csc: CscBench) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        acks = await asyncio.gather(*(start(remote, command) for command in ["run", "execute"] * 8))
        assert {ack.ack for ack in acks} == {SalRetCode.CMD_INPROGRESS}
        await eventually(lambda: {record.phase for record in csc.context.tracker.active} == {P.EXECUTING})
        assert len(csc.context.tracker.active) == 16


async def test_a_detached_command_gets_no_second_acknowledgement(memory_csc: CscBench) -> None:
    memory_csc.on_end(P.ERROR)
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        spy = Spy(remote)
        written: list[str] = []
        acknowledge = csc._ocps_outlet.acknowledge

        async def look(command: str, key: Any, **details: Any) -> None:
            written.append(command)
            await acknowledge(command, key, **details)

        csc._ocps_outlet.acknowledge = look  # type: ignore[method-assign]
        assert (await start(remote, detach=True)).ack == SalRetCode.CMD_COMPLETE
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 1
        await eventually(lambda: not csc.context.tracker._followers)
        assert written == []


@pytest.mark.parametrize(("label", "words"), [("x" * 201, "201 characters"), ("a\tb", "cannot be printed")])
async def test_a_label_that_no_table_could_show_is_refused_by_name(
    memory_csc: CscBench, label: str, words: str
) -> None:
    async with memory_csc.csc(), memory_csc.remote() as remote:
        ack = await start(remote, label=label)
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "label: has " in ack.result
        assert words in ack.result
    assert memory_csc.service.calls["create"] == 0


@pytest.mark.parametrize(
    ("hook", "command", "before"),
    [
        ("end_start", "start", State.STANDBY),
        ("end_enable", "enable", State.DISABLED),
        ("end_disable", "disable", State.ENABLED),
        ("end_standby", "standby", State.DISABLED),
        ("end_standby", "standby", State.FAULT),
        ("end_exitControl", "exitControl", State.STANDBY),
    ],
)
async def test_states_a_failed_end_hook_reverts_the_state_truthfully(
    memory_csc: CscBench, monkeypatch: pytest.MonkeyPatch, hook: str, command: str, before: State
) -> None:
    is_fault = before is State.FAULT
    async with memory_csc.csc(State.ENABLED if is_fault else before) as csc, memory_csc.remote() as remote:

        async def fail(_data: Any) -> None:
            raise ExpectedError("the hook failed")

        if is_fault:
            await csc.fault(code=FaultCode.TASK_DIED, report="for this test")
            await eventually(lambda: remote.evt_summaryState.get().summaryState == before)

        monkeypatch.setattr(csc, hook, fail)
        with pytest.raises(AckError, match="the hook failed"):
            await getattr(remote, f"cmd_{command}").start(timeout=TIMEOUT)
        assert csc.summary_state is before
        assert remote.evt_summaryState.get().summaryState == before
        # And what was in force is in force: jobs are taken in ENABLED only.
        ack = await start(remote)
        expected = SalRetCode.CMD_INPROGRESS if before is State.ENABLED else SalRetCode.CMD_FAILED
        assert ack.ack == expected
