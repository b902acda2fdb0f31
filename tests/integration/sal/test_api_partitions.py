"""Topics with several partitions, and a partition that is added while a Remote reads."""

from collections.abc import Callable

import pytest

from lsst.ts.ocps.sal.broker.base import TopicSpec
from lsst.ts.ocps.sal.broker.memory import MemoryBroker
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import started
from support.sal_fixtures import open_pair, until

pytestmark = pytest.mark.asyncio

TELEMETRY = load_component("Test").topics["tel_scalars"]


async def test_all_partitions_are_read_and_one_that_is_added_from_its_begin_on(
    memory_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.partition_watch.LOOK_EVERY", 0.05)
    memory = MemoryBroker(memory_environment.broker_address.removeprefix("memory://"))
    topic = TELEMETRY.kafka_name(memory_environment.topic_subname)
    async with started(memory_environment) as broker:
        await broker.ensure_topics([TopicSpec(topic, partitions=2)])
        async with open_pair(index=1, discard_out_of_order_telemetry=False) as (controller, remote):
            stream = controller.tel_scalars

            def write(value: int, key: bytes, stamp: float = 0.0) -> int:
                fields = {"salIndex": 1, "int0": value, "private_sndStamp": stamp}
                record = stream.codec.encode(fields, schema_id=stream.schema_id)
                return memory.append(topic, key=key, value=record).partition

            keys = find_keys(lambda key: write(0, key), partitions=2)
            await until(lambda: remote.tel_scalars.nqueued > 0)
            memory.expand(topic, 3)
            keys = find_keys(lambda key: write(1, key), partitions=3)
            for value in range(2, 30):
                # Stamps are in order within a partition only.
                write(value, keys[value % 3], stamp=value - 1000.0 * (value % 3) + 3000.0)
            seen: set[int] = set()

            def read() -> bool:
                while (data := remote.tel_scalars.get_oldest()) is not None:
                    seen.add(data.int0)
                return seen == set(range(30))

            await until(read)


def find_keys(write: Callable[[bytes], int], *, partitions: int) -> dict[int, bytes]:
    """Write with one key after another until each partition has been written; its keys."""
    keys: dict[int, bytes] = {}
    number = 0
    while len(keys) < partitions:
        key = b"%d" % number
        keys[write(key)] = key
        number += 1
    return keys
