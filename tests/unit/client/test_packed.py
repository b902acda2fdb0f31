"""Answers that come compressed: some servers do so unasked, and a kilobyte may hold a gigabyte."""

import gzip
import tracemalloc

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.client.credentials import Credentials
from lsst.ts.ocps.client.errors import BackendFailedError
from lsst.ts.ocps.client.transport import HttpTransport
from support.uws_server import Reply, Request, UwsServer

pytestmark = pytest.mark.asyncio


def deadline() -> Deadline:
    return Deadline("the test", 20)


async def test_packed_answers_are_unpacked_up_to_the_limit(server: UwsServer) -> None:
    async def packed(_: Request) -> Reply:
        return Reply(200, gzip.compress(b"a" * 5_000_000), headers=(("Content-Encoding", "gzip"),))

    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    server.misbehave("GET", "/x", packed, packed)
    answer = await transport.get(f"{server.url}/x", deadline=deadline(), max_bytes=100_000)
    assert (len(answer.content), answer.is_complete) == (100_000, False)
    answer = await transport.get(f"{server.url}/x", deadline=deadline())
    assert (len(answer.content), answer.is_complete) == (5_000_000, True)
    assert server.requests[0].headers["accept-encoding"] == "identity"
    await transport.aclose()


async def test_what_is_packed_is_never_unpacked_as_a_whole(server: UwsServer) -> None:
    packed = gzip.compress(b"a" * 60_000_000)

    async def give(_: Request) -> Reply:
        return Reply(200, packed, headers=(("Content-Encoding", "gzip"),))

    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    server.misbehave("GET", "/x", give)
    tracemalloc.start()
    try:
        answer = await transport.get(f"{server.url}/x", deadline=deadline(), max_bytes=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(answer.content), answer.is_complete) == (1_000_000, False)
    assert peak < 20_000_000
    await transport.aclose()


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("gzip, gzip", b"", "came as 'gzip, gzip', which was not asked for"),
        ("br", b"x", "came as 'br'"),
        ("gzip", b"no such thing", "is no gzip"),
    ],
)
async def test_other_packings_are_refused(server: UwsServer, coding: str, body: bytes, words: str) -> None:
    async def give(_: Request) -> Reply:
        return Reply(200, body, headers=(("Content-Encoding", coding),))

    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    server.misbehave("GET", "/x", give)
    with pytest.raises(BackendFailedError, match=words):
        await transport.get(f"{server.url}/x", deadline=deadline())
    await transport.aclose()
