"""A UWS 1.1 server in a process of its own, as slow as it is told to be, that counts what it is asked.

``python -m benchmarks.uws_double`` prints its URL and that of its controls as one line of JSON. The controls:
``GET /slow?seconds=2`` sets how long every answer takes and begins counting anew, ``GET /counts`` tells.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from typing_extensions import override

from support.http_server import HttpServer, Reply, Request
from support.uws_server import UwsServer

__all__ = ["PAYLOAD", "Counts", "UwsDouble"]

PAYLOAD = "timed"
"""The payload that the server has; its definition is in the folder ``payloads``."""


@dataclass(frozen=True)
class Counts:
    """What the server was asked since the last change of its pace."""

    jobs: Mapping[str, int]
    """How many requests were about a job, its creation among them, by RUNID."""

    creations: Mapping[str, int]
    """How many jobs were created, by RUNID."""

    lists: int
    """How often a job list was read."""


class _CountingServer(UwsServer):
    def __init__(self) -> None:
        super().__init__()
        self.payloads = {PAYLOAD}
        self.forget()

    def forget(self) -> None:
        self._counts: Counter[str] = Counter()
        self._creations: Counter[str] = Counter()
        self._lists = 0

    @property
    def counts(self) -> Counts:
        return Counts(dict(self._counts), dict(self._creations), self._lists)

    @override
    async def answer(self, request: Request) -> Reply:
        # They are counted, and ten thousand runs of them are not kept.
        self.requests.clear()
        match request.path.strip("/").split("/"):
            case [_, "async"] if request.method == "POST":
                run_id = request.field("RUNID") or ""
                self._creations[run_id] += 1
                self._counts[run_id] += 1
            case [_, "async"]:
                self._lists += 1
            case [_, "async", job_id, *_] if job_id in self.jobs:
                self._counts[self.jobs[job_id].value("RUNID") or ""] += 1
        return await super().answer(request)


class _Controls(HttpServer):
    def __init__(self, server: _CountingServer) -> None:
        super().__init__()
        self._uws = server

    @override
    async def answer(self, request: Request) -> Reply:
        if request.path == "/slow":
            self._uws.delay = float(request.query["seconds"])
            self._uws.jobs.clear()
            self._uws.forget()
        return Reply(body=json.dumps(asdict(self._uws.counts)).encode(), kind="application/json")

    @override
    def end_jobs(self) -> None:
        pass


class UwsDouble:
    """The server as whoever measures sees it.

    Parameters
    ----------
    url
        Its root.
    controls
        Root of its controls.
    """

    def __init__(self, url: str, controls: str) -> None:
        self.url = url
        self._controls = httpx.AsyncClient(base_url=controls, trust_env=False, timeout=60.0)

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator["UwsDouble"]:
        """Run the server as a process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            double = cls(**json.loads(await process.stdout.readline()))
            async with double._controls:
                yield double
        finally:
            process.terminate()
            await process.wait()

    async def set_delay(self, seconds: float) -> None:
        """Have every answer take so long (s); forget all jobs and counts."""
        await self._ask("/slow", seconds=seconds)

    async def read_counts(self) -> Counts:
        """What it was asked since then."""
        return Counts(**await self._ask("/counts"))

    async def _ask(self, path: str, **query: float) -> dict[str, Any]:
        answer = await self._controls.get(path, params=query)
        counts: dict[str, Any] = answer.raise_for_status().json()
        return counts


async def serve() -> None:
    """Serve until the process is ended."""
    async with _CountingServer() as server, _Controls(server) as controls:
        print(json.dumps({"url": server.url, "controls": controls.url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
