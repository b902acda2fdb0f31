"""A service over real sockets whose connections are counted and bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from lsst.ts.ocps.service.main import RunningService, running_service
from support.service_calls import Calls
from support.service_process import PAYLOADS, make_config

__all__ = ["GET", "SLEEP", "bounded", "refusals", "until_answered"]

SLEEP = {"sleep": PAYLOADS["sleep"]}

GET = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n"
"""The beginning of a request that is let in."""


@asynccontextmanager
async def bounded(directory: Path, **values: Any) -> AsyncIterator[RunningService]:
    """A service in this process."""
    async with running_service(make_config(directory, SLEEP, **values)) as service:
        yield service


async def refusals(service: RunningService) -> dict[str, float]:
    """How many connections were ended, by reason."""
    async with Calls.to(service.url) as calls:
        text = (await calls.http.get("/metrics")).text
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ocps_connections_refused_total"
    }


async def until_answered(service: RunningService) -> None:
    """Until the ends of earlier connections have been noticed."""
    async with asyncio.timeout(20):
        while True:
            with suppress(httpx.HTTPError):
                async with Calls.to(service.url) as calls:
                    if (await calls.http.get("/jobs")).status_code == 200:
                        return
            await asyncio.sleep(0.01)
