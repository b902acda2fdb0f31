"""The client keeps the contract of back ends with the UWS service of this project, as a process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from typing_extensions import override

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import BackendUnavailableError, RequestRefusedError
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.uws.codec import parse_progress
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.progress import Progress
from support.backend_bench import VALUE, BackendBench, Pairs, Wish, finished, reached, run_id
from support.backend_contract import BackendContract
from support.service_process import ServiceProcess, make_config, shared_service

pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("real_service")]

PROGRAM = """
import json, os, sys, time
given = json.loads(sys.argv[1])
os.chdir(os.environ["JOB_OUTPUT_DIR"])
if given["progress"]:
    with open("progress.new", "w") as file:
        json.dump({"fraction": 0.25, "message": given["progress"]}, file)
    os.rename("progress.new", "progress.json")
time.sleep(given["duration"])
if given["fail"]:
    sys.exit(given["fail"])
with open("result.json", "w") as file:
    file.write(given["value"])
"""
_STRING = {"type": "string", "default": ""}
PAYLOAD = {
    "description": "Does what the contract of back ends asks for.",
    "parameters": {
        "type": "object",
        "properties": {
            "given": {
                "type": "object",
                "properties": {
                    "duration": {"type": "number", "minimum": 0, "default": 0},
                    "fail": _STRING,
                    "value": _STRING,
                    "progress": _STRING,
                },
                "required": ["duration", "fail", "value", "progress"],
                "additionalProperties": False,
            },
            "text": {"type": "array", "items": {"type": "string"}, "default": []},
        },
        "required": ["given"],
    },
    "run": {
        "command": ["python", "-I", "-S", "-c", PROGRAM.replace("{", "{{").replace("}", "}}"), "{given}"]
    },
}


class ServiceBench(BackendBench):
    """A back end, and the service that it speaks to."""

    payload = "contract"

    def __init__(self, url: str) -> None:
        self.url = url
        self.backend: UwsBackend = self.open_another()

    @override
    def open_another(self) -> UwsBackend:
        return UwsBackend("real", UwsSettings(url=self.url))

    @override
    def parameters(self, wish: Wish) -> Pairs:
        given = {"duration": wish.duration, "fail": wish.fail, "value": VALUE, "progress": wish.progress}
        return (("given", "no JSON" if wish.refuse else json.dumps(given)),)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with shared_service(tmp_path_factory, {"contract": PAYLOAD}) as process:
        yield process


@pytest_asyncio.fixture
async def bench(service: ServiceProcess) -> AsyncIterator[ServiceBench]:
    bench = ServiceBench(service.url)
    yield bench
    await bench.backend.aclose()


class TestUwsBackendOnTheRealService(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self, service: ServiceProcess) -> AsyncIterator[ServiceBench]:
        bench = ServiceBench(service.url)
        yield bench
        await bench.backend.aclose()


async def test_the_service_blocks(bench: ServiceBench) -> None:
    created = await bench.create()
    await bench.backend.wait(created.url, phase=ExecutionPhase.PENDING, seconds=1)
    assert bench.backend.wait_blocks is True


async def test_progress_of_a_job_is_seen(bench: ServiceBench) -> None:
    created = await bench.run(duration=30, progress="half <way> & more")
    await reached(bench.backend, created.url, ExecutionPhase.EXECUTING)
    seen, end = None, time.monotonic() + 30
    while seen is None and time.monotonic() < end:
        await asyncio.sleep(0.02)
        seen = parse_progress((await bench.backend.read(created.url)).job_info)
    assert seen == Progress(0.25, "half <way> & more")
    await bench.backend.delete(created.url)


async def test_the_detail_of_a_failure_is_told(bench: ServiceBench) -> None:
    created = await bench.run(fail="first line\nno such image")
    job = await finished(bench.backend, created.url)
    assert job.error is not None
    assert job.error.message == "no such image"
    detail = await bench.backend.error_detail(created.url)
    assert detail is not None
    assert "first line" in detail


async def test_each_wrong_parameter_is_named_in_the_refusal(bench: ServiceBench) -> None:
    submission = Submission("contract", run_id(), (("given", "no JSON"), ("nonsense", "1")))
    with pytest.raises(RequestRefusedError) as caught:
        await bench.backend.create(submission)
    assert "given" in str(caught.value)
    assert "nonsense" in str(caught.value)


async def test_an_unknown_payload_is_refused(bench: ServiceBench) -> None:
    with pytest.raises(RequestRefusedError, match="no job list of that payload"):
        await bench.backend.create(Submission("nonsense", run_id()))


async def test_values_that_no_document_can_hold_are_refused_by_name(bench: ServiceBench) -> None:
    with pytest.raises(RequestRefusedError, match=r"text\.0.*U\+0001") as caught:
        await bench.create(extra=(("text", "a\x01b"),))
    assert "\x01" not in str(caught.value)


async def test_a_service_that_stops_ends_the_waiting(tmp_path: Path) -> None:
    process = ServiceProcess(make_config(tmp_path, {"contract": PAYLOAD}), tmp_path / "service.log")
    try:
        await process.start()
        bench = ServiceBench(process.url)
        created = await bench.create()
        waiting = asyncio.create_task(
            bench.backend.wait(created.url, phase=ExecutionPhase.PENDING, seconds=30)
        )
        await asyncio.sleep(0.2)
        await process.kill()
        async with asyncio.timeout(10):
            with pytest.raises(BackendUnavailableError):
                await waiting
        await bench.backend.aclose()
    finally:
        process.close()
