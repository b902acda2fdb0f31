"""A small HTTP server for tests, which misbehaves on request; what it serves is written in subclasses."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from .serving import serving

__all__ = ["Behaviour", "HttpServer", "Reply", "Request", "drop", "html", "redirect", "status", "text"]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    form: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""
    phases: frozenset[str] = frozenset()
    """All values of PHASE in the query, where a name may repeat."""

    def field(self, name: str) -> str | None:
        """A field of the form, by its name in any case."""
        return next((value for key, value in self.form if key.upper() == name), None)


@dataclass(frozen=True)
class Reply:
    """What the server answers."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = "application/xml"
    claimed: int | None = None
    """Content-Length, if another than the true one."""

    closes: bool = False
    """Whether the connection ends with this; with status 0 there is nothing else."""


Behaviour = Callable[[Request], Awaitable[Reply | None]]
"""What is done instead of the true answer; None: nothing, the true answer follows."""


def status(code: int, body: str = "", kind: str = "text/plain") -> Behaviour:
    async def behave(_: Request) -> Reply:
        return Reply(code, body.encode(), kind=kind)

    return behave


def text(body: str, kind: str = "application/xml") -> Behaviour:
    return status(200, body, kind)


def html(title: str, content: str = "") -> Behaviour:
    return text(f"<!DOCTYPE html><html><head><title>{title}</title></head>{content}</html>", "text/html")


def redirect(location: str, code: int = 302) -> Behaviour:
    async def behave(_: Request) -> Reply:
        return Reply(code, headers=(("Location", location),))

    return behave


def drop() -> Behaviour:
    async def behave(_: Request) -> Reply:
        return Reply(0, closes=True)

    return behave


class HttpServer(ABC):
    """The server; ``async with`` starts and stops it.

    Parameters
    ----------
    tls
        Certificate and demands of an encrypted server; None: it is not encrypted.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.missed: list[Request] = []
        """What came while the server was down."""

        self.connections = 0
        self._is_down = False
        self.delay = 0.0
        """How long every answer takes (s)."""

        self.habit: Behaviour | None = None
        """What is done to every request, however many come."""

        self._tls = tls
        self._behaviours: list[tuple[str, str, Behaviour]] = []
        self._exit = AsyncExitStack()
        self._connections: set[asyncio.Task[None]] = set()
        self._arrival = asyncio.Event()

    async def __aenter__(self) -> Self:
        listening = serving(self._serve, tls=self._tls, backlog=1024)
        self.port = await self._exit.enter_async_context(listening)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_jobs()
        await self._exit.aclose()

    @property
    def open_connections(self) -> int:
        """How many connections stand."""
        return len(self._connections)

    def misbehave(self, method: str, ending: str, *behaviours: Behaviour) -> None:
        """Have the next requests of a method to a path that ends so answered otherwise, one for each."""
        self._behaviours += [(method, ending, behaviour) for behaviour in behaviours]

    def sent(self, method: str, ending: str = "") -> list[Request]:
        """The requests that came in."""
        return [one for one in self.requests if one.method == method and one.path.endswith(ending)]

    async def received(self, number: int) -> None:
        """Return when so many requests have come in."""
        async with asyncio.timeout(30):
            while len(self.requests) < number:
                self._arrival = asyncio.Event()
                await self._arrival.wait()

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """What is answered."""

    @abstractmethod
    def end_jobs(self) -> None:
        """End what runs."""

    def go_down(self) -> None:
        """Break all connections, and those that come at their first request; the jobs go on."""
        self._is_down = True
        self.break_connections()

    def break_connections(self) -> None:
        """Break those that stand, with whatever is waited for on them."""
        for task in self._connections:
            task.cancel()

    def come_up(self) -> None:
        """Answer again."""
        self._is_down = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                if self._is_down:
                    self.missed.append(request)
                    break
                self.requests.append(request)
                self._arrival.set()
                await asyncio.sleep(self.delay)
                reply = await self._misbehaviour(request) or await self.answer(request)
                if reply.status:
                    writer.write(_head(reply) + reply.body)
                    await writer.drain()
                if reply.closes:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)

    async def _misbehaviour(self, request: Request) -> Reply | None:
        for entry in self._behaviours:
            method, ending, behaviour = entry
            if method == request.method and request.path.endswith(ending):
                self._behaviours.remove(entry)
                return await behaviour(request)
        return None if self.habit is None else await self.habit(request)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode("ascii").split()
    headers = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    is_json = headers.get("content-type") == "application/json"
    form = [] if is_json else parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding="utf-8")
    query = parse_qsl(parts.query)
    phases = frozenset(value for name, value in query if name == "PHASE")
    return Request(method, parts.path, dict(query), form, headers, body, phases)


def _head(reply: Reply) -> bytes:
    length = len(reply.body) if reply.claimed is None else reply.claimed
    fixed = (("Content-Type", reply.kind), ("Content-Length", str(length)))
    lines = [f"{name}: {value}" for name, value in (*reply.headers, *fixed)]
    return "\r\n".join((f"HTTP/1.1 {reply.status} Whatever", *lines, "", "")).encode("latin-1")
