"""After a restart of the machine no command is left; their jobs say so, and what waited is run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from lsst.ts.ocps.executors.launcher import STARTED
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.context import open_context
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import end_commands, until
from support.service_calls import Calls
from support.service_process import PAYLOADS, id_of, make_config

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


@asynccontextmanager
async def service(config: ServiceConfig) -> AsyncIterator[Calls]:
    """A service with real commands, and without network."""
    async with open_context(config) as context:
        transport = httpx.ASGITransport(create_app(config, context))
        async with httpx.AsyncClient(transport=transport, base_url="http://uws.example") as http:
            yield Calls(http)


async def test_running_jobs_end_in_error_and_queued_ones_are_run(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    config = make_config(tmp_path, {"sleep": PAYLOADS["sleep"]}, max_running=1, **service_database)
    try:
        async with service(config) as calls:
            running = await calls.create("sleep", seconds="60", PHASE="RUN")
            await calls.executing(running)
            queued = await calls.create("sleep", seconds="0", PHASE="RUN")
            started = config.jobs_directory / id_of(running) / STARTED
            await until(lambda: started.exists() and started.read_text().endswith("\n"), "it is there")
    finally:
        # The machine goes down: no process, no end, and another life afterwards.
        end_commands(config.jobs_directory)
    started.write_text(json.dumps(json.loads(started.read_text()) | {"boot": "an earlier one"}))
    async with service(config) as calls:
        job = await calls.end(running)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == "the machine was restarted while the command ran"
        assert (await calls.end(queued)).phase is P.COMPLETED
