import dataclasses
import json
import logging
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.adoption import WriteSchema, find_differences, settle_schema, settle_schemas
from lsst.ts.ocps.sal.avro import build_schema, compute_rev_code, rev_code, schema_text
from lsst.ts.ocps.sal.errors import SchemaRefusedError
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import (
    MemorySchemaRegistry,
    RegisteredSchema,
    SchemaRegistry,
    create_registry,
)
from lsst.ts.ocps.sal.settings import SalSettings
from support.golden import load_golden

pytestmark = pytest.mark.asyncio

TOPIC = load_component("OCPS").topics["evt_job_result"]
SUBJECT = "lsst.sub.OCPS.logevent_job_result-value"
LOG = logging.getLogger("test_api_adoption")


@pytest.fixture
def registry(memory_settings: SalSettings) -> SchemaRegistry:
    return create_registry(memory_settings)


def change(schema: dict[str, Any], name: str, **values: Any) -> dict[str, Any]:
    fields = [field | values if field["name"] == name else field for field in schema["fields"]]
    return schema | {"fields": fields}


async def test_an_unknown_topic_is_registered_and_goes_out_with_the_pinned_code(
    registry: SchemaRegistry,
) -> None:
    settled = await settle_schema(registry, TOPIC, "sub", log=LOG)
    latest = await registry.latest(SUBJECT)
    assert latest is not None
    assert latest.text == schema_text(TOPIC)
    assert settled == (latest.schema_id, load_golden("OCPS")["topics"]["evt_job_result"]["rev_code"])


async def test_the_code_stays_the_same_at_the_next_start(registry: SchemaRegistry) -> None:
    first = await settle_schema(registry, TOPIC, "sub", log=LOG)
    assert await settle_schema(registry, TOPIC, "sub", log=LOG) == first


async def test_other_texts_of_the_same_structure_are_adopted_and_nothing_is_registered(
    registry: SchemaRegistry,
) -> None:
    theirs = change(build_schema(TOPIC), "job_id", description="the site's words", units="unitless")
    schema_id = await registry.register(SUBJECT, json.dumps(theirs))
    settled = await settle_schema(registry, TOPIC, "sub", log=LOG)
    assert settled == (schema_id, compute_rev_code(theirs))
    assert settled.rev_code != rev_code(TOPIC)
    latest = await registry.latest(SUBJECT)
    assert latest is not None
    assert latest.schema_id == schema_id


