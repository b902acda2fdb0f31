"""Requests as clients send them: query, urlencoded, multipart, and broken ones."""

from collections.abc import AsyncGenerator

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from lsst.ts.ocps.service.errors import RequestError, RequestTooLargeError, UnsupportedMediaError, UsageError
from lsst.ts.ocps.service.forms import Form, read_form

pytestmark = pytest.mark.asyncio
URL = "http://uws.example/p/async"


def as_received(sent: httpx.Request, *, chunk: int = 7) -> Request:
    """A request as the server gets it, in small pieces."""
    body = sent.read()
    pieces = iter([body[start : start + chunk] for start in range(0, len(body), chunk)])

    async def receive() -> Message:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return Request(
        {
            "type": "http",
            "method": sent.method,
            "path": sent.url.path,
            "query_string": sent.url.query,
            "headers": [(name.lower(), value) for name, value in sent.headers.raw],
        },
        receive,
    )


async def pairs_of(sent: httpx.Request, *, max_bytes: int = 10_000) -> tuple[tuple[str, str], ...]:
    return (await read_form(as_received(sent), max_bytes=max_bytes)).pairs


async def test_query_and_body_are_one_form() -> None:
    sent = httpx.Request("POST", f"{URL}?PHASE=RUN", data={"a": ["1", "2"], "b": ""})
    assert await pairs_of(sent) == (("PHASE", "RUN"), ("a", "1"), ("a", "2"), ("b", ""))


async def test_values_arrive_verbatim() -> None:
    value = "ü & = + % \r\n\t{}\N{SNOWMAN}"
    assert await pairs_of(httpx.Request("POST", URL, data={"näme": value})) == (("näme", value),)


async def test_a_multipart_form_is_a_form() -> None:
    value = "ü & = +\nline"
    files = [("a", (None, value)), ("a", (None, "2")), ("PHASE", (None, "RUN"))]
    sent = httpx.Request("POST", URL, files=files)
    assert await pairs_of(sent) == (("a", value), ("a", "2"), ("PHASE", "RUN"))


async def test_no_body_is_an_empty_form_whatever_its_type() -> None:
    assert await pairs_of(httpx.Request("POST", URL)) == ()
    assert await pairs_of(httpx.Request("POST", URL, headers={"Content-Type": "application/json"})) == ()


async def test_a_body_that_is_no_form_is_refused_with_its_type() -> None:
    with pytest.raises(UnsupportedMediaError, match="application/json"):
        await pairs_of(httpx.Request("POST", URL, json={"a": 1}))


async def test_a_file_is_refused_by_its_name() -> None:
    with pytest.raises(UsageError, match="image: "):
        await pairs_of(httpx.Request("POST", URL, files={"image": b"pixels"}))


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 1001)),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"not a form at all"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
    ],
)
async def test_a_broken_form_is_refused(media_type: str, body: bytes) -> None:
    sent = httpx.Request("POST", URL, content=body, headers={"Content-Type": media_type})
    with pytest.raises(RequestError) as raised:
        await pairs_of(sent)
    assert raised.value.status == 400


async def test_no_more_of_a_large_body_is_read_than_allowed() -> None:
    read = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal read
        while True:
            read += 100
            yield b"x" * 100

    sent = httpx.Request("POST", URL, content=b"")
    request = as_received(sent)
    stream = endless()

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(stream), "more_body": True}

    request = Request(request.scope, receive)
    with pytest.raises(RequestTooLargeError, match="1000 bytes"):
        await read_form(request, max_bytes=1000)
    assert read <= 1200
    await stream.aclose()


async def test_names_are_compared_ignoring_case_and_repeats_of_single_ones_refused() -> None:
    form = Form((("Phase", "RUN"), ("x", "1"), ("X", "2")))
    assert form.get("PHASE") == "RUN"
    assert form.get("RUNID") is None
    assert form.get_all("X") == ("1", "2")
    assert form.without({"PHASE"}) == (("x", "1"), ("X", "2"))
    with pytest.raises(UsageError, match="X: given 2 times"):
        form.get("X")
