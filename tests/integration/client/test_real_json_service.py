"""The client keeps the contract of back ends with the JSON dialect of the service of this project."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from typing_extensions import override

from lsst.ts.ocps.client.api_server import ApiServerBackend
from lsst.ts.ocps.client.base import ShellJob, Submission
from lsst.ts.ocps.client.settings import ApiServerSettings
from support.backend_contract import VALUE, BackendBench, BackendContract, run_id
from support.service_process import ServiceProcess, make_config

pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("real_json_service")]

PROGRAM = """
import os, sys, time
fail, duration, value = sys.argv[1:]
time.sleep(float(duration))
if fail:
    sys.exit(fail)
with open(os.path.join(os.environ["JOB_OUTPUT_DIR"], "result.json"), "w") as file:
    file.write(value)
"""
_STRING = {"type": "string", "default": ""}
PAYLOAD = {
    "parameters": {
        "type": "object",
        "properties": {
            "duration": {"type": "number", "minimum": 0, "default": 0},
            "fail": _STRING,
            "value": _STRING,
            "text": {"type": "array", "items": {"type": "string"}, "default": []},
        },
    },
    "run": {
        "command": [
            *("python", "-I", "-S", "-c", PROGRAM.replace("{", "{{").replace("}", "}}")),
            *("{fail}", "{duration}", "{value}"),
        ],
    },
}


class JsonServiceBench(BackendBench):
    """A back end of the JSON dialect, and the service that it speaks to."""

    keeps_aborted = False
    takes_limits = False
    tells_times_exactly = False
    version = ""
    list_text = True

    def __init__(self, url: str) -> None:
        self.settings = ApiServerSettings.model_validate(
            {"url": f"{url}/api/v1", "escape": "yaml", "poll_interval": 0.05}
        )
        self.backend: ApiServerBackend = self.open_another()

    @override
    def open_another(self) -> ApiServerBackend:
        return ApiServerBackend("json", self.settings)

    @override
    def submission(
        self,
        *,
        duration: float = 0.0,
        fail: str = "",
        refuse: bool = False,
        extra: tuple[tuple[str, str], ...] = (),
        execution_duration: int | None = None,
    ) -> Submission:
        pairs = (("duration", str(duration)), ("fail", fail), ("value", VALUE), *extra)
        return Submission(
            payload="contract",
            run_id="-no good-" if refuse else run_id(),
            parameters=pairs,
            execution_duration=execution_duration,
            shell=ShellJob("contract", text_lists=frozenset({"text"})),
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder: Path = tmp_path_factory.mktemp("service")
    process = ServiceProcess(make_config(folder, {"contract": PAYLOAD}), folder / "service.log")
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.close()


class TestApiServerBackendOnTheRealService(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self, service: ServiceProcess) -> AsyncIterator[JsonServiceBench]:
        bench = JsonServiceBench(service.url)
        yield bench
        await bench.backend.aclose()
