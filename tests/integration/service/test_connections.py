"""Connections that end too early, or mean no good, over real sockets."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lsst.ts.ocps.service.connections import MAX_HEAD
from lsst.ts.ocps.service.main import RunningService, running_service
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.bounded_service import GET, SLEEP, bounded, refusals
from support.processes import until
from support.raw_http import raw_connection
from support.service_calls import Calls
from support.service_process import make_config

pytestmark = pytest.mark.asyncio


def has_left(records: Sequence[Mapping[str, Any]]) -> bool:
    return any("left" in record["event"] for record in records)


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    requests = (
        ("POST", "/sleep/async", "application/x-www-form-urlencoded"),
        ("POST", "/sleep/sync", "multipart/form-data; boundary=b"),
        ("PUT", "/api/v1/job", "application/json"),
    )
    async with running_service(make_config(tmp_path, SLEEP)) as service:
        for method, path, kind in requests:
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            with capture_logs() as records:
                async with raw_connection(service.url) as connection:
                    await connection.send(head.encode() + b"Content-Length: 1000\r\n\r\n--b")
                await until(partial(has_left, records), f"it is noticed that the client of {path} has left")
            assert {record["log_level"] for record in records} == {"debug"}
        async with Calls.to(service.url) as calls:
            figures = (await calls.http.get("/metrics")).text
    told = [line for line in figures.splitlines() if line.startswith("ocps_http_requests_total{")]
    assert sum('status="499"' in line for line in told) == len(requests)
    assert 'status="500"' not in figures
    # The server has a traceback for what nobody caught.
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def begin(service: RunningService, beginning: bytes) -> bytes:
    """All that is answered to a request that is not sent to its end."""
    async with raw_connection(service.url) as connection:
        await connection.send(beginning)
        return await connection.rest()


class TestSize:
    """One connection cannot fill the memory before it is known who asks."""

    async def test_a_head_without_end_is_read_as_far_as_it_may_go(self, tmp_path: Path) -> None:
        chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        endless = {
            "path": (b"GET /", b"x" * 1000),
            "headers": (GET, b"X-Header: 1\r\n" * 100),
            "value": (GET + b"X-Header: ", b"x" * 1000),
            "name": (GET, b"x" * 1000),
            "trailers": (chunked, b"X-Trailer: 1\r\n" * 100),
        }
        async with bounded(tmp_path) as service:
            for number, (kind, (first, more)) in enumerate(endless.items(), start=1):
                sent = 0
                async with raw_connection(service.url) as connection:
                    await connection.send(first)
                    with suppress(ConnectionError):
                        while sent < 64 * 2**20:
                            await connection.send(more)
                            sent += len(more)
                # What the systems of both ends hold for each other is a few MB.
                assert sent < 32 * 2**20, kind
                assert (await refusals(service)) == {"head too large": number}, kind

    async def test_the_largest_head_is_answered_and_one_more_byte_is_not(self, tmp_path: Path) -> None:
        async with bounded(tmp_path) as service:
            for size, status in ((MAX_HEAD, b"200"), (MAX_HEAD + 1, b"431"), (MAX_HEAD, b"200")):
                async with raw_connection(service.url) as connection:
                    filling = b"x" * (size - len(GET) - len(b"X-Header: \r\n\r\n"))
                    head = GET + b"X-Header: " + filling + b"\r\n\r\n"
                    assert len(head) == size
                    await connection.send(head)
                    answer = await connection.head()
                    assert answer.startswith(b"HTTP/1.1 " + status), size
                    if status == b"431":
                        assert (
                            b"UsageError: URL and headers have more than 65536 bytes"
                            in await connection.rest()
                        )
            assert (await refusals(service)) == {"head too large": 1}

    async def test_many_requests_on_a_connection_are_no_large_one(self, tmp_path: Path) -> None:
        form = b"x=" + b"y" * 40_000
        post = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(form)
        get = GET + b"X-Header: " + b"x" * 40_000 + b"\r\n\r\n"
        async with bounded(tmp_path) as service, raw_connection(service.url) as connection:
            # One after the other, and without waiting for the answers.
            for number in range(6):
                await connection.send(get if number % 2 else post + form)
                await connection.answer()
            await connection.send(b"".join((post + form, get, post + form, get)))
            statuses = [(await connection.answer())[9:12] for _ in range(4)]
            assert statuses == [b"405", b"200", b"405", b"200"]


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async with bounded(tmp_path, request_timeout=0.5) as service:
        async with raw_connection(service.url) as connection:
            assert await connection.rest() == b""
        assert (await refusals(service)) == {"too slow": 1}


class TestTime:
    """A connection that does not say what it wants is ended; the times are long enough for slow machines."""

    pytestmark = pytest.mark.system

    async def test_who_stops_in_the_middle_is_told_so(self, tmp_path: Path) -> None:
        post = b"POST /sleep/async HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        beginnings = (b"G", GET + b"X-Header: 1\r\n", post, post + b"x", GET + b"\r\n" + GET)
        async with bounded(tmp_path, request_timeout=1) as service:
            answers = await asyncio.gather(*(begin(service, beginning) for beginning in beginnings))
            for beginning, answer in zip(beginnings, answers, strict=True):
                assert b"HTTP/1.1 408 Request Timeout" in answer, beginning
                assert answer.endswith(b"UsageError: the request took too long to come\n"), beginning
            assert (await refusals(service)) == {"too slow": len(beginnings)}

    async def test_time_does_not_begin_anew_with_each_byte(self, tmp_path: Path) -> None:
        async with (
            bounded(tmp_path, request_timeout=1) as service,
            raw_connection(service.url) as connection,
        ):
            await connection.send(GET + b"X-Header: ")
            ended = asyncio.create_task(connection.rest())
            with suppress(ConnectionError):
                while not ended.done():
                    await connection.send(b"x")
                    await asyncio.sleep(0.02)
            assert b"408" in await ended

    async def test_a_refused_request_need_not_be_sent_to_its_end(self, tmp_path: Path) -> None:
        """The answer comes before the body, which nobody waits for longer than for any other."""
        post = b"POST /nothing/async HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n"
        async with (
            bounded(tmp_path, request_timeout=1) as service,
            raw_connection(service.url) as connection,
        ):
            await connection.send(post)
            assert (await connection.answer())[9:12] == b"403"
            await connection.send(b"x" * 500_000)
            assert await connection.rest() == b""

    async def test_a_connection_is_idle_after_a_body_that_came_after_the_answer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lsst.ts.ocps.service.main._KEEP_ALIVE", 1)
        post = b"POST /nothing/async HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n"
        async with bounded(tmp_path) as service, raw_connection(service.url) as connection:
            await connection.send(post)
            assert (await connection.answer())[9:12] == b"403"
            await connection.send(b"xx")
            assert await connection.rest() == b""

    async def test_a_large_body_has_more_time(self, tmp_path: Path) -> None:
        form = b"x=" + b"y" * 50_000
        head = (
            b"POST /sleep/async HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        async with (
            bounded(tmp_path, request_timeout=1) as service,
            raw_connection(service.url) as connection,
        ):
            await connection.send(head % len(form) + form[:40_000])
            await asyncio.sleep(2)
            await connection.send(form[40_000:])
            # It was read to its end: there is no such parameter.
            assert (await connection.answer())[9:12] == b"400"

    async def test_who_waits_for_an_answer_is_not_slow(self, tmp_path: Path) -> None:
        async with bounded(tmp_path, request_timeout=1, max_wait=2) as service:
            async with Calls.to(service.url) as calls:
                path = await calls.create("sleep")
                assert (await calls.job(path, WAIT="-1")).phase is ExecutionPhase.PENDING
                await asyncio.sleep(1.5)
                assert (await calls.job(path)).phase is ExecutionPhase.PENDING
            assert await refusals(service) == {}


async def test_requests_sent_without_waiting_for_answers_are_answered_in_order_and_whole(
    tmp_path: Path,
) -> None:
    """What is held back for a turn of the event loop comes before the next answer, and before the end."""
    lines = [
        "GET /sleep/async HTTP/1.1",
        "HEAD /sleep/async HTTP/1.1",
        "GET /nothing HTTP/1.1",
        "GET /jobs HTTP/1.1\r\nConnection: close",
    ]
    async with (
        running_service(make_config(tmp_path, SLEEP)) as service,
        raw_connection(service.url) as connection,
    ):
        await connection.send("".join(f"{line}\r\nHost: localhost\r\n\r\n" for line in lines).encode())
        answers = (await connection.rest()).split(b"HTTP/1.1 ")
    statuses, bodies = (
        [answer[:3] for answer in answers],
        [answer.partition(b"\r\n\r\n")[2] for answer in answers],
    )
    assert statuses == [b"", b"200", b"200", b"404", b"200"]
    for body, end in zip(bodies[1:], (b"</uws:jobs>", b"", b"\n", b"</uws:jobs>"), strict=True):
        assert body.endswith(end)
    assert not bodies[2]


async def test_headers_alone_are_waited_for_too(tmp_path: Path) -> None:
    async with running_service(make_config(tmp_path, SLEEP)) as service, Calls.to(service.url) as calls:
        path = await calls.create("sleep")
        async with raw_connection(service.url) as connection:
            await connection.send(f"HEAD {path}?WAIT=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await until(lambda: service.context.watch.total == 1, "it waits")
            await calls.post(f"{path}/phase", PHASE="ABORT")
            head = await connection.head()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert f"content-length: {len((await calls.http.get(path)).content)}\r\n".encode() in head
            # Nothing but the next answer comes after it.
            await connection.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await connection.head()).startswith(b"HTTP/1.1 404 ")
