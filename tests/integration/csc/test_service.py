"""The CSC and the UWS service as a process: what the bridge is for (broker in memory)."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typing_extensions import override

from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode, State
from support.csc import TIMEOUT, CscBench, Spy, check_pairs, eventually, final_ack, write_configuration
from support.ports import free_port
from support.service_process import ServiceProcess

pytestmark = pytest.mark.asyncio
COMPLETE = SalRetCode.CMD_COMPLETE


@dataclass
class ServiceBench(CscBench):
    """A bench whose jobs are real."""

    process: ServiceProcess | None = None

    @override
    async def open_backend(self, name: str, settings: Any) -> Any:
        return await open_backend(name, settings)

    @asynccontextmanager
    async def talk(self, state: State = State.ENABLED) -> AsyncIterator[tuple[OcpsCsc, Remote, Spy]]:
        async with self.csc(state) as csc, self.remote() as remote:
            yield csc, remote, Spy(remote)


@pytest_asyncio.fixture
async def bench(
    csc_bench: CscBench, make_service_process: Callable[..., ServiceProcess], tmp_path: Path
) -> ServiceBench:
    process = make_service_process(port=free_port())
    await process.start()
    bench = ServiceBench(csc_bench.config_dir, csc_bench.state_dir, process=process)
    configure(bench, tmp_path)
    return bench


def configure(bench: ServiceBench, tmp_path: Path, **values: Any) -> None:
    assert bench.process is not None
    write_configuration(
        bench.config_dir.parents[1],
        backends={"default": {"kind": "uws", "url": bench.process.url, "required": True}},
        default_backend="default",
        payload_directories=[str(tmp_path / "payloads")],
        execute_payload="echo",
        **values,
    )


async def start(remote: Remote, payload: str, **values: Any) -> Any:
    try:
        return await remote.cmd_run.set_start(
            payload=payload, parameters=json.dumps(values), wait_done=False, timeout=TIMEOUT
        )
    except AckError as error:
        return error.ackcmd


async def test_a_command_becomes_a_job_whose_result_comes_back(bench: ServiceBench) -> None:
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, "echo", needed='it\'s "this" $HOME', number=3, words=["a", "b c"])
        assert ack.ack == SalRetCode.CMD_INPROGRESS
        final = await final_ack(remote, "run", ack)
        (result,) = await spy.wait_for("job_result")
        assert (final.ack, final.result) == (COMPLETE, result.result)
        document = json.loads(result.result)
        assert document["jobId"] == json.loads(ack.result)["job_id"]
        assert '--needed=it\'s "this" $HOME' in document["value"]["arguments"]
        assert document["value"]["environment"]["RUN_ID"] == document["runId"]
        assert document["parameters"]["words"] == ["a", "b c"]
        assert document["startTime"] <= document["endTime"]
        assert "COMPLETED" in spy.phases()
        assert [entry["id"] for entry in document["results"]] == [
            output.output_id for output in spy.of("job_output")
        ]
        assert all(output.url.startswith("http://127.0.0.1:") for output in spy.of("job_output"))


async def test_a_job_that_fails_says_why(bench: ServiceBench) -> None:
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, "fail", message="no such image: m13.fits")
        final = await final_ack(remote, "run", ack)
        assert final.ack == SalRetCode.CMD_FAILED
        assert "no such image: m13.fits" in final.result
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 1
        assert "no such image: m13.fits" in json.loads(result.result)["errorSummary"]["message"]


async def test_a_running_job_is_aborted(bench: ServiceBench) -> None:
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, "sleep", seconds=60)
        await eventually(lambda: "EXECUTING" in spy.phases())
        job_id = json.loads(ack.result)["job_id"]
        assert (await remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)).ack == COMPLETE
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_ABORTED
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 255


def holding(gate: Path) -> str:
    """A script that runs until there is a file."""
    return f"while [ ! -e {gate} ]; do sleep 0.05; done"


async def test_a_run_outlives_the_csc_and_is_reported_by_the_next(
    bench: ServiceBench, tmp_path: Path
) -> None:
    async with bench.remote() as remote:
        spy = Spy(remote)
        async with bench.csc() as csc:
            ack = await start(remote, "shell", script=holding(tmp_path / "gate"))
            await eventually(lambda: "EXECUTING" in spy.phases())
            await csc.context.tracker.aclose()
        (tmp_path / "gate").touch()
        async with bench.csc(State.STANDBY):
            assert (await final_ack(remote, "run", ack)).ack == COMPLETE
            await spy.wait_for("job_result")
        assert len(spy.of("job_result")) == 1


async def test_a_run_outlives_a_crash_of_the_service(bench: ServiceBench, tmp_path: Path) -> None:
    assert bench.process is not None
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, "shell", script=holding(tmp_path / "gate"))
        await eventually(lambda: "EXECUTING" in spy.phases())
        await bench.process.kill()
        down = await start(remote, "sleep", seconds=0)
        assert down.ack == SalRetCode.CMD_FAILED
        assert "back end default" in down.result
        (tmp_path / "gate").touch()
        await bench.process.start()
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        assert result.exit_code == 0


async def test_execute_runs_its_payload(bench: ServiceBench, tmp_path: Path) -> None:
    del tmp_path
    async with bench.talk() as (_, remote, _spy):
        with pytest.raises(AckError, match="needed"):
            await remote.cmd_execute.set_start(timeout=TIMEOUT)


async def test_ten_runs_at_once_are_all_reported_in_pairs(bench: ServiceBench) -> None:
    async with bench.talk() as (_, remote, spy):
        acks = await asyncio.gather(*(start(remote, "sleep", seconds=0.2) for _ in range(10)))
        job_ids = [json.loads(ack.result)["job_id"] for ack in acks]
        finals = await asyncio.gather(*(final_ack(remote, "run", ack) for ack in acks))
        assert {final.ack for final in finals} == {COMPLETE}
        assert len(set(job_ids)) == 10
        check_pairs(await spy.wait_for("job_result", 10), dict(zip(job_ids, finals, strict=True)))


async def test_results_of_a_real_job_are_deposited(bench: ServiceBench, tmp_path: Path) -> None:
    configure(bench, tmp_path, deposit={"location": str(tmp_path)})
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, "echo", needed="deposit")
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        document = json.loads(result.result)
        outputs = await spy.wait_for("job_output", len(document["results"]))
    folder = tmp_path / document["runId"]
    assert document["deposit"] == {"state": "complete", "location": f"{folder.as_uri()}/", "message": ""}
    assert json.loads((folder / "result.json").read_text()) == document["value"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["job_id"] == document["jobId"]
    assert manifest["versions"]["backend"]
    assert manifest["versions"]["uws"] == "1.1"
    (entry,) = (entry for entry in manifest["files"] if entry["name"] == "result.json")
    assert entry["mime_type"] == "application/json"
    digest = hashlib.sha256((folder / "result.json").read_bytes()).hexdigest()
    assert entry["sha256"] == digest
    assert {output.url: output.checksum for output in outputs}[f"{folder.as_uri()}/result.json"] == digest
