"""The HTTP client of the registry: what it sends, and what it makes of slow, broken and refusing ones."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from lsst.ts.ocps.sal.errors import RegistryError, SchemaNotFoundError, SchemaRefusedError
from lsst.ts.ocps.sal.registry import RegisteredSchema
from lsst.ts.ocps.sal.registry_http import HttpSchemaRegistry
from support.ports import free_port
from support.serving import serving

pytestmark = pytest.mark.asyncio

TEXT = '{"type": "record", "name": "a", "fields": []}'
SUBJECT = "lsst.sal.OCPS.ackcmd-value"


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: Any


class ScriptedServer:
    """Answers requests over real sockets as a test says; the last answer is repeated."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.delay = 0.0
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["ScriptedServer"]:
        async with serving(self._answer) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(line.rpartition(" ")[0], headers, json.loads(raw) if raw else None))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(self.delay)
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()


@asynccontextmanager
async def connected(
    *answers: tuple[int, Any], budget: float = 10.0
) -> AsyncIterator[tuple[ScriptedServer, HttpSchemaRegistry]]:
    async with ScriptedServer(*answers).serve() as server:
        registry = HttpSchemaRegistry(server.url, timeout=budget)
        try:
            yield server, registry
        finally:
            await registry.aclose()


async def test_registration_is_sent_as_the_real_client_sends_it() -> None:
    async with connected((200, {"id": 7})) as (server, registry):
        assert await registry.register(SUBJECT, TEXT) == 7
    (request,) = server.requests
    assert request.line == f"POST /subjects/{SUBJECT}/versions?normalize=False"
    assert request.body == {"schema": TEXT, "schemaType": "AVRO", "references": []}
    assert request.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert request.headers["accept"] == "*/*"


async def test_registration_is_never_taken_from_memory_for_the_registry_may_be_another_one() -> None:
    async with connected((200, {"id": 7}), (200, {"id": 1})) as (_, registry):
        assert await registry.register(SUBJECT, TEXT) == 7
        assert await registry.register(SUBJECT, TEXT) == 1


async def test_a_schema_is_asked_for_once_even_by_many_at_once() -> None:
    async with connected((200, {"schema": TEXT})) as (server, registry):
        schemas = await asyncio.gather(*(registry.schema(5) for _ in range(20)))
        assert {schema.text for schema in schemas} == {TEXT}
    assert [request.line for request in server.requests] == ["GET /schemas/ids/5"]


async def test_the_latest_version_is_asked_for_each_time() -> None:
    answers = [(200, {"id": 1, "version": 1, "schema": TEXT}), (404, {"error_code": 40401, "message": "no"})]
    async with connected(*answers) as (server, registry):
        assert await registry.latest(SUBJECT) == RegisteredSchema(1, TEXT)
        assert await registry.latest(SUBJECT) is None
    assert {request.line for request in server.requests} == {f"GET /subjects/{SUBJECT}/versions/latest"}


async def test_earlier_versions_are_read_one_by_one_and_a_deleted_one_is_passed_over() -> None:
    gone = (404, {"error_code": 40402, "message": "no"})
    answers = [(200, [1, 2, 4, 3]), (200, {"id": 9, "schema": TEXT}), gone, (200, {"id": 8, "schema": TEXT})]
    async with connected(*answers) as (server, registry):
        versions = [version async for version in registry.earlier(SUBJECT)]
    assert [version.schema_id for version in versions] == [9, 8]
    path = f"GET /subjects/{SUBJECT}/versions"
    assert [request.line for request in server.requests] == [path, f"{path}/3", f"{path}/2", f"{path}/1"]


@pytest.mark.parametrize("answer", [{"a": 1}, ["1"], [None], "text"])
async def test_a_list_of_versions_that_is_none_is_a_registry_error(answer: Any) -> None:
    async with connected((200, answer)) as (server, registry):
        with pytest.raises(RegistryError) as caught:
            _ = [version async for version in registry.earlier(SUBJECT)]
        assert server.url in str(caught.value)


async def test_a_strange_subject_is_quoted() -> None:
    async with connected((200, {"id": 7})) as (server, registry):
        await registry.register("a/b c?d", TEXT)
    assert server.requests[0].line == "POST /subjects/a%2Fb%20c%3Fd/versions?normalize=False"


