"""What a late joiner gets, and what becomes of records that are wrong, on a broker of each kind."""

import asyncio

import pytest

from lsst.ts.ocps.sal.broker.base import TopicPartition
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_records import SCALARS, drain, write_history

pytestmark = pytest.mark.asyncio


async def test_a_late_joiner_gets_the_newest_event_of_each_index_and_no_telemetry(
    sal_environment: SalSettings,
) -> None:
    await write_history((2, 1), (1, 2), (2, 3), (1, 4), (3, 5))
    async with Domain() as domain:
        async with Remote(domain, "Test", 0) as remote:
            assert drain(remote.evt_scalars) == [(2, 3), (1, 4), (3, 5)]
            assert remote.tel_scalars.get() is None
            assert remote.evt_scalars.get().int0 == 5
            assert remote.evt_arrays.get() is None
        async with Remote(domain, "Test", 1, evt_max_history=1) as remote:
            assert (await remote.evt_scalars.aget(timeout=0)).int0 == 4
            assert drain(remote.evt_scalars) == [(1, 4)]
        async with Remote(domain, "Test", 1, evt_max_history=0) as remote:
            assert remote.evt_scalars.get() is None


async def test_a_callback_set_before_the_start_gets_the_history(sal_environment: SalSettings) -> None:
    await write_history((1, 7))
    seen: list[int] = []

    async def callback(data: BaseMsgType) -> None:
        seen.append(data.int0)

    async with Domain() as domain:
        remote = Remote(domain, "Test", 1, start=False)
        remote.evt_scalars.callback = callback
        await remote.start()
        await until(lambda: seen == [7])


async def test_new_records_follow_the_history(sal_environment: SalSettings) -> None:
    await write_history((1, 1), (1, 2))
    async with open_pair(index=1) as (controller, remote):
        await controller.evt_scalars.set_write(int0=3)
        await until(lambda: remote.evt_scalars.nqueued == 2)
        assert drain(remote.evt_scalars) == [(1, 2), (1, 3)]


async def test_deleted_records_do_not_stop_the_start(
    memory_bench: BrokerBench, memory_environment: SalSettings
) -> None:
    # In memory only: brokers delete nothing from compacted topics on request.
    await write_history((1, 1), (1, 2), (1, 3))
    topic = SCALARS.kafka_name(memory_environment.topic_subname)
    await memory_bench.delete_before(TopicPartition(topic, 0), 3)
    async with asyncio.timeout(WAIT), open_pair(index=1) as (controller, remote):
        assert remote.evt_scalars.get() is None
        await controller.evt_scalars.set_write(int0=4)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 4
