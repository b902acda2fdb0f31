"""Under which schema records go out, seen in the records themselves: revCode and framed schema id."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lsst.ts.ocps.sal.adoption import WriteSchema
from lsst.ts.ocps.sal.avro import build_schema, compute_rev_code, schema_id_of
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.errors import SchemaRefusedError
from lsst.ts.ocps.sal.interface import TopicInfo
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import MemorySchemaRegistry, create_registry
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.states import set_summary_state
from support.brokers import make_settings, run_registry
from support.golden import load_golden
from support.ports import free_port
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, make_environment
from support.sal_log import read_log

pytestmark = pytest.mark.asyncio

Change = Callable[[TopicInfo], dict[str, Any]]


def with_words(words: str) -> Change:
    """Our structure with other descriptions, as a ts_xml of the site has it."""

    def change(topic: TopicInfo) -> dict[str, Any]:
        schema = build_schema(topic)
        fields = [field | {"description": f"{words}: {field['name']}"} for field in schema["fields"]]
        return schema | {"fields": fields, "description": words}

    return change


def with_longer_codes(topic: TopicInfo) -> dict[str, Any]:
    """Another structure: integers that were 32 bits long have 64."""
    schema = build_schema(topic)
    fields = [
        field | {"type": "long"} if field["name"] in {"exit_code", "summaryState"} else field
        for field in schema["fields"]
    ]
    return schema | {"fields": fields}


async def preload(settings: SalSettings, *changes: Change, name: str = "OCPS") -> dict[str, WriteSchema]:
    """Register a version of every topic for each change; returns the last ones by attribute name."""
    registry = create_registry(settings)
    last = {}
    try:
        for topic in load_component(name).topics.values():
            for change in changes:
                schema = change(topic)
                subject = topic.avro_subject(settings.topic_subname)
                schema_id = await registry.register(subject, json.dumps(schema))
                last[topic.attr_name] = WriteSchema(schema_id, compute_rev_code(schema))
    finally:
        await registry.aclose()
    return last


async def count_versions(settings: SalSettings, attr_name: str, name: str = "OCPS") -> int:
    subject = load_component(name).topics[attr_name].avro_subject(settings.topic_subname)
    registry = create_registry(settings)
    try:
        return 1 + len([version async for version in registry.earlier(subject)])
    finally:
        await registry.aclose()


async def read_ids(settings: SalSettings, attr_name: str, *, name: str = "OCPS", count: int = 1) -> list[int]:
    """The schema ids in the raw records of a topic, oldest first."""
    topic = load_component(name).topics[attr_name].kafka_name(settings.topic_subname)
    return [schema_id_of(record.value) for record in await read_log(settings, topic, count=count)]


class Seen(NamedTuple):
    """What the Remote saw of a short conversation."""

    event: Any
    ack: Any


async def talk(index: int = 1) -> Seen:
    """One command, its acknowledgement and one event, between a Controller and a Remote of OCPS."""
    async with Controller("OCPS", index) as controller:
        assert not controller.done_task.done(), controller.done_task.exception()

        async def obey(data: Any) -> None:
            await controller.evt_job_result.set_write(job_id=data.job_id, exit_code=255, result="{}")

        controller.cmd_abort_job.callback = obey
        async with Remote(controller.domain, "OCPS", index, include=["job_result"]) as remote:
            remote.evt_job_result.flush()
            ack = await remote.cmd_abort_job.set_start(job_id="17", timeout=WAIT)
            event = await remote.evt_job_result.next(flush=False, timeout=WAIT)
            assert (event.job_id, event.exit_code, ack.ack) == ("17", 255, SalRetCode.CMD_COMPLETE)
            assert controller.evt_job_result.rev_code == event.private_revCode
            return Seen(event, ack)


def codes_of(seen: Seen) -> dict[str, str]:
    return {"evt_job_result": seen.event.private_revCode, "ack_ackcmd": seen.ack.private_revCode}


TALKED = ("evt_job_result", "ack_ackcmd", "cmd_abort_job")


async def check_ids(settings: SalSettings, expected: Mapping[str, WriteSchema]) -> None:
    for attr_name in TALKED:
        assert (await read_ids(settings, attr_name))[-1] == expected[attr_name].schema_id


async def test_the_same_structure_with_other_texts_is_adopted(sal_environment: SalSettings) -> None:
    site = await preload(sal_environment, with_words("site"))
    seen = await talk()
    assert codes_of(seen) == {name: site[name].rev_code for name in codes_of(seen)}
    await check_ids(sal_environment, site)
    for attr_name in TALKED:
        assert await count_versions(sal_environment, attr_name) == 1


async def test_of_several_versions_the_latest_is_adopted(sal_environment: SalSettings) -> None:
    site = await preload(sal_environment, with_words("site 1"), with_words("site 2"), with_words("site 3"))
    seen = await talk()
    assert codes_of(seen) == {name: site[name].rev_code for name in codes_of(seen)}
    await check_ids(sal_environment, site)
    assert await count_versions(sal_environment, "evt_job_result") == 3


async def test_another_structure_is_named_field_by_field_and_stops_nothing(
    sal_environment: SalSettings, caplog: pytest.LogCaptureFixture
) -> None:
    other = await preload(sal_environment, with_longer_codes)
    seen = await talk()
    golden = load_golden("OCPS")["topics"]
    assert seen.event.private_revCode == golden["evt_job_result"]["rev_code"]
    assert "field exit_code has type 'long', ours has 'int'" in caplog.text
    assert (await read_ids(sal_environment, "evt_job_result"))[-1] != other["evt_job_result"].schema_id
    assert await count_versions(sal_environment, "evt_job_result") == 2


async def test_an_earlier_version_is_adopted_where_the_latest_has_another_structure(
    sal_environment: SalSettings,
) -> None:
    site = await preload(sal_environment, with_words("site"))
    await preload(sal_environment, with_longer_codes)
    seen = await talk()
    assert seen.event.private_revCode == site["evt_job_result"].rev_code
    assert (await read_ids(sal_environment, "evt_job_result"))[-1] == site["evt_job_result"].schema_id
    assert await count_versions(sal_environment, "evt_job_result") == 2


async def test_with_an_empty_registry_the_deployed_topics_have_the_deployed_codes(
    sal_environment: SalSettings,
) -> None:
    golden = load_golden("OCPS")["topics"]
    seen = await talk()
    assert codes_of(seen) == {name: golden[name]["rev_code"] for name in codes_of(seen)}
    async with Controller("OCPS", 1) as controller:
        deployed = {name: getattr(controller, name).rev_code for name in golden if name.startswith("evt_")}
    assert deployed == {name: golden[name]["rev_code"] for name in deployed}


async def test_a_new_topic_has_a_code_of_its_own_until_the_site_knows_it(
    sal_environment: SalSettings,
) -> None:
    topic = load_component("OCPS").topics["evt_job_phase"]
    async with Controller("OCPS", 1) as controller:
        assert controller.evt_job_phase.rev_code == compute_rev_code(build_schema(topic))
    site = await preload(sal_environment, with_words("site"))
    async with Controller("OCPS", 1) as controller:
        assert controller.evt_job_phase.rev_code == site["evt_job_phase"].rev_code


# A registry that is swapped -----------------------------------------------------------------------------


class SwappableRegistry:
    """A registry that can be replaced by an empty one at the same address."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._stack = ExitStack()
        self.settings = make_settings()
        if kind == "process":
            url = self._stack.enter_context(run_registry(folder, port=self._port))
            self.settings = make_settings(registry_url=url)

    def swap(self) -> None:
        if self.settings.registry_url.startswith("memory://"):
            MemorySchemaRegistry.swap(self.settings.registry_url.removeprefix("memory://"))
            return
        self.close()
        (self._folder / "registry.json").unlink()
        self._stack.enter_context(run_registry(self._folder, port=self._port))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(params=["memory", "process"])
