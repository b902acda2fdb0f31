"""Controllers and Remotes while the schema registry is slow, broken, refusing, strange or dead."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from lsst.ts.ocps.sal.avro import build_schema
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import RegistryError, SchemaRefusedError
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry_http import HttpSchemaRegistry
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.tai import current_tai
from support.brokers import BrokerBench
from support.loop_watch import watch_loop
from support.rough_registry import RoughRegistry, answer_html, answer_status
from support.sal_fixtures import WAIT, make_environment, open_pair, until

pytestmark = pytest.mark.asyncio

SCALARS = load_component("Test").topics["evt_scalars"]

LONGEST_GAP = 4.0
"""A loop that waits for a registry stands still for all of its silence, which is longer (s)."""


@pytest.fixture
def set_up(
    rough_registry: RoughRegistry, memory_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], None]:
    """Put a broker in memory and the rough registry into the environment; how long it is waited for (s)."""

    def set_environment(patience: float) -> None:
        settings = memory_environment.model_copy(
            update={"registry_url": rough_registry.url, "connect_timeout": patience}
        )
        for name, value in make_environment(settings).items():
            monkeypatch.setenv(name, value)

    set_environment(WAIT)
    return set_environment


async def start_controller() -> None:
    controller = Controller("Test", 1)
    try:
        await controller.start_task
        if controller.done_task.done():
            controller.done_task.result()
    finally:
        await controller.close()


async def test_a_slow_registry_delays_the_start_by_a_few_answers_and_nothing_after_it(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    rough_registry.delay = 1.0
    async with watch_loop() as gaps, open_pair(index=1) as (controller, remote):
        # All topics are asked about at the same time.
        assert rough_registry.most_at_once > 5
        await controller.evt_scalars.set_write(int0=1)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 1
        for value in range(2, 20):
            await controller.evt_scalars.set_write(int0=value)
            assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == value
        # Controller and Remote ask once each, and not for each record.
        ids = Counter(path for _, path in rough_registry.requests if path.startswith("/schemas/ids/"))
        assert ids
        assert max(ids.values()) <= 2
    assert max(gaps) < LONGEST_GAP


@pytest.mark.parametrize("status", [500, 503])
async def test_errors_for_a_while_only_delay_the_start(
    rough_registry: RoughRegistry, set_up: Callable[[float], None], status: int
) -> None:
    rough_registry.fault = answer_status(status, "starting up", times=30)
    async with open_pair(index=1) as (controller, remote):
        await controller.evt_scalars.set_write(int0=1)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 1
    assert len(rough_registry.requests) > 30


async def test_errors_for_ever_end_the_start_with_address_time_and_what_was_said(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    set_up(1.0)
    rough_registry.fault = answer_status(500, "the disk is full")
    async with watch_loop() as gaps, asyncio.timeout(WAIT):
        with pytest.raises(RegistryError, match=r"500 the disk is full \(tried for 1 s\)") as caught:
            await start_controller()
    assert rough_registry.url in str(caught.value)
    assert max(gaps) < LONGEST_GAP


async def test_a_refused_schema_ends_the_start_at_once_with_what_was_said(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    rough_registry.fault = answer_status(409, "Schema is incompatible with an earlier one", method="POST")
    with pytest.raises(SchemaRefusedError, match="409 Schema is incompatible with an earlier one") as caught:
        await start_controller()
    assert rough_registry.url in str(caught.value)
    posts = [path for method, path in rough_registry.requests if method == "POST"]
    assert len(posts) == len(set(posts))


async def test_a_page_instead_of_an_answer_ends_the_start_at_once_and_is_quoted(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    rough_registry.fault = answer_html
    with pytest.raises(RegistryError, match="the answer is not JSON: <html><title>Please log in") as caught:
        await start_controller()
    assert rough_registry.url in str(caught.value)


@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain; charset=utf-8", b""])
async def test_what_an_answer_is_called_does_not_matter(
    rough_registry: RoughRegistry, set_up: Callable[[float], None], content_type: bytes
) -> None:
    rough_registry.content_type = content_type
    async with open_pair(index=1) as (controller, remote):
        await controller.evt_scalars.set_write(string0="é")
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).string0 == "é"


async def test_a_registry_that_dies_during_the_start_and_returns_only_delays_it(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    rough_registry.delay = 0.05
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        starting = group.create_task(start_controller())
        await until(lambda: len(rough_registry.requests) > 10)
        await rough_registry.die()
        assert not starting.done()
        await rough_registry.start()


async def test_no_registry_at_the_start_is_told_with_its_address(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    set_up(1.0)
    await rough_registry.die()
    with pytest.raises(RegistryError, match=rough_registry.url):
        await start_controller()


async def test_while_a_registry_is_dead_writers_go_on_and_unknown_schemas_wait_for_it_in_order(
    rough_registry: RoughRegistry,
    set_up: Callable[[float], None],
    memory_bench: BrokerBench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.registry_http._ASK_AGAIN_AFTER", 0.2)
    topic = SCALARS.kafka_name(memory_bench.settings.topic_subname)
    newer = {**build_schema(SCALARS), "description": "another text, so another id"}
    client = HttpSchemaRegistry(rough_registry.url, timeout=WAIT)
    # Under a subject of its own, or the Controller would adopt it.
    new_id = await client.register(f"{topic}-other", json.dumps(newer))
    await client.aclose()
    async with open_pair(index=1) as (controller, remote):
        event = controller.evt_scalars
        await event.set_write(int0=1)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 1
        await controller.evt_arrays.set_write(int0=[1] * 5)
        assert await wait_for_arrays(remote) == [1] * 5
        await rough_registry.die()
        async with watch_loop() as gaps:
            await event.set_write(int0=2)
            assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 2
            value = event.codec.encode(
                {"salIndex": 1, "int0": 3, "private_sndStamp": current_tai()}, schema_id=new_id
            )
            await memory_bench.write_raw(topic, key=b"k", value=value)
            await event.set_write(int0=4)
            # Another topic of the same Remote does not wait.
            await controller.evt_arrays.set_write(int0=[5] * 5)
            assert await wait_for_arrays(remote) == [5] * 5
            assert remote.evt_scalars.nqueued == 0
            await rough_registry.start()
            seen = [await remote.evt_scalars.next(flush=False, timeout=WAIT) for _ in range(2)]
        assert [data.int0 for data in seen] == [3, 4]
        assert max(gaps) < LONGEST_GAP


async def test_the_first_record_of_a_topic_does_not_need_the_registry(
    rough_registry: RoughRegistry, set_up: Callable[[float], None]
) -> None:
    async with Domain() as domain, Remote(domain, "Test", 1):
        # Somebody has commanded the component before, so the registry has the schemas of its commands.
        pass
    async with open_pair(index=1) as (controller, remote):
        registry = controller.salinfo.registry
        topics = (controller.evt_scalars, controller.tel_arrays, remote.cmd_wait)
        await until(lambda: all(registry.known_schema(each.schema_id) for each in topics))
        await rough_registry.die()
        controller.cmd_wait.callback = accept
        await controller.evt_scalars.set_write(int0=1)
        await controller.tel_arrays.set_write(int0=[2] * 5)
        assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 1
        assert (await remote.tel_arrays.next(flush=False, timeout=WAIT)).int0 == [2] * 5
        await remote.cmd_wait.set_start(duration=0, timeout=WAIT)


async def accept(data: BaseMsgType) -> None:
    del data


async def wait_for_arrays(remote: Remote) -> list[Any]:
    data = await remote.evt_arrays.next(flush=False, timeout=WAIT)
    return list(data.int0)
