"""The nightly calibration automation on each kind of back end: chained jobs among those of other clients."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.salobj import SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.calibration_client import CONFIG, DATA_QUERY, PIPELINE, CalibrationClient
from support.csc import TIMEOUT, CscBench, Spy, write_configuration
from support.ports import free_port
from support.served_csc import ServedBench
from support.service_process import ServiceProcess, write_payload

pytestmark = pytest.mark.asyncio

_PRINT_ARGUMENTS = """
import json, os, sys, time
time.sleep(0.2)
with open(os.path.join(os.environ["JOB_OUTPUT_DIR"], "result.json"), "w") as file:
    json.dump({"arguments": sys.argv[1:]}, file)
"""
_FIELDS = ("pipeline", "version", "config", "data_query")
_PIPETASK = {
    "parameters": {
        "type": "object",
        "properties": {name: {"type": "string", "default": ""} for name in _FIELDS},
    },
    "run": {
        "command": [
            *("python", "-I", "-S", "-c", _PRINT_ARGUMENTS.replace("{", "{{").replace("}", "}}")),
            *(f"--{name}={{{name}}}" for name in _FIELDS),
        ]
    },
}

MakeService = Callable[..., ServiceProcess]
Site = tuple[ServedBench, dict[str, str]]
"""A bench whose CSC is ENABLED, and what else the client sends than it does at the summit."""


@asynccontextmanager
async def uws(bench: ServedBench, make_service: MakeService, folder: Path) -> AsyncIterator[Site]:
    """Our own UWS service as a process, with real jobs."""
    process = make_service(port=free_port())
    write_payload(folder / "payloads", "pipetask", _PIPETASK)
    await process.start()
    write_configuration(
        bench.config_dir.parents[1],
        backends={"default": {"kind": "uws", "url": process.url, "required": True}},
        default_backend="default",
        payload_directories=[str(folder / "payloads")],
        execute_payload="pipetask",
    )
    async with bench.csc():
        yield bench, {}


@asynccontextmanager
async def api_server(bench: ServedBench, _make: MakeService, _folder: Path) -> AsyncIterator[Site]:
    """A server that answers as the deployed one does."""
    async with bench.serve("api_server"), bench.csc():
        yield bench, {}


@asynccontextmanager
async def simulation(bench: ServedBench, _make: MakeService, _folder: Path) -> AsyncIterator[Site]:
    """A CSC that was started with ``--simulate``."""
    bench.configure("uws", "http://127.0.0.1:9", required=True)
    csc = OcpsCsc(1, config_dir=bench.config_dir, initial_state=State.ENABLED, simulation_mode=1)
    async with csc:
        yield bench, {"pipeline": "true.yaml"}


@pytest.mark.parametrize("site", [uws, api_server, simulation])
async def test_three_chained_jobs_are_matched_by_job_id_among_those_of_other_clients(
    served_bench: ServedBench,
    make_service_process: MakeService,
    tmp_path: Path,
    site: Callable[..., Any],
) -> None:
    async with (
        site(served_bench, make_service_process, tmp_path) as (bench, fields),
        AsyncExitStack() as stack,
    ):
        remotes = [await stack.enter_async_context(bench.remote()) for _ in range(3)]
        clients = [CalibrationClient(remote, **fields) for remote in remotes[:2]]
        spy = Spy(remotes[2])
        async with asyncio.timeout(3 * TIMEOUT):
            await asyncio.gather(*(client.assert_enabled() for client in clients))
            mine, others = await asyncio.gather(clients[0].run_chain(3), clients[1].run_branches([1, 2, 1]))
        assert [client.findings for client in clients] == [[], []]
        assert [document["phase"] for document in mine] == ["COMPLETED"] * 3
        assert not [chain for chain in others if isinstance(chain, BaseException)]
        # Each saw the other's results and threw them away; each job was reported once.
        assert clients[0].discarded
        results = await spy.wait_for("job_result", 7)
        assert len({result.job_id for result in results}) == len(results) == 7
        first, second, third = (document["jobId"] for document in mine)
        assert mine[1]["parameters"]["config"].endswith(f" -i u/ocps/{first}")
        assert mine[2]["parameters"]["config"].endswith(f" -i u/ocps/{second}")
        assert third not in {first, second}
        if site is uws:
            assert mine[0]["value"]["arguments"] == [
                f"--pipeline={PIPELINE}",
                "--version=",
                f"--config={CONFIG}",
                f"--data_query={DATA_QUERY}",
            ]


async def test_an_operator_who_aborts_one_job_kills_no_other_branch(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote, csc_bench.remote() as operator:
        csc_bench.on_end(duration=math.inf)
        ack = await operator.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        csc_bench.on_end(duration=0.3)
        client = CalibrationClient(remote)
        branches = asyncio.create_task(client.run_branches([2, 2]))
        await operator.cmd_abort_job.set_start(job_id=json.loads(ack.result)["job_id"], timeout=TIMEOUT)
        async with asyncio.timeout(TIMEOUT):
            chains = await branches
        assert not [chain for chain in chains if isinstance(chain, BaseException)]
        assert client.findings == []
        assert "1" in client.discarded


async def test_the_client_finds_what_is_wrong_with_a_job_that_failed(csc_bench: CscBench) -> None:
    csc_bench.on_end(ExecutionPhase.ERROR)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        client = CalibrationClient(remote)
        async with asyncio.timeout(TIMEOUT):
            await client.run_chain(1)
        # As deployed; a site may have it otherwise (execute_reports_failure).
        assert client.findings == ["goes on after a job that is ERROR"]
        last = await remote.cmd_execute.set_start(timeout=TIMEOUT)
        assert last.ack == SalRetCode.CMD_COMPLETE