def swappable(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SwappableRegistry]:
    registry = SwappableRegistry(request.param, tmp_path / "registry")
    for name, value in make_environment(registry.settings).items():
        monkeypatch.setenv(name, value)
    yield registry
    registry.close()


async def test_a_registry_swapped_between_two_processes(swappable: SwappableRegistry) -> None:
    first = await talk()
    swappable.swap()
    # The ids of the first registry now mean something else.
    site = await preload(swappable.settings, with_words("site"))
    second = await talk()
    assert second.event.private_revCode == site["evt_job_result"].rev_code
    assert second.event.private_revCode != first.event.private_revCode
    await check_ids(swappable.settings, site)


async def test_a_registry_swapped_between_two_start_commands(
    swappable: SwappableRegistry, csc_config_dir: Path
) -> None:
    case = CscCase(csc_config_dir)
    async with case.make_csc(initial_state=State.DISABLED, index=7):
        await set_summary_state(case.remote, State.STANDBY)
        swappable.swap()
        site = await preload(swappable.settings, with_words("site"), name="Test")
        # Whoever comes now knows only the ids of the new registry, and is understood.
        async with Domain() as domain, Remote(domain, "Test", 7) as remote:
            ack = await remote.cmd_start.set_start(timeout=WAIT)
            state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
            if State(state.summaryState) is State.STANDBY:
                # Its old id means, by chance, the same topic in both registries: it is read as history.
                state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
            assert State(state.summaryState) is State.DISABLED
            assert state.private_revCode == site["evt_summaryState"].rev_code
            assert ack.private_revCode == site["ack_ackcmd"].rev_code
            assert await set_summary_state(remote, State.ENABLED) == [State.DISABLED, State.ENABLED]
            await remote.cmd_setScalars.set_start(int0=5, timeout=WAIT)
            assert (await remote.evt_scalars.aget(timeout=WAIT)).int0 == 5
    ids = await read_ids(swappable.settings, "evt_summaryState", name="Test")
    assert ids[-2:] == 2 * [site["evt_summaryState"].schema_id]


