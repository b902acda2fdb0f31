"""How many connections there are, whose they are, and how long they are held, over real sockets."""

import resource
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from lsst.ts.ocps.service.main import _connection_limits, running_service
from support.bounded_service import GET, SLEEP, bounded, refusals, until_answered
from support.processes import until
from support.raw_http import RawConnection, raw_connection
from support.service_calls import Calls
from support.service_process import PAYLOADS, make_config

pytestmark = pytest.mark.asyncio


async def test_no_more_than_so_many_connections_are_in_use(tmp_path: Path) -> None:
    async with bounded(tmp_path, max_connections=2, max_connections_per_address=9) as service:
        async with Calls.to(service.url) as calls:
            path = await calls.create("sleep")
        waiting = b"GET %s?WAIT=30 HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
        watch = service.context.watch
        async with raw_connection(service.url) as one, raw_connection(service.url) as two:
            for connection in (one, two):
                await connection.send(waiting)
            await until(lambda: watch.total == 2, "both wait")
            async with raw_connection(service.url) as third:
                answer = await third.rest()
                assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert b"ServiceUnavailable: there are too many connections" in answer
            assert watch.total == 2
        await until_answered(service)
        assert (await refusals(service))["too many"] >= 1


async def test_nobody_is_kept_out_by_connections_that_are_only_open(tmp_path: Path) -> None:
    bounds = {"max_connections": 3, "max_connections_per_address": 9}
    async with bounded(tmp_path, **bounds) as service, AsyncExitStack() as stack:

        async def connect(asked: bytes) -> RawConnection:
            connection = await stack.enter_async_context(raw_connection(service.url))
            await connection.send(asked)
            if asked.endswith(b"\r\n\r\n"):
                assert (await connection.answer())[9:12] == b"200"
            return connection

        # One that was answered, one that does not say what it wants, one that was answered later, and again.
        first, second, third = await connect(GET + b"\r\n"), await connect(GET), await connect(GET + b"\r\n")
        await first.send(GET + b"\r\n")
        assert (await first.answer())[9:12] == b"200"
        for unused in (second, third):
            await connect(GET + b"\r\n")
            assert await unused.rest() == b""
        await first.send(GET + b"\r\n")
        assert (await first.answer())[9:12] == b"200"


class TestAddresses:
    """Nobody has all connections, but those behind whom there are many clients."""

    async def test_an_address_has_so_many_and_others_have_theirs(self, tmp_path: Path) -> None:
        async with (
            bounded(tmp_path, max_connections_per_address=2) as service,
            AsyncExitStack() as stack,
            Calls.to(service.url) as calls,
        ):
            path = await calls.create("sleep")
            await calls.http.aclose()
            other = await stack.enter_async_context(raw_connection(service.url, address="127.0.0.2"))
            waiting = b"GET %s?WAIT=30 HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
            for _ in range(2):
                connection = await stack.enter_async_context(raw_connection(service.url))
                await connection.send(waiting)
            await until(lambda: service.context.watch.total == 2, "both wait")
            async with raw_connection(service.url) as third:
                answer = await third.rest()
            assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
            assert b"ServiceUnavailable: your address has 2 connections, and no more are allowed" in answer
            await other.send(GET + b"\r\n")
            assert (await other.answer())[9:12] == b"200"
            assert service.context.watch.total == 2
            # One that is not in use makes room for another one of its address.
            async with raw_connection(service.url, address="127.0.0.2") as another:
                await another.send(waiting)
                await until(lambda: service.context.watch.total == 3, "it waits")
                async with raw_connection(service.url, address="127.0.0.2") as newest:
                    assert await other.rest() == b""
                    await newest.send(GET + b"\r\n")
                    assert (await newest.answer())[9:12] == b"200"

    async def test_a_known_proxy_may_have_all(self, tmp_path: Path) -> None:
        access = {"mode": "proxy", "networks": ["127.0.0.1"]}
        bounds = {"access": access, "max_connections_per_address": 1}
        async with bounded(tmp_path, **bounds) as service, AsyncExitStack() as stack:
            for _ in range(3):
                connection = await stack.enter_async_context(raw_connection(service.url))
                await connection.send(GET + b"X-Auth-Request-User: somebody\r\n\r\n")
                assert (await connection.answer())[9:12] == b"200"

    async def test_ended_connections_do_not_count(self, tmp_path: Path) -> None:
        async with bounded(tmp_path, max_connections_per_address=1) as service:
            for _ in range(5):
                async with raw_connection(service.url) as connection:
                    await connection.send(GET + b"\r\n")
                    assert (await connection.answer())[9:12] == b"200"


async def test_a_client_that_does_not_read_its_result_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 64 * 2**20
    monkeypatch.setitem(PAYLOADS["shell"], "execution_duration", 60)
    async with running_service(
        make_config(tmp_path, {"shell": PAYLOADS["shell"]}, send_timeout=0.5, max_wait=20)
    ) as service:
        async with Calls.to(service.url) as calls:
            script = f'truncate -s {size} "$JOB_OUTPUT_DIR/large"'
            path = await calls.create("shell", script=script, PHASE="RUN")
            await calls.end(path)
            pending = await calls.create("shell")
        async with raw_connection(service.url) as waiting, raw_connection(service.url) as slow:
            # Who waits for an answer takes nothing either, and is not meant.
            await waiting.send(b"GET %s?WAIT=20 HTTP/1.1\r\nHost: localhost\r\n\r\n" % pending.encode())
            head = f"GET {path}/results/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await slow.send(head.encode())
            refused = service.context.metrics._refused.labels("not read")
            await until(lambda: refused._value.get() == 1, "it is ended")
            received = await slow.rest()
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert len(received) < size
            async with Calls.to(service.url) as calls:
                await calls.post(f"{pending}/phase", PHASE="ABORT")
            assert (await waiting.answer())[9:12] == b"200"


async def test_connections_leave_files_for_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, SLEEP, max_running=10)
    for files, connections in ((1_000_000, 5000), (1024, 1024 - 168), (100, 25)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        limits = _connection_limits(config, print)
        assert (limits.connections, limits.per_address) == (connections, connections // 2)


async def test_addresses_are_counted_where_they_tell_clients_apart(tmp_path: Path) -> None:
    tokens = {"mode": "tokens", "file": "tokens"}
    named = {"public_url": "https://uws.example"}
    proxy = ip_network("10.1.0.0/16")
    for values, number, proxies in (
        ({}, 2500, ()),
        ({"access": tokens | {"forwarders": [str(proxy)]}, **named}, 2500, (proxy,)),
        ({"access": {"mode": "proxy", "networks": [str(proxy)]}, **named}, 2500, (proxy,)),
        # All come from a proxy whose address nobody has told.
        ({"access": tokens, **named}, None, ()),
        ({"access": tokens, **named, "max_connections_per_address": 7}, 7, ()),
    ):
        limits = _connection_limits(make_config(tmp_path, SLEEP, **values), print)
        assert (limits.per_address, limits.proxies) == (number, proxies), values
