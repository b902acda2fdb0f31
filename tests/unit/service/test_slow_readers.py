"""A client that takes nothing of its answer is waited for so long, and no longer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.server import ServerState

from lsst.ts.ocps.service.connections import BoundedProtocol, ConnectionLimits, bounded_protocol
from support.virtual_time import run_in_virtual_time

LIMIT = 60.0


class Slow(asyncio.Transport):
    """A connection whose other end takes what the test says."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 1)})
        self.waiting = 0
        self.ends: list[str] = []

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.waiting += len(data)

    @override
    def get_write_buffer_size(self) -> int:
        return self.waiting

    @override
    def close(self) -> None:
        self.ends.append("close")

    @override
    def abort(self) -> None:
        self.ends.append("abort")

    @override
    def is_closing(self) -> bool:
        return bool(self.ends)


def connect(refused: list[str]) -> tuple[BoundedProtocol, Slow]:
    async def never(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("nothing is asked")

    config = Config(never, log_config=None)
    config.load()
    limits = ConnectionLimits(10, 1e9, LIMIT, refused.append)
    protocol: Any = bounded_protocol(limits)
    connection = protocol(config, ServerState(), {}, asyncio.get_running_loop())
    transport = Slow()
    connection.connection_made(transport)
    return connection, transport


async def follow(take: Callable[[Slow, int], None], *, closes: bool = False) -> tuple[list[str], float]:
    """Write an answer; each 10 s the client takes something, until the connection ends or all is sent."""
    refused: list[str] = []
    connection, transport = connect(refused)
    connection.transport.write(b"x" * 100_000)
    if closes:
        connection.transport.close()
    for step in range(1000):
        await asyncio.sleep(10)
        if "abort" in transport.ends or not transport.waiting:
            break
        take(transport, step)
    ends = [*transport.ends]
    connection.connection_lost(None)
    assert refused == (["not read"] if "abort" in ends else [])
    return ends, asyncio.get_running_loop().time()


def nothing(_transport: Slow, _step: int) -> None:
    """Take nothing."""


@pytest.mark.parametrize("closes", [False, True])
def test_who_takes_nothing_is_ended_though_the_answer_is_whole(*, closes: bool) -> None:
    ends, time = run_in_virtual_time(follow(nothing, closes=closes))
    # A close in good order would wait for the client for ever.
    assert ends == ["close", "abort"][not closes :]
    assert LIMIT <= time <= LIMIT * 1.5


def test_each_byte_that_is_taken_gives_new_time() -> None:
    def take_late(transport: Slow, step: int) -> None:
        if step % 5 == 4:
            transport.waiting -= min(transport.waiting, 5_000)

    ends, time = run_in_virtual_time(follow(take_late))
    assert ends == []
    assert time > 10 * LIMIT


def test_as_much_written_as_taken_is_progress() -> None:
    async def stream() -> list[str]:
        refused: list[str] = []
        connection, transport = connect(refused)
        for _ in range(100):
            connection.transport.write(b"x" * 100_000)
            await asyncio.sleep(LIMIT / 2)
            assert transport.waiting == 100_000
            transport.waiting = 0
        connection.connection_lost(None)
        return refused

    assert run_in_virtual_time(stream()) == []


def test_who_has_taken_all_is_not_looked_at() -> None:
    async def idle() -> list[str]:
        refused: list[str] = []
        connection, transport = connect(refused)
        connection.transport.write(b"x" * 100_000)
        transport.waiting = 0
        await asyncio.sleep(100 * LIMIT)
        # Nor is the time between two answers counted.
        connection.transport.write(b"x" * 100_000)
        await asyncio.sleep(LIMIT / 2)
        assert not transport.ends
        connection.connection_lost(None)
        return refused

    assert run_in_virtual_time(idle()) == []
