"""What operators read of a CSC besides its jobs: versions, and logs that name run, job and payload."""

import json
import logging
import math
from typing import Any

import pytest

from lsst.ts.ocps import __version__
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.csc import counts
from lsst.ts.ocps.csc.logs import make_json_formatter
from lsst.ts.ocps.salobj import State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack, write_configuration

pytestmark = pytest.mark.asyncio


async def test_software_versions_tell_the_version_of_each_back_end(memory_csc: CscBench) -> None:
    async with memory_csc.csc(State.STANDBY), memory_csc.remote() as remote:
        versions = remote.evt_softwareVersions
        first = await versions.aget(timeout=TIMEOUT)
        assert (first.cscVersion, first.subsystemVersions) == (__version__, "")
        write_configuration(
            memory_csc.config_dir.parents[1],
            backends={name: {"kind": "uws", "url": f"http://{name}.invalid"} for name in ("near", "far")},
            default_backend="near",
        )
        await remote.cmd_start.start(timeout=TIMEOUT)
        await eventually(lambda: versions.get().subsystemVersions == "far=uws 1.1, near=uws 1.1")
        last = versions.get()
        # What the base class says there is said again.
        assert (last.cscVersion, last.salVersion) == (__version__, first.salVersion)


async def test_the_version_of_a_back_end_that_is_away_is_remembered(memory_csc: CscBench) -> None:
    async with memory_csc.csc(State.DISABLED) as csc, memory_csc.remote() as remote:
        versions = remote.evt_softwareVersions
        await eventually(lambda: versions.get() and versions.get().subsystemVersions == "fake=uws 1.1")
        memory_csc.service.is_available = False
        assert await csc.context.health.probe()
        assert versions.get().subsystemVersions == "fake=uws 1.1"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    told = json.loads(make_json_formatter().format(record))
    assert isinstance(told, dict)
    return told


async def test_messages_about_a_run_name_run_job_and_payload_on_standard_error_and_in_log_message(
    memory_csc: CscBench, caplog: pytest.LogCaptureFixture
) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        spy = Spy(remote)
        published: list[Any] = []

        async def hear(data: Any) -> None:
            published.append(data)

        remote.evt_logMessage.callback = hear
        memory_csc.service.fail("wait", *(BackendUnavailableError("fake", "away") for _ in range(2)))
        memory_csc.service.lose_answers("create")
        ack = await remote.cmd_run.set_start(payload="echo", wait_done=False, timeout=TIMEOUT)
        job_id = json.loads(ack.result)["job_id"]
        (phase, *_) = await spy.wait_for("job_phase")
        await remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        await final_ack(remote, "run", ack)
        about_run = [told for told in map(fields_of, caplog.records) if "run_id" in told]
        assert {told["run_id"] for told in about_run} == {phase.run_id}
        assert {told["payload"] for told in about_run} == {"echo"}
        events = [told["event"] for told in about_run]
        assert "no job yet; trying again" in events
        # Only what was said before there was a job names none.
        assert {told["event"]: told["job_id"] for told in about_run} == {
            event: "" if event == "no job yet; trying again" else job_id for event in events
        }
        levels = {told["event"]: told["level"] for told in about_run}
        loud = [event for event in events if levels[event] != "debug"]
        words = f"run_id={phase.run_id} job_id={job_id} payload=echo"
        await eventually(lambda: sum(words in data.message for data in published) >= len(loud) - 1)


async def test_job_counts_tell_what_has_ended_since_noon_and_are_told_again_though_nothing_changes(
    memory_csc: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "_INTERVAL", 0.6)
    async with memory_csc.csc(State.DISABLED) as csc, memory_csc.remote() as remote:
        told: list[Any] = []

        async def hear(data: Any) -> None:
            told.append(data)

        remote.tel_job_counts.callback = hear
        await remote.cmd_enable.start(timeout=TIMEOUT)
        for outcome in (ExecutionPhase.COMPLETED, ExecutionPhase.ERROR, ExecutionPhase.ARCHIVED):
            memory_csc.on_end(outcome)
            await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        memory_csc.on_end(duration=math.inf)
        for _ in range(2):
            await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        await remote.cmd_abort_job.set_start(job_id="4", timeout=TIMEOUT)
        await eventually(lambda: len(csc.context.tracker.active) == 1)
        await eventually(lambda: told and told[-1].aborted == 1)
        last = told[-1]
        assert (last.completed, last.error, last.executing, last.waiting) == (1, 2, 1, 0)
        assert last.oldest_active_age > 0
        # Nothing changes any more, in a state in which nothing new is taken.
        await remote.cmd_disable.start(timeout=TIMEOUT)
        number = len(told)
        await eventually(lambda: len(told) >= number + 2)
        assert told[-1].oldest_active_age > last.oldest_active_age
        assert (told[-1].aborted, told[-1].executing) == (1, 1)
