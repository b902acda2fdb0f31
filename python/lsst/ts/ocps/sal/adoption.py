"""Under which schema a topic is written: the site's, wherever it can be had.

LOVE's producers find a record's topic by its revCode among those of their own ts_xml, and the revCode
depends on descriptions and units. So a topic goes out

* as an installed ts_xml has it; or
* under the schema that the registry has, where names, order, types and defaults are ours: its text, id and
  revCode are adopted and nothing is registered. The newest such version counts: where a newer one differs in
  structure, no text of ours could be recognised by those who know that one, but the older one may be by
  others; or
* as our own files have it, with the revCode pinned there for the deployed topics.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from .avro import build_schema, compute_rev_code, rev_code, schema_text
from .interface import TopicInfo
from .registry import RegisteredSchema, SchemaRegistry

__all__ = ["WriteSchema", "find_differences", "settle_schema", "settle_schemas"]


class WriteSchema(NamedTuple):
    """What a writer puts into its records."""

    schema_id: int
    rev_code: str


async def settle_schemas(
    registry: SchemaRegistry,
    topics: Sequence[TopicInfo],
    topic_subname: str,
    settled: dict[str, WriteSchema],
    *,
    log: logging.Logger,
) -> None:
    """Settle the schemas of several topics at once.

    Parameters
    ----------
    registry, topic_subname, log
        As for `settle_schema`.
    topics
        The topics to be written.
    settled
        What came out at the last time, by attribute name; it is brought up to date. Where another id comes
        out now, the registry may have become another one, and what was read from it is forgotten.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.RegistryError
        The first error as for `settle_schema`, when all is done; what that topic had stays in ``settled``.
    """
    calls = (settle_schema(registry, topic, topic_subname, log=log) for topic in topics)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for topic, outcome in zip(topics, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            continue
        old = settled.get(topic.attr_name)
        if old is not None and old.schema_id != outcome.schema_id:
            registry.forget_schemas()
        settled[topic.attr_name] = outcome
    if errors:
        raise errors[0]


async def settle_schema(
    registry: SchemaRegistry, topic: TopicInfo, topic_subname: str, *, log: logging.Logger
) -> WriteSchema:
    """Adopt a schema of the subject, or register ours.

    Parameters
    ----------
    registry
        The schema registry.
    topic
        The topic to be written.
    topic_subname
        Second element of the names of Kafka topics.
    log
        Where structural differences are named.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SchemaRefusedError
        If the registry refuses our schema as incompatible with the subject.
    ~lsst.ts.ocps.sal.errors.RegistryError
        If the registry is not reachable in time.
    """
    subject = topic.avro_subject(topic_subname)
    latest = await registry.latest(subject)
    if latest is not None:
        settled = _adopt(topic, latest)
        if settled is not None:
            return settled
        if differences := find_differences(build_schema(topic), _parse_object(latest.text)):
            log.warning("the schema registered for %s differs from ours: %s", subject, "; ".join(differences))
            settled = await _adopt_earlier(registry, topic, subject)
        if settled is not None:
            log.warning("%s is written under its earlier schema %d", subject, settled.schema_id)
            return settled
    schema_id = await registry.register(subject, schema_text(topic))
    return WriteSchema(schema_id, rev_code(topic))


def _adopt(topic: TopicInfo, registered: RegisteredSchema) -> WriteSchema | None:
    """Write under a registered schema; None if it does not have our structure, or the site's texts."""
    ours = build_schema(topic)
    schema = _parse_object(registered.text)
    if schema == ours:
        # Registered by us: the pinned revCode, if there is one, stays in force.
        return WriteSchema(registered.schema_id, rev_code(topic))
    if topic.is_definitive or find_differences(ours, schema):
        return None
    return WriteSchema(registered.schema_id, compute_rev_code(schema))


async def _adopt_earlier(registry: SchemaRegistry, topic: TopicInfo, subject: str) -> WriteSchema | None:
    async with aclosing(registry.earlier(subject)) as versions:
        async for version in versions:
            settled = _adopt(topic, version)
            if settled is not None:
                return settled
    return None


def _parse_object(text: str) -> Mapping[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError:
        return {}
    return schema if isinstance(schema, dict) else {}


def find_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Structural differences of two record schemas, field by field; descriptions and units do not count.

    Parameters
    ----------
    ours, theirs
        Avro records as JSON objects.
    """
    differences = [
        f"{key} is {theirs.get(key)!r}, ours is {ours.get(key)!r}"
        for key in ("type", "name", "namespace")
        if ours.get(key) != theirs.get(key)
    ]
    our_fields = {field["name"]: field for field in ours["fields"]}
    their_list = theirs.get("fields")
    their_fields = {
        field.get("name"): field
        for field in (their_list if isinstance(their_list, list) else [])
        if isinstance(field, dict)
    }
    differences += [f"field {name} is missing there" for name in our_fields if name not in their_fields]
    differences += [f"field {name} is unknown here" for name in their_fields if name not in our_fields]
    for name, field in our_fields.items():
        other = their_fields.get(name, field)
        differences += [
            f"field {name} has {key} {other.get(key)!r}, ours has {field.get(key)!r}"
            for key in ("type", "default")
            if other.get(key) != field.get(key)
        ]
    if not differences and list(our_fields) != list(their_fields):
        differences.append("the fields are in another order")
    return differences
