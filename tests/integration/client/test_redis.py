"""Rapid analysis on a real Redis server: all or nothing, in bounded time, and words that say which."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
import redis.asyncio

from lsst.ts.ocps.client.base import Backend, Submission
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendUnavailableError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.redis_lists import RedisLists
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import RapidAnalysisSettings, SecretSettings
from support.backend_contract import BackendBasics
from support.rapid_bench import RapidAnalysisBench
from support.redis_server import PASSWORD, RedisServer

pytestmark = [pytest.mark.asyncio, pytest.mark.system]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path) as server:
        yield server


async def connect(server: RedisServer, folder: Path, password: str = PASSWORD, **changes: Any) -> Backend:
    file = folder / "password"
    file.write_text(f"{password}\n")
    settings = RapidAnalysisSettings(url=server.url, password=SecretSettings(file=str(file)), **changes)
    return await open_backend("ra", settings)


async def lists_of(server: RedisServer, *keys: str) -> list[list[str]]:
    async with redis.asyncio.Redis(port=server.port, password=PASSWORD, decode_responses=True) as client:
        return [await cast("Awaitable[list[str]]", client.lrange(key, 0, -1)) for key in keys]


def push(config: str) -> Submission:
    return Submission("rapid", "ocps-test-101-abc", (("config", config),))


class TestRapidAnalysisBackendOnRedis(BackendBasics):
    """What every kind of back end does."""

    @pytest_asyncio.fixture
    async def bench(self, server: RedisServer) -> AsyncIterator[RapidAnalysisBench]:
        settings = RapidAnalysisSettings(url=server.url)
        async with redis.asyncio.Redis(port=server.port, password=PASSWORD) as client:
            version = str((await client.info("server"))["redis_version"])
        bench = RapidAnalysisBench(lambda: RedisLists("rapid", settings, PASSWORD), version)
        yield bench
        await bench.backend.aclose()
        (values,) = await lists_of(server, "LATISS")
        assert set(values) <= {"x"}


async def test_pairs_are_pushed_to_the_left_of_their_lists(server: RedisServer, tmp_path: Path) -> None:
    backend = await connect(server, tmp_path)
    assert (await backend.probe()).version.partition(".")[0].isdecimal()
    await backend.create(push('{"LATISS": "first", "other": "é\\n"}'))
    await backend.create(push('{"LATISS": "second"}'))
    assert await lists_of(server, "LATISS", "other") == [["second", "first"], ["é\n"]]


async def test_defect_24_a_key_that_is_no_list_stops_all_of_it(server: RedisServer, tmp_path: Path) -> None:
    backend = await connect(server, tmp_path)
    async with redis.asyncio.Redis(port=server.port, password=PASSWORD) as client:
        await client.set("text", "1")
    with pytest.raises(RequestRefusedError, match=r"nothing was pushed: .*text is a string and no list"):
        await backend.create(push('{"A": "1", "text": "2", "C": "3"}'))
    assert await lists_of(server, "A", "C") == [[], []]


async def test_a_wrong_password_is_said_and_not_shown(server: RedisServer, tmp_path: Path) -> None:
    backend = await connect(server, tmp_path, password="planted-secret")
    with pytest.raises(BackendAuthenticationError, match="back end ra: Redis refuses") as caught:
        await backend.create(push('{"A": "1"}'))
    assert "planted-secret" not in str(caught.value)
    assert await lists_of(server, "A") == [[]]


async def test_a_server_that_is_down_was_pushed_nothing_and_works_when_it_is_back(
    server: RedisServer, tmp_path: Path
) -> None:
    backend = await connect(server, tmp_path)
    await server.stop()
    with pytest.raises(BackendUnavailableError, match=f"{server.url}: .*nothing was pushed") as caught:
        await backend.create(push('{"A": "1"}'))
    assert not caught.value.was_sent
    with pytest.raises(BackendUnavailableError, match=server.url):
        await backend.probe()
    await server.start()
    await backend.create(push('{"A": "1"}'))
    assert await lists_of(server, "A") == [["1"]]


async def test_a_frozen_server_ends_the_call_in_bounded_time(server: RedisServer, tmp_path: Path) -> None:
    backend = await connect(server, tmp_path, call_timeout=0.5)
    server.freeze()
    with pytest.raises(BackendUnavailableError, match=r"no answer in 0\.5 s; nothing was pushed"):
        await backend.create(push('{"A": "1"}'))
    with pytest.raises(BackendUnavailableError, match=r"no answer in 0\.5 s"):
        await backend.probe()
