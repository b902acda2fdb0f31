"""Servers that tests of the client talk to."""

from collections.abc import AsyncIterator

import pytest_asyncio

from support.uws_bench import ServerBench, server_bench
from support.uws_server import UwsServer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[UwsServer]:
    async with UwsServer() as server:
        yield server


@pytest_asyncio.fixture
async def store() -> AsyncIterator[UwsServer]:
    """Another server, as an object store is: another origin, by its port."""
    async with UwsServer() as server:
        yield server


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[ServerBench]:
    """A server, and a back end that speaks to it."""
    async with server_bench(call_timeout=20) as bench:
        yield bench
