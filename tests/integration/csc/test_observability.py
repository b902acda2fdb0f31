"""What operators read of a CSC besides its jobs: versions, and logs that name run, job and payload."""

import json
import logging
import math
from typing import Any

import pytest

from lsst.ts.ocps import __version__
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.csc.logs import make_json_formatter
from lsst.ts.ocps.salobj import State
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack, write_configuration

pytestmark = pytest.mark.asyncio


async def test_software_versions_tell_the_version_of_each_back_end(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.STANDBY), csc_bench.remote() as remote:
        versions = remote.evt_softwareVersions
        first = await versions.aget(timeout=TIMEOUT)
        assert (first.cscVersion, first.subsystemVersions) == (__version__, "")
        write_configuration(
            csc_bench.config_dir.parents[1],
            backends={name: {"kind": "uws", "url": f"http://{name}.invalid"} for name in ("near", "far")},
            default_backend="near",
        )
        await remote.cmd_start.start(timeout=TIMEOUT)
        await eventually(lambda: versions.get().subsystemVersions == "far=uws 1.1, near=uws 1.1")
        last = versions.get()
        # What the base class says there is said again.
        assert (last.cscVersion, last.salVersion) == (__version__, first.salVersion)


async def test_the_version_of_a_back_end_that_is_away_is_remembered(csc_bench: CscBench) -> None:
    async with csc_bench.csc(State.DISABLED) as csc, csc_bench.remote() as remote:
        versions = remote.evt_softwareVersions
        await eventually(lambda: versions.get() and versions.get().subsystemVersions == "fake=uws 1.1")
        csc_bench.service.is_available = False
        assert await csc.context.health.probe()
        assert versions.get().subsystemVersions == "fake=uws 1.1"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    told = json.loads(make_json_formatter().format(record))
    assert isinstance(told, dict)
    return told


async def test_messages_about_a_run_name_run_job_and_payload_on_standard_error_and_in_log_message(
    csc_bench: CscBench, caplog: pytest.LogCaptureFixture
) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        spy = Spy(remote)
        published: list[Any] = []

        async def hear(data: Any) -> None:
            published.append(data)

        remote.evt_logMessage.callback = hear
        csc_bench.service.fail("wait", *(BackendUnavailableError("fake", "away") for _ in range(2)))
        csc_bench.service.lose_answers("create")
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
