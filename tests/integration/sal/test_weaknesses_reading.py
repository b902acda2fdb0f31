"""Sal-on-kafka section 20, points 1, 7, 8 and 14: how records are read."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from lsst.ts.ocps.sal.broker.base import Record
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench
from support.processes import suspended
from support.sal_fixtures import WAIT, make_environment, open_pair, until
from support.sal_log import read_log
from support.sal_records import drain, write_history

pytestmark = pytest.mark.asyncio

LISTENER = """
import asyncio
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.remote import Remote

async def main():
    async with Domain() as domain, Remote(domain, "Test", 1, include=["scalars"]) as remote:
        async def show(data):
            print(data.int0, flush=True)
        remote.evt_scalars.callback = show
        print("ready", flush=True)
        await asyncio.sleep(120)

asyncio.run(main())
"""
"""A program that prints every event."""


@contextmanager
def recorded_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the requests that go to a real broker."""
    names: list[str] = []
    real_send = AIOKafkaConnection.send

    def send(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
        names.append(type(request).__name__.partition("Request")[0])
        return real_send(self, request, expect_response)

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConnection, "send", send)
        yield names


class Hold:
    """Keeps a read loop from reading, as a busy or a suspended process does."""

    def __init__(self, salinfo: SalInfo) -> None:
        assert salinfo.reader is not None
        self._reader = salinfo.reader._reader
        self._real_read = self._reader.read
        self._gate = asyncio.Event()
        self._gate.set()
        self._is_held = asyncio.Event()
        self.batches: list[int] = []
        self._reader.read = self._read  # type: ignore[method-assign]

    async def _read(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:  # noqa: ASYNC109
        self._is_held.set()
        await self._gate.wait()
        records = await self._real_read(timeout=timeout, max_records=max_records)
        if records:
            self.batches.append(len(records))
        return records

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        self._gate.clear()
        self._is_held.clear()
        await asyncio.wait_for(self._is_held.wait(), WAIT)
        self.batches.clear()
        yield
        self._gate.set()


async def test_weakness_01_a_start_joins_no_group(
    kafka_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded_requests(monkeypatch) as names:
        async with open_pair() as (controller, remote):

            async def callback(data: BaseMsgType) -> None:
                await controller.evt_scalars.set_write(int0=data.int0)

            controller.cmd_setScalars.callback = callback
            await remote.cmd_setScalars.set_start(int0=5, timeout=WAIT)
            assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 5
    kinds = {name.partition("_")[0] for name in names}
    assert {"Metadata", "Fetch", "Produce"} <= kinds
    of_groups = ("Group", "Coordinator", "Commit", "Heartbeat", "OffsetFetch")
    assert not [kind for kind in kinds if any(word in kind for word in of_groups)]


async def test_weakness_07_a_reader_that_was_held_up_reads_everything_it_missed(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        seen: dict[str, list[int]] = {"event": [], "command": []}

        def make(name: str) -> Any:
            async def callback(data: BaseMsgType) -> None:
                seen[name].append(data.int0)

            return callback

        remote.evt_scalars.callback = make("event")
        controller.cmd_setScalars.callback = make("command")
        remote_hold, controller_hold = Hold(remote.salinfo), Hold(controller.salinfo)
        async with remote_hold.held(), controller_hold.held():
            await asyncio.gather(*(controller.evt_scalars.set_write(int0=n) for n in range(1, 701)))
            commands = [
                asyncio.create_task(remote.cmd_setScalars.set_start(int0=n, timeout=60)) for n in range(600)
            ]
            await read_log(
                sal_environment,
                remote.cmd_setScalars.topic_info.kafka_name(sal_environment.topic_subname),
                count=600,
            )
        await asyncio.gather(*commands)
        await until(lambda: len(seen["event"]) == 700)
        assert seen == {"event": list(range(1, 701)), "command": list(range(600))}


async def test_weakness_07_a_suspended_process_reads_everything_it_missed(
    noida_bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment(noida_bench.settings)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with Controller("Test", 1) as controller:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LISTENER),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | environment,  # noqa: TID251 (of the child)
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert await process.stdout.readline() == b"ready\n"
                async with suspended(process.pid):
                    for number in range(1, 601):
                        await controller.evt_scalars.set_write(int0=number)
                lines = [await process.stdout.readline() for _ in range(600)]
            assert [int(line) for line in lines] == list(range(1, 601))
        finally:
            process.kill()
            await process.wait()


async def test_weakness_08_many_records_are_read_at_once_and_without_threads(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        remote.evt_scalars.callback = callback
        hold = Hold(remote.salinfo)
        async with hold.held():
            await asyncio.gather(*(controller.evt_scalars.set_write(int0=n) for n in range(1, 1001)))
            threads = threading.active_count()
        await until(lambda: len(seen) == 1000)
        # The original polls for one record at a time.
        assert len(hold.batches) < 1000 / 10
        assert threading.active_count() <= threads


async def test_weakness_14_other_indices_do_not_push_the_last_value_out_of_reach(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_MAX_HISTORY_READ", "3")
    await write_history((1, 1), (1, 2), (2, 3), *((2, n) for n in range(10)))
    async with Domain() as domain:
        async with Remote(domain, "Test", 1) as remote:
            assert drain(remote.evt_scalars) == [(1, 2)]
        async with Remote(domain, "Test", 2) as remote:
            assert drain(remote.evt_scalars) == [(2, 9)]
        async with Remote(domain, "Test", 3) as remote:
            assert drain(remote.evt_scalars) == []
