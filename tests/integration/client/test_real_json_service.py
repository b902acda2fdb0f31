"""The client keeps the contract of back ends with the JSON dialect of the service of this project."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from lsst.ts.ocps.client.base import ShellJob
from support.api_server_bench import DialectBench
from support.backend_contract import BackendContract
from support.service_process import ServiceProcess, shared_service

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


class JsonServiceBench(DialectBench):
    """A back end of the JSON dialect, and the service that it speaks to."""

    payload = "contract"
    shell = ShellJob("contract", text_lists=frozenset({"text"}))
    tells_errors = True


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with shared_service(tmp_path_factory, {"contract": PAYLOAD}) as process:
        yield process


class TestApiServerBackendOnTheRealService(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self, service: ServiceProcess) -> AsyncIterator[JsonServiceBench]:
        bench = JsonServiceBench(f"{service.url}/api/v1")
        yield bench
        await bench.backend.aclose()
