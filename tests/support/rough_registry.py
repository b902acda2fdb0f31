"""The sandbox's schema registry inside the test, which is slow, broken, refusing or dead on request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest_asyncio
import uvicorn
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from lsst.ts.ocps.sandbox.schema_registry import create_app
from support.ports import free_port

__all__ = ["Fault", "RoughRegistry", "answer_html", "answer_status"]

Fault = Callable[[str, str], Response | None]
"""Gets method and path of a request; gives what is answered, or None for the true answer."""


def answer_status(status: int, message: str, *, method: str = "", times: int | None = None) -> Fault:
    """Answer an error to the first requests (None: to all) with this method (empty: any)."""
    left = times

    def fault(asked: str, path: str) -> Response | None:
        nonlocal left
        del path
        if left == 0 or method not in {"", asked}:
            return None
        if left is not None:
            left -= 1
        return JSONResponse({"error_code": status, "message": message}, status_code=status)

    return fault


def answer_html(method: str, path: str) -> Response:
    """Answer as the login page of a proxy does."""
    del method, path
    return Response("<html><title>Please log in</title></html>", media_type="text/html")


class _Server(uvicorn.Server):
    """The signals of the process belong to the test runner."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RoughRegistry:
    """See the module.

    Parameters
    ----------
    data
        File that keeps the schemas; they outlive a death.
    """

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.delay = 0.0
        """Time before each answer (s)."""

        self.fault: Fault | None = None
        self.content_type: bytes | None = None
        """What true answers are called, if not by their name."""

        self.requests: list[tuple[str, str]] = []
        """Method and path of each request."""

        self.most_at_once = 0
        """Largest number of requests under way together."""

        self._under_way = 0
        self._data = data
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Come to life, on the same port as before."""
        self._app = create_app(self._data)
        self._server = _Server(uvicorn.Config(self, host="127.0.0.1", port=self.port, log_level="critical"))
        self._serving = asyncio.create_task(self._server.serve(), name="rough registry")
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.01)

    async def die(self) -> None:
        """End at once; requests under way get no answer."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._serving
            self._server = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.requests.append((scope["method"], scope["path"]))
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            await asyncio.sleep(self.delay)
            response = None if self.fault is None else self.fault(scope["method"], scope["path"])
            await (response or self._answer)(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_renamed(message: Message) -> None:
            if self.content_type is not None and message["type"] == "http.response.start":
                message = {**message, "headers": [(b"content-type", self.content_type)]}
            await send(message)

        await self._app(scope, receive, send_renamed)


@pytest_asyncio.fixture
async def rough_registry(tmp_path: Path) -> AsyncIterator[RoughRegistry]:
    """A registry that behaves until it is told otherwise."""
    registry = RoughRegistry(tmp_path / "registry.json")
    await registry.start()
    yield registry
    await registry.die()
