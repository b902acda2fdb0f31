"""`ApiServerBackend` against the double of the server that it is made for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from typing_extensions import override

from lsst.ts.ocps.client.api_server import ApiServerBackend
from lsst.ts.ocps.client.base import ShellJob
from lsst.ts.ocps.client.settings import ApiServerSettings

from .api_server_double import ApiServerDouble
from .backend_bench import VALUE, BackendBench, Pairs, Wish

__all__ = ["COMMAND", "ApiServerBench", "DialectBench", "api_server_bench"]

COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
"""As deployed."""

SHELL = ShellJob(
    COMMAND, url="https://github.com/lsst-dm/uws_scripts", commit_ref="main", text_lists=frozenset({"text"})
)


class DialectBench(BackendBench):
    """A back end and the server that it speaks to; values are escaped unless a test says otherwise.

    Parameters
    ----------
    base
        The URL that is the ``url`` of the back end.
    settings
        Its other settings.
    """

    shell = SHELL
    refuses_by_run_id = True
    keeps_aborted = False
    tells_errors = False
    takes_limits = False
    tells_times_exactly = False
    version = ""
    list_text = True

    def __init__(self, base: str, **settings: Any) -> None:
        given = {"url": base, "escape": "yaml", "poll_interval": 0.05}
        self.settings = ApiServerSettings.model_validate(given | settings)
        self.backend: ApiServerBackend = self.open_another()

    @override
    def open_another(self) -> ApiServerBackend:
        return ApiServerBackend("json-server", self.settings)

    @override
    def parameters(self, wish: Wish) -> Pairs:
        # VALUE has quotes in it.
        value = VALUE if self.settings.escape == "yaml" else "42"
        return ("duration", str(wish.duration)), ("fail", wish.fail), ("value", value)


class ApiServerBench(DialectBench):
    """The same with the double of the server."""

    def __init__(self, server: ApiServerDouble, **settings: Any) -> None:
        self.server = server
        super().__init__(server.base, **settings)


@asynccontextmanager
async def api_server_bench(**settings: Any) -> AsyncIterator[ApiServerBench]:
    async with ApiServerDouble() as server:
        bench = ApiServerBench(server, **settings)
        try:
            yield bench
        finally:
            await bench.backend.aclose()
