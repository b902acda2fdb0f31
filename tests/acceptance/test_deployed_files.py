"""The program as it is shipped, started with what is deployed today: version 4 files, and a JSON server."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsst.ts.ocps.salobj import Domain, Remote, SalRetCode, State, set_summary_state
from support.api_server_double import ApiServerDouble
from support.calibration_client import CalibrationClient
from support.deployed import CALIBRATION, deployed_body, sent_body, write_deployed_configuration
from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

pytestmark = [pytest.mark.asyncio, pytest.mark.system, pytest.mark.xdist_group("stack")]

TIMEOUT = 60.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    with run_stack(BROKERS[0], tmp_path / "stack", [PAYLOADS]) as running:
        yield running


async def test_run_ocps_on_the_deployed_files_sends_the_deployed_jobs(
    stack: ProcessStack, tmp_path: Path
) -> None:
    root = tmp_path / "dm_config_ocps"
    async with (
        ApiServerDouble() as server,
        Domain() as domain,
        Remote(domain, "OCPS", 1) as remote,
    ):
        folder = write_deployed_configuration(root, server.base)
        program = str(Path(sys.executable).with_name("run_ocps"))
        stack.start_csc(["env", f"DM_CONFIG_OCPS_DIR={root}", program, "1"])
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
        applied = await remote.evt_configurationApplied.aget(timeout=TIMEOUT)
        assert (applied.schemaVersion, applied.url) == ("v4", folder.as_uri())

        first = await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT, **CALIBRATION)
        assert (first.ack, first.timeout) == (SalRetCode.CMD_INPROGRESS, 600)
        assert json.loads(first.result) == {"job_id": next(iter(server.jobs))}
        final = await remote.cmd_execute.next_ackcmd(first, timeout=TIMEOUT)
        assert (final.ack, final.result) == (SalRetCode.CMD_COMPLETE, "Done")
        (put,) = server.sent("PUT")
        assert put.path == "/api/v1/job"
        assert put.headers["content-type"] == "application/json"
        assert sent_body(put.body, "sandbox") == deployed_body(CALIBRATION)

        # What the server gave to the container is what the deployed one gives to it.
        (job,) = server.jobs.values()
        assert job.command == "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
        assert job.variable("DATA_QUERY") == CALIBRATION["data_query"]
        assert job.variable("RUN_OPTIONS") == f"-i LATISS/raw/all {CALIBRATION['config']}"
        assert job.variable("SRC_GIT_URL") == "https://github.com/lsst-dm/uws_scripts"

        client = CalibrationClient(remote)
        remote.evt_job_result.flush()
        documents = await client.run_chain(3)
        assert client.findings == []
        assert [document["jobId"] for document in documents] == list(server.jobs)[1:]