async def test_an_incompatible_schema_is_refused_at_once_with_what_the_registry_says() -> None:
    async with connected((409, {"error_code": 409, "message": "is incompatible"})) as (server, registry):
        with pytest.raises(SchemaRefusedError, match="is incompatible") as caught:
            await registry.register(SUBJECT, TEXT)
        assert server.url in str(caught.value)
        assert SUBJECT in str(caught.value)
    assert len(server.requests) == 1


async def test_a_registration_that_crossed_another_is_repeated() -> None:
    crossed = {"error_code": 409, "message": "An artifact with ID 'x' in group 'null' already exists."}
    async with connected((409, crossed), (409, crossed), (200, {"id": 7})) as (server, registry):
        assert await registry.register(SUBJECT, TEXT) == 7
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_transient_failure_is_repeated(status: int) -> None:
    async with connected((status, "later"), (status, "later"), (200, {"id": 7})) as (server, registry):
        assert await registry.register(SUBJECT, TEXT) == 7
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 422])
async def test_a_lasting_failure_is_told_at_once(status: int) -> None:
    async with connected((status, {"message": "for this reason"})) as (server, registry):
        with pytest.raises(RegistryError, match=f"{status} for this reason") as caught:
            await registry.register(SUBJECT, TEXT)
        assert server.url in str(caught.value)
    assert len(server.requests) == 1


async def test_a_registry_that_stays_broken_is_given_up_with_address_and_time() -> None:
    async with connected((500, {"message": "broken"}), budget=1.0) as (server, registry):
        with pytest.raises(RegistryError, match=r"500 broken \(tried for 1 s\)") as caught:
            await registry.register(SUBJECT, TEXT)
        assert server.url in str(caught.value)
        assert len(server.requests) > 1


async def test_no_registry_is_told_with_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    registry = HttpSchemaRegistry(url, timeout=0.5)
    with pytest.raises(RegistryError, match=url):
        await registry.register(SUBJECT, TEXT)
    await registry.aclose()


async def test_a_registry_that_does_not_answer_is_given_up() -> None:
    async with connected((200, {"id": 7}), budget=0.5) as (server, registry):
        server.delay = 30.0
        begin = time.monotonic()
        with pytest.raises(RegistryError, match="no answer within"):
            await registry.register(SUBJECT, TEXT)
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("answer", ["<html>", [], {}, {"id": "7"}, {"id": None}, {"id": True}])
async def test_nonsense_is_told_with_the_beginning_of_the_answer(answer: Any) -> None:
    async with connected((200, answer)) as (server, registry):
        with pytest.raises(RegistryError) as caught:
            await registry.register(SUBJECT, TEXT)
        assert server.url in str(caught.value)


@pytest.mark.parametrize("answer", [{"schema": "{"}, {"schema": '{"type": "nosuch"}'}, {"schema": 7}])
async def test_a_schema_that_is_none_is_a_registry_error(answer: Any) -> None:
    async with connected((200, answer)) as (_, registry):
        with pytest.raises(RegistryError):
            await registry.schema(5)


async def test_an_unknown_id_is_not_asked_for_at_each_record() -> None:
    async with connected((404, {"error_code": 40403, "message": "no"})) as (server, registry):
        for _ in range(10):
            with pytest.raises(SchemaNotFoundError):
                await registry.schema(5)
        assert len(server.requests) == 1


async def test_an_unknown_id_is_asked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.registry_http._ASK_AGAIN_AFTER", 0.0)
    async with connected((404, {"message": "no"}), (200, {"schema": TEXT})) as (_, registry):
        with pytest.raises(SchemaNotFoundError):
            await registry.schema(5)
        assert (await registry.schema(5)).text == TEXT


async def test_a_known_id_that_cannot_be_right_is_asked_for_anew_but_not_at_each_record() -> None:
    other = TEXT.replace('"a"', '"b"')
    async with connected((200, {"schema": TEXT}), (200, {"schema": other})) as (server, registry):
        assert (await registry.schema(5)).name == "a"
        for _ in range(10):
            assert (await registry.schema_anew(5)).name == "b"
        assert len(server.requests) == 2


async def test_an_outage_delays_a_reader_once_and_not_for_every_unknown_id() -> None:
    registry = HttpSchemaRegistry(f"http://127.0.0.1:{free_port()}", timeout=0.5)
    begin = time.monotonic()
    for schema_id in range(1, 51):
        with pytest.raises(RegistryError):
            await registry.schema(schema_id)
    assert time.monotonic() - begin < 10
    await registry.aclose()
