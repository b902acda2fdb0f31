"""Sal-on-kafka section 20, points 6 and 16: no record stops or mutes a reader, and each is counted."""

import asyncio
from functools import partial
from typing import Any

import pytest

from lsst.ts.ocps.sal.avro import build_schema
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import RegistryError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.skips import SkipReason
from lsst.ts.ocps.sal.tai import current_tai
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_records import SCALARS, Forger, drain, write_history

pytestmark = pytest.mark.asyncio


async def test_weakness_06_a_reader_survives_and_counts_every_kind_of_wrong_record(
    bench: BrokerBench,
) -> None:
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
        assert remote.salinfo.reader.skipped == {
            SkipReason.TOMBSTONE: 1,
            SkipReason.UNDECODABLE: 5,
            SkipReason.UNKNOWN_SCHEMA: 1,
            SkipReason.OTHER_INDEX: 1,
        }


@pytest.mark.parametrize("value", [None, b"\0\0\0\0\1garbage"], ids=["tombstone", "garbage"])
async def test_weakness_06_a_wrong_last_record_does_not_stop_the_start(
    bench: BrokerBench, value: bytes | None
) -> None:
    await write_history((1, 7))
    await bench.write_raw(SCALARS.kafka_name(bench.settings.topic_subname), key=b"x", value=value)
    async with asyncio.timeout(WAIT), Domain() as domain, Remote(domain, "Test", 1) as remote:
        assert drain(remote.evt_scalars) == [(1, 7)]


async def test_weakness_06_a_writer_with_other_fields_is_understood(bench: BrokerBench) -> None:
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


async def test_weakness_06_records_wait_for_a_registry_that_is_away(
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


async def test_weakness_06_a_record_that_waited_and_then_raises_what_nobody_thought_of_is_skipped(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def learn_nothing(*_args: Any, **_kwargs: Any) -> None:
        """Leave the registry to the records."""

    monkeypatch.setattr("lsst.ts.ocps.sal.salinfo.learn_schemas", learn_nothing)
    async with open_pair(index=1) as (controller, remote):
        registry = remote.salinfo.registry
        real_schema = registry.schema
        troubles = [RegistryError("away"), ValueError("odd")]

        async def schema(schema_id: int) -> Any:
            if troubles:
                raise troubles.pop(0)
            return await real_schema(schema_id)

        monkeypatch.setattr(registry, "schema", schema)
        for value in range(1, 4):
            await controller.evt_scalars.set_write(int0=value)
        seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(2)]
        assert [data.int0 for data in seen] == [2, 3]
        assert remote.salinfo.reader is not None
        assert remote.salinfo.reader.skipped == {SkipReason.UNEXPECTED: 1}


async def test_weakness_16_an_older_stamp_is_dropped_and_counted_unless_that_is_switched_off(
    bench: BrokerBench,
) -> None:
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
            assert lenient.salinfo.reader is not None
            assert remote.salinfo.reader is not None
            assert not lenient.salinfo.reader.skipped
            assert remote.salinfo.reader.skipped == {SkipReason.OUT_OF_ORDER: 1}


@pytest.mark.parametrize(
    ("step", "sender"),
    [
        (-3600.0, {"private_origin": 7, "private_seqNum": 11}),
        (-100.0, {"private_origin": 8, "private_seqNum": 1}),
        (-100.0, {"private_origin": 7, "private_seqNum": 1}),
        (+3600.0, {"private_origin": 7, "private_seqNum": 11}),
    ],
    ids=["set back", "new process", "new process of the same number", "set forward"],
)
async def test_weakness_16_a_step_of_the_clock_mutes_no_publisher(
    bench: BrokerBench, step: float, sender: dict[str, int]
) -> None:
    async with open_pair(index=1) as (controller, remote):
        forger = Forger(bench, controller)
        first = {"private_origin": 7, "private_seqNum": 10}
        await forger.write(forger.encode(private_sndStamp=10_000.0, int0=1, **first))
        for number in range(3):
            fields = sender | {"private_seqNum": sender["private_seqNum"] + number}
            stamp = 10_000.0 + step + number
            await forger.write(forger.encode(private_sndStamp=stamp, int0=2 + number, **fields))
        await until(lambda: remote.evt_scalars.nqueued == 4)
        assert [value for _, value in drain(remote.evt_scalars)] == [1, 2, 3, 4]
        assert remote.salinfo.reader is not None
        assert not remote.salinfo.reader.skipped


async def test_weakness_16_stamps_grow_although_the_clock_goes_back(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now = current_tai()
    async with open_pair(index=1) as (controller, remote):
        monkeypatch.setattr("lsst.ts.ocps.sal.sequence.current_tai", lambda: now)
        for value, now in enumerate([start, start - 1000.0, start - 999.5, start + 1.0]):  # noqa: B007 (what the clock says)
            await controller.evt_scalars.set_write(int0=value, force_output=True)
        seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(4)]
        assert [data.int0 for data in seen] == list(range(4))
        stamps = [data.private_sndStamp for data in seen]
        assert stamps == sorted(set(stamps))
