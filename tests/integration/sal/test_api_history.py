"""What a late joiner gets, and what becomes of records that are wrong, on a broker of each kind."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from lsst.ts.ocps.sal.avro import build_schema
from lsst.ts.ocps.sal.broker.base import TopicPartition
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import RegistryError
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import create_registry
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until

pytestmark = pytest.mark.asyncio

SCALARS = load_component("Test").topics["evt_scalars"]


def drain(topic: Any) -> list[tuple[int, int]]:
    """What is queued, as (salIndex, int0)."""
    samples = []
    while (data := topic.get_oldest()) is not None:
        samples.append((data.salIndex, data.int0))
    return samples


async def write_history(*samples: tuple[int, int]) -> None:
    """Write (salIndex, int0) one after another."""
    async with Controller("Test", 0) as controller:
        for sal_index, value in samples:
            await controller.evt_scalars.set_write(salIndex=sal_index, int0=value, force_output=True)
            await controller.tel_scalars.set_write(salIndex=sal_index, int0=value)


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


async def test_other_indices_do_not_push_the_last_value_out_of_reach(
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


# Records that are wrong


class Forger:
    """Writes records as nobody should."""

    def __init__(self, bench: BrokerBench, controller: Controller) -> None:
        self._bench = bench
        self._controller = controller
        self.topic = SCALARS.kafka_name(bench.settings.topic_subname)

    def encode(self, **fields: Any) -> bytes:
        event = self._controller.evt_scalars
        value: bytes = event.codec.encode({"salIndex": 1, **fields}, schema_id=event.schema_id)
        return value

    async def write(self, value: bytes | None, key: bytes | None = b"odd key") -> None:
        await self._bench.write_raw(self.topic, key=key, value=value)

    async def register(self, schema: dict[str, Any]) -> int:
        registry = create_registry(self._bench.settings)
        try:
            return await registry.register(f"{self.topic}-forged", json.dumps(schema))
        finally:
            await registry.aclose()


async def test_a_reader_survives_every_kind_of_wrong_record(bench: BrokerBench) -> None:
    async with open_pair(index=1) as (controller, remote):
        forger = Forger(bench, controller)
        good = forger.encode(int0=1)
        unknown = (999_999).to_bytes(4, "big")
        other_shape = build_schema(SCALARS) | {"name": "something_else"}
        other_id = (await forger.register(other_shape)).to_bytes(4, "big")
        wrong: list[bytes | None] = [
            None,
            b"",
            b"\0\0\0\0",
            b"\x07" + good[1:],
            b"\0" + unknown + good[5:],
            b"\0" + other_id + good[5:],
            good[:-20],
            forger.encode(salIndex=2, int0=2),
        ]
        for value in wrong:
            await forger.write(value)
        await forger.write(good + b"trailing bytes")
        await controller.evt_scalars.set_write(int0=3)
        seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(2)]
        assert [data.int0 for data in seen] == [1, 3]
        assert remote.salinfo.is_reading
        assert remote.salinfo.reader is not None
        assert sum(remote.salinfo.reader.skipped.values()) == len(wrong) - 1


@pytest.mark.parametrize("value", [None, b"\0\0\0\0\1garbage"], ids=["tombstone", "garbage"])
async def test_a_wrong_record_at_the_end_of_the_log_does_not_stop_the_start(
    bench: BrokerBench, value: bytes | None
) -> None:
    await write_history((1, 7))
    await bench.write_raw(SCALARS.kafka_name(bench.settings.topic_subname), key=b"x", value=value)
    async with asyncio.timeout(WAIT), Domain() as domain, Remote(domain, "Test", 1) as remote:
        assert drain(remote.evt_scalars) == [(1, 7)]


async def test_a_writer_with_other_fields_is_understood(bench: BrokerBench) -> None:
    async with open_pair(index=1) as (controller, remote):
        forger = Forger(bench, controller)
        schema = build_schema(SCALARS)
        fields = [field for field in schema["fields"] if field["name"] != "string0"]
        fields.append({"name": "new_field", "type": "string", "default": "", "description": "", "units": ""})
        schema_id = await forger.register(schema | {"fields": fields})
        header = b"\0" + schema_id.to_bytes(4, "big")
        # string0 is the last field: an empty one is one byte, and so is an empty new_field.
        await forger.write(header + forger.encode(int0=5, private_sndStamp=1.0)[5:])
        data = await remote.evt_scalars.next(flush=False, timeout=WAIT)
        assert (data.int0, data.string0) == (5, "")
        assert not hasattr(data, "new_field")


async def test_an_older_stamp_is_dropped_unless_that_is_switched_off(bench: BrokerBench) -> None:
    async with open_pair(index=1) as (controller, remote), Domain() as domain:
        make_lenient = partial(Remote, domain, "Test", 1, discard_out_of_order_events=False)
        async with make_lenient() as lenient:
            forger = Forger(bench, controller)
            for stamp, value in ((10.0, 1), (10.0, 2), (9.0, 3), (11.0, 4)):
                await forger.write(forger.encode(private_sndStamp=stamp, int0=value))
            await until(lambda: lenient.evt_scalars.nqueued == 4)
            await until(lambda: remote.evt_scalars.nqueued == 3)
            assert drain(remote.evt_scalars) == [(1, 1), (1, 2), (1, 4)]
            assert drain(lenient.evt_scalars) == [(1, 1), (1, 2), (1, 3), (1, 4)]


async def test_records_wait_for_a_registry_that_is_away(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(index=1) as (controller, remote):
        registry = remote.salinfo.registry
        real_schema = registry.schema
        is_away = True

        async def schema(schema_id: int) -> Any:
            if is_away:
                raise RegistryError("away")
            return await real_schema(schema_id)

        monkeypatch.setattr(registry, "schema", schema)
        for value in range(1, 4):
            await controller.evt_scalars.set_write(int0=value)
        reader = remote.salinfo.reader
        assert reader is not None
        await until(lambda: any(stream.parked for stream in reader._streams.values()))
        assert remote.evt_scalars.get() is None
        is_away = False
        seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(3)]
        assert [data.int0 for data in seen] == [1, 2, 3]
        assert not reader.skipped
