"""Who gets a connection, and what becomes of it."""

import asyncio

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.client.credentials import Credentials
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.transport import HttpTransport
from support.processes import until
from support.uws_server import Request, UwsServer

pytestmark = pytest.mark.asyncio


def deadline(seconds: float = 20) -> Deadline:
    return Deadline("test", seconds)


async def test_many_requests_at_once_take_turns_at_few_connections(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials(), max_connections=3)
    answers = await asyncio.gather(
        *(transport.get(f"{server.url}/{number}", deadline=deadline()) for number in range(60))
    )
    assert {answer.status for answer in answers} == {404}
    assert server.connections == 3
    # In the order in which they came.
    assert [request.path for request in server.requests[:3]] == ["/0", "/1", "/2"]
    await transport.aclose()


async def test_what_had_no_connection_was_not_sent(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials(), max_connections=1)
    release = asyncio.Event()

    async def hold(_: Request) -> None:
        await release.wait()

    server.misbehave("POST", "/held", hold, hold)
    held = asyncio.create_task(transport.change("POST", f"{server.url}/held", deadline=deadline(20)))
    await server.received(1)
    with pytest.raises(BackendUnavailableError, match="all connections were in use") as never_sent:
        await transport.change("POST", f"{server.url}/other", deadline=deadline(0.1))
    assert not never_sent.value.was_sent
    release.set()
    await held
    release.clear()
    with pytest.raises(BackendUnavailableError, match=r"no answer in 0\.1 s$") as sent:
        await transport.change("POST", f"{server.url}/held", deadline=deadline(0.1))
    assert sent.value.was_sent
    await transport.aclose()


async def test_after_a_crowd_the_connections_are_closed_but_for_a_few(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    release = asyncio.Event()

    async def hold(_: Request) -> None:
        await release.wait()

    server.habit = hold
    crowd = [
        asyncio.create_task(transport.get(f"{server.url}/{number}", deadline=deadline(30)))
        for number in range(60)
    ]
    await server.received(60)
    assert server.open_connections == 60
    release.set()
    await asyncio.gather(*crowd)
    await until(lambda: server.open_connections <= 24, "most connections are closed")
    await transport.aclose()
    await until(lambda: server.open_connections == 0, "all connections are closed")
