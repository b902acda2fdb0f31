"""`ApiServerBackend` against the double of the server that it is made for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from typing_extensions import override

from lsst.ts.ocps.client.api_server import ApiServerBackend
from lsst.ts.ocps.client.base import ShellJob, Submission
from lsst.ts.ocps.client.settings import ApiServerSettings

from .api_server_double import ApiServerDouble
from .backend_contract import VALUE, BackendBench, run_id

__all__ = ["COMMAND", "ApiServerBench", "api_server_bench"]

COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
"""As deployed."""

SHELL = ShellJob(
    COMMAND, url="https://github.com/lsst-dm/uws_scripts", commit_ref="main", text_lists=frozenset({"text"})
)


class ApiServerBench(BackendBench):
    """A back end and the server that it speaks to; values are escaped unless a test says otherwise."""

    keeps_aborted = False
    tells_errors = False
    takes_limits = False
    tells_times_exactly = False
    version = ""
    list_text = True

    def __init__(self, server: ApiServerDouble, **settings: Any) -> None:
        self.server = server
        given = {"url": server.base, "escape": "yaml", "poll_interval": 0.05}
        self.settings = ApiServerSettings.model_validate(given | settings)
        self.backend: ApiServerBackend = self.open_another()

    @override
    def open_another(self) -> ApiServerBackend:
        return ApiServerBackend("json-server", self.settings)

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
        # VALUE has quotes in it.
        value = VALUE if self.settings.escape == "yaml" else "42"
        pairs = (("duration", str(duration)), ("fail", fail), ("value", value), *extra)
        return Submission(
            payload="sleep",
            run_id="-no good-" if refuse else run_id(),
            parameters=pairs,
            execution_duration=execution_duration,
            shell=SHELL,
        )


@asynccontextmanager
async def api_server_bench(**settings: Any) -> AsyncIterator[ApiServerBench]:
    async with ApiServerDouble() as server:
        bench = ApiServerBench(server, **settings)
        try:
            yield bench
        finally:
            await bench.backend.aclose()
