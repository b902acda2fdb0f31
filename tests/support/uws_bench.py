"""`UwsBackend` against the small server of the tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from typing_extensions import override

from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend

from .backend_bench import VALUE, BackendBench, Pairs, Wish
from .uws_server import UwsServer

__all__ = ["ServerBench", "server_bench"]


class ServerBench(BackendBench):
    """A back end and the server that it speaks to."""

    def __init__(self, server: UwsServer, **settings: Any) -> None:
        self.server = server
        self.settings = UwsSettings.model_validate({"url": server.url, **settings})
        self.backend: UwsBackend = self.open_another()

    @override
    def open_another(self) -> UwsBackend:
        return UwsBackend("test-server", self.settings)

    @override
    def parameters(self, wish: Wish) -> Pairs:
        pairs = (("duration", str(wish.duration)), ("fail", wish.fail), ("value", VALUE))
        return (*pairs, ("refuse", "1")) if wish.refuse else pairs


@asynccontextmanager
async def server_bench(**settings: Any) -> AsyncIterator[ServerBench]:
    async with UwsServer() as server:
        bench = ServerBench(server, **settings)
        try:
            yield bench
        finally:
            await bench.backend.aclose()
