"""What every schema registry must do, in memory, the sandbox's or Apicurio: the same tests for all."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsst.ts.ocps.sal.avro import TopicCodec, parse_schema, schema_text
from lsst.ts.ocps.sal.errors import RegistryError, SchemaNotFoundError
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import RegisteredSchema, SchemaRegistry, create_registry
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import make_settings

pytestmark = pytest.mark.asyncio

TOPICS = load_component("OCPS").topics


KINDS = (
    "memory",
    "registry_url",
    # Started by the first test that asks for it.
    pytest.param("apicurio_url", marks=[pytest.mark.system, pytest.mark.timeout(300)]),
)


@pytest.fixture(params=KINDS)
def registry_settings(request: pytest.FixtureRequest) -> SalSettings:
    if request.param == "memory":
        return make_settings()
    return make_settings(registry_url=request.getfixturevalue(request.param))


@pytest_asyncio.fixture
async def registry(registry_settings: SalSettings) -> AsyncIterator[SchemaRegistry]:
    registry = create_registry(registry_settings)
    yield registry
    await registry.aclose()


@pytest.fixture
def subject() -> str:
    return f"lsst.test.T.{uuid.uuid4().hex}-value"


def make_text(name: str = "a", **attributes: str) -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "x", "fields": [], **attributes})


async def test_a_registered_schema_is_found_by_its_id(registry: SchemaRegistry, subject: str) -> None:
    text = schema_text(TOPICS["evt_job_phase"])
    schema_id = await registry.register(subject, text)
    schema = await registry.schema(schema_id)
    assert schema.text == text
    assert schema.canonical_form == parse_schema(text).canonical_form
    codec = TopicCodec(TOPICS["evt_job_phase"])
    value = codec.encode({"job_id": "j", "phase": "QUEUED"}, schema_id=schema_id)
    assert codec.decode(value, schema)["phase"] == "QUEUED"


async def test_registering_again_gives_the_same_id_for_everybody(
    registry: SchemaRegistry, registry_settings: SalSettings, subject: str
) -> None:
    text = make_text(uuid.uuid4().hex[:8].join("ab"))
    schema_id = await registry.register(subject, text)
    assert await registry.register(subject, text) == schema_id
    assert await registry.register(f"{subject}2", text) == schema_id
    other = create_registry(registry_settings)
    assert await other.register(subject, text) == schema_id
    assert (await other.schema(schema_id)).text == text
    await other.aclose()


async def test_other_texts_are_other_schemas(registry: SchemaRegistry, subject: str) -> None:
    schema_id = await registry.register(subject, make_text(doc="one"))
    assert await registry.register(subject, make_text(doc="two")) != schema_id


@pytest.mark.parametrize("registry_settings", KINDS[:2], indirect=True)
async def test_blanks_make_no_other_schema_in_ours(registry: SchemaRegistry, subject: str) -> None:
    # As in Confluent's registry; Apicurio gives another id, and nothing of ours depends on it.
    text = make_text(doc="one")
    schema_id = await registry.register(subject, text)
    assert await registry.register(subject, json.dumps(json.loads(text), indent=4)) == schema_id


async def test_the_latest_of_a_subject_is_the_last_registered(registry: SchemaRegistry, subject: str) -> None:
    assert await registry.latest(subject) is None
    first = await registry.register(subject, make_text(doc="one"))
    assert await registry.latest(subject) == RegisteredSchema(first, make_text(doc="one"))
    second = await registry.register(subject, make_text(doc="two"))
    assert await registry.latest(subject) == RegisteredSchema(second, make_text(doc="two"))
    await registry.register(subject, make_text(doc="one"))
    assert await registry.latest(subject) == RegisteredSchema(second, make_text(doc="two"))


async def test_earlier_versions_come_newest_first_and_without_the_latest(
    registry: SchemaRegistry, subject: str
) -> None:
    assert [version async for version in registry.earlier(subject)] == []
    texts = [make_text(doc=f"{subject} {n}") for n in range(4)]
    ids = [await registry.register(subject, text) for text in texts]
    expected = [RegisteredSchema(ids[n], texts[n]) for n in (2, 1, 0)]
    assert [version async for version in registry.earlier(subject)] == expected


async def test_what_was_read_can_be_forgotten(registry: SchemaRegistry, subject: str) -> None:
    schema_id = await registry.register(subject, make_text(doc=subject))
    first = await registry.schema(schema_id)
    assert await registry.schema(schema_id) is first
    assert registry.known_schema(schema_id) is first
    registry.forget_schemas()
    assert registry.known_schema(schema_id) is None
    again = await registry.schema(schema_id)
    assert again is not first
    assert again.text == first.text


async def test_an_unknown_id_is_a_clear_error_each_time(registry: SchemaRegistry) -> None:
    for _ in range(3):
        with pytest.raises(SchemaNotFoundError, match="knows no schema 99999999"):
            await registry.schema(99999999)


async def test_an_unknown_id_is_a_registry_error_too(registry: SchemaRegistry) -> None:
    with pytest.raises(RegistryError):
        await registry.schema(99999998)


async def test_many_registrations_at_once_agree(registry: SchemaRegistry, subject: str) -> None:
    texts = [make_text(doc=f"{subject}{n % 5}") for n in range(40)]
    ids = await asyncio.gather(*(registry.register(subject, text) for text in texts))
    assert len(set(ids)) == 5
    assert all(ids[n] == ids[n % 5] for n in range(40))


async def test_all_topics_of_the_component_have_different_ids(registry: SchemaRegistry, subject: str) -> None:
    ids = [await registry.register(f"{subject}{t.sal_name}", schema_text(t)) for t in TOPICS.values()]
    assert len(set(ids)) == len(TOPICS)
