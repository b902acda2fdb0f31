"""Any value of any field goes there and back; no bytes stop a reader (sal-on-kafka sections 8 and 9)."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given, settings

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.skips import SkipReason
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair
from support.sal_records import Forger
from support.sal_values import public_values_of

NUM_RECORDS = 100_000

TOPICS = load_component("Test").topics


def damage(value: bytes, rng: random.Random) -> bytes:
    """A record whose body has one wrong byte, one too few, or one too many."""
    position = rng.randrange(5, len(value))
    replacement = rng.choice((b"", rng.randbytes(1), rng.randbytes(1) + value[position : position + 1]))
    return value[:position] + replacement + value[position + 1 :]


def make_values(good: bytes, rng: random.Random) -> list[bytes]:
    """Random bytes without a frame, with those of some unknown schemas, with ours; and damaged records."""
    unknown = [b"\0\x7f" + rng.randbytes(3) for _ in range(8)]
    makers = (
        lambda: rng.randbytes(rng.randrange(64)),
        lambda: rng.choice(unknown) + rng.randbytes(rng.randrange(64)),
        lambda: good[:5] + rng.randbytes(rng.randrange(200)),
        lambda: damage(good, rng),
    )
    return [makers[number % len(makers)]() for number in range(NUM_RECORDS)]


@pytest.mark.asyncio
async def test_100_000_random_records_stop_no_reader(bench: BrokerBench) -> None:
    async with open_pair(index=1) as (controller, remote):
        reader = remote.salinfo.reader
        assert reader is not None
        first = await controller.evt_scalars.set_write(int0=1, string0="a few words")
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 1
        forger = Forger(bench, controller)
        good = forger.encode(**vars(first.data))
        rng = random.Random(bench.settings.topic_subname)  # noqa: S311 (nothing secret)
        # A failure shows the topic subname, which is the seed.
        await bench.write_many(forger.topic, make_values(good, rng))
        await controller.evt_scalars.set_write(string0="the good one at the end")
        async with asyncio.timeout(90):
            while (await remote.evt_scalars.next(flush=False)).string0 != "the good one at the end":
                pass
        assert reader.is_running
        assert reader.position(forger.topic) == NUM_RECORDS + 2
        assert SkipReason.UNEXPECTED not in reader.skipped
        assert reader.skipped[SkipReason.UNDECODABLE] > NUM_RECORDS / 4
        assert reader.skipped[SkipReason.UNKNOWN_SCHEMA] > NUM_RECORDS / 5


async def send_event(controller: Controller, remote: Remote, name: str, values: dict[str, Any]) -> Any:
    """Write an event and return what the Remote gets."""
    await getattr(controller, f"evt_{name}").set_write(force_output=True, **values)
    return await getattr(remote, f"evt_{name}").next(flush=False, timeout=WAIT)


async def send_command(controller: Controller, remote: Remote, name: str, values: dict[str, Any]) -> Any:
    """Send a command and return what the Controller gets."""
    command = getattr(controller, f"cmd_set{name.capitalize()}")
    sending = asyncio.create_task(
        getattr(remote, f"cmd_set{name.capitalize()}").set_start(timeout=WAIT, **values)
    )
    data = await command.next(timeout=WAIT)
    await command.ack(data, controller.salinfo.make_ackcmd(data.private_seqNum, 303))
    await sending
    return data


@pytest.mark.parametrize("send", [send_event, send_command])
@pytest.mark.parametrize("name", ["scalars", "arrays"])
def test_any_values_go_there_and_back(memory_environment: SalSettings, name: str, send: Any) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def open_all() -> tuple[Controller, Remote]:
            return await stack.enter_async_context(open_pair())

        controller, remote = runner.run(open_all())

        @settings(max_examples=60)
        @given(public_values_of(TOPICS[f"evt_{name}"]))
        def check(values: dict[str, Any]) -> None:
            data = runner.run(send(controller, remote, name, values))
            assert {key: getattr(data, key) for key in values} == values

        try:
            check()
        finally:
            runner.run(stack.aclose())
