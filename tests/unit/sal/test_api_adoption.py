import json
import logging
from typing import Any

import pytest

from lsst.ts.ocps.sal.adoption import find_differences, settle_schema
from lsst.ts.ocps.sal.avro import build_schema, compute_rev_code, rev_code, schema_text
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import SchemaRegistry, create_registry
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