async def test_another_structure_is_named_and_ours_is_registered(
    registry: SchemaRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = change(build_schema(TOPIC), "exit_code", type="long")
    await registry.register(SUBJECT, json.dumps(theirs))
    settled = await settle_schema(registry, TOPIC, "sub", log=LOG)
    assert settled.rev_code == rev_code(TOPIC)
    assert "field exit_code has type 'long', ours has 'int'" in caplog.text
    latest = await registry.latest(SUBJECT)
    assert latest is not None
    assert latest.schema_id == settled.schema_id


async def test_of_several_versions_with_our_structure_the_latest_decides(registry: SchemaRegistry) -> None:
    texts = [change(build_schema(TOPIC), "job_id", description=f"words of year {n}") for n in range(3)]
    ids = [await registry.register(SUBJECT, json.dumps(text)) for text in texts]
    assert await settle_schema(registry, TOPIC, "sub", log=LOG) == (ids[2], compute_rev_code(texts[2]))


async def test_an_earlier_version_is_adopted_where_the_latest_has_another_structure(
    registry: SchemaRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    ours = build_schema(TOPIC)
    older = change(ours, "job_id", description="the site's words, long ago")
    kindred = change(ours, "job_id", description="the site's words")
    newest = change(kindred, "exit_code", type="long")
    ids = [await registry.register(SUBJECT, json.dumps(text)) for text in (older, kindred, newest)]
    settled = await settle_schema(registry, TOPIC, "sub", log=LOG)
    assert settled == (ids[1], compute_rev_code(kindred))
    assert "field exit_code has type 'long', ours has 'int'" in caplog.text
    assert f"written under its earlier schema {ids[1]}" in caplog.text
    assert await registry.latest(SUBJECT) == (ids[2], json.dumps(newest))


async def test_our_own_earlier_registration_is_found_again_under_its_id(registry: SchemaRegistry) -> None:
    first = await settle_schema(registry, TOPIC, "sub", log=LOG)
    newest = change(build_schema(TOPIC), "exit_code", type="long")
    newest_id = await registry.register(SUBJECT, json.dumps(newest))
    assert await settle_schema(registry, TOPIC, "sub", log=LOG) == first
    assert await registry.latest(SUBJECT) == (newest_id, json.dumps(newest))


async def test_the_texts_of_an_installed_ts_xml_give_way_to_nobody(
    registry: SchemaRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    site = dataclasses.replace(TOPIC, description="as ts_xml says", is_definitive=True, pinned_rev_code=None)
    other_id = (await settle_schema(registry, TOPIC, "sub", log=LOG)).schema_id
    settled = await settle_schema(registry, site, "sub", log=LOG)
    assert settled.rev_code == compute_rev_code(build_schema(site))
    assert settled.schema_id != other_id
    assert await registry.latest(SUBJECT) == (settled.schema_id, schema_text(site))
    assert await settle_schema(registry, site, "sub", log=LOG) == settled
    assert caplog.text == ""
    # And what it registers is adopted by those who have no ts_xml.
    assert await settle_schema(registry, TOPIC, "sub", log=LOG) == settled


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"type": "record", "fields": 3}'])
async def test_what_is_no_schema_of_a_record_is_another_structure(
    memory_settings: SalSettings, text: str
) -> None:
    class OddRegistry(MemorySchemaRegistry):
        @override
        async def latest(self, subject: str) -> RegisteredSchema | None:
            return RegisteredSchema(77, text)

    registry = OddRegistry(memory_settings.registry_url.removeprefix("memory://"))
    settled = await settle_schema(registry, TOPIC, "sub", log=LOG)
    assert settled == (1, rev_code(TOPIC))


async def test_a_refused_topic_keeps_what_it_had_and_the_others_are_settled(
    memory_settings: SalSettings,
) -> None:
    class RefusingRegistry(MemorySchemaRegistry):
        @override
        async def register(self, subject: str, schema_text: str) -> int:
            if subject == SUBJECT:
                raise SchemaRefusedError("incompatible")
            return await super().register(subject, schema_text)

    topics = list(load_component("OCPS").topics.values())
    before = WriteSchema(99, "abc")
    settled = {TOPIC.attr_name: before}
    registry = RefusingRegistry(memory_settings.registry_url.removeprefix("memory://"))
    with pytest.raises(SchemaRefusedError):
        await settle_schemas(registry, topics, "sub", settled, log=LOG)
    assert settled.keys() == {topic.attr_name for topic in topics}
    assert settled[TOPIC.attr_name] == before


async def test_a_registry_that_has_become_another_one_is_registered_with_and_read_again(
    memory_settings: SalSettings,
) -> None:
    name = memory_settings.registry_url.removeprefix("memory://")
    registry = MemorySchemaRegistry(name)
    topics = [load_component("OCPS").topics[attr_name] for attr_name in ("evt_job_id", TOPIC.attr_name)]
    settled: dict[str, WriteSchema] = {}
    await settle_schemas(registry, topics, "sub", settled, log=LOG)
    first = dict(settled)
    assert (await registry.schema(1)).text == schema_text(topics[0])
    MemorySchemaRegistry.swap(name)
    await registry.register("somebody-else", '"string"')
    await settle_schemas(registry, topics, "sub", settled, log=LOG)
    assert (await registry.schema(1)).text == '"string"'
    for topic in topics:
        schema_id, code = settled[topic.attr_name]
        assert schema_id != first[topic.attr_name].schema_id
        assert code == first[topic.attr_name].rev_code
        assert (await registry.schema(schema_id)).text == schema_text(topic)


async def test_differences_are_found_field_by_field() -> None:
    ours = build_schema(TOPIC)
    fewer = ours | {"fields": ours["fields"][:-1]}
    assert find_differences(ours, ours) == []
    assert find_differences(ours, fewer) == ["field result is missing there"]
    assert find_differences(fewer, ours) == ["field result is unknown here"]
    assert find_differences(ours, change(ours, "result", default="x")) == [
        "field result has default 'x', ours has ''"
    ]
    turned = ours | {"fields": list(reversed(ours["fields"]))}
    assert find_differences(ours, turned) == ["the fields are in another order"]
    assert "namespace is None, ours is 'lsst.sal.OCPS'" in find_differences(ours, {})