async def test_an_emptied_registry_is_registered_with_at_the_next_start_command(
    swappable: SwappableRegistry, csc_config_dir: Path
) -> None:
    case = CscCase(csc_config_dir)
    async with case.make_csc(initial_state=State.STANDBY, index=7):
        swappable.swap()
        await preload(swappable.settings, build_schema, name="OCPS")
        async with Domain() as domain, Remote(domain, "Test", 7) as remote:
            await remote.cmd_start.set_start(timeout=WAIT)
            state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
            if State(state.summaryState) is State.STANDBY:
                # Its old id means, by chance, the same topic in both registries: it is read as history.
                state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
            assert State(state.summaryState) is State.DISABLED
            assert state.private_revCode == load_golden("Test")["topics"]["evt_summaryState"]["rev_code"]


# A registry that refuses --------------------------------------------------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async def register(_self: MemorySchemaRegistry, subject: str, schema_text: str) -> int:
        raise SchemaRefusedError(f"{subject} is incompatible: {len(schema_text)} characters")

    monkeypatch.setattr(MemorySchemaRegistry, "register", register)


async def test_a_registry_that_refuses_stops_the_start_and_says_why(
    memory_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    async with Controller("OCPS", 1) as controller:
        assert not controller.isopen
        assert isinstance(controller.done_task.exception(), SchemaRefusedError)


async def test_a_refusal_at_the_start_command_is_logged_and_the_csc_goes_on(
    memory_case: CscCase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY, index=7):
        csc = memory_case.csc
        assert isinstance(csc, SalTestCsc)
        code = csc.evt_summaryState.rev_code

        async def latest(_self: MemorySchemaRegistry, _subject: str) -> None:
            return None

        monkeypatch.setattr(MemorySchemaRegistry, "latest", latest)
        refuse(monkeypatch)
        await set_summary_state(memory_case.remote, State.DISABLED)
        assert "schemas stay as they are" in caplog.text
        assert csc.evt_summaryState.rev_code == code
        assert csc.summary_state is State.DISABLED
