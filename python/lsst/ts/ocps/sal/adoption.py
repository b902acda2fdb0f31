"""Under which schema a topic is written: the one that its subject has, where it is ours in all but texts.

LOVE's producers find a record's topic by its revCode among those of their own ts_xml, and the revCode
depends on descriptions and units. So where the registry has a schema with our names, order, types and
defaults, its text, id and revCode are adopted and nothing is registered.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from .avro import build_schema, compute_rev_code, rev_code, schema_text
from .interface import TopicInfo
from .registry import SchemaRegistry

__all__ = ["WriteSchema", "find_differences", "settle_schema"]


class WriteSchema(NamedTuple):
    """What a writer puts into its records."""

    schema_id: int
    rev_code: str


async def settle_schema(
    registry: SchemaRegistry, topic: TopicInfo, topic_subname: str, *, log: logging.Logger
) -> WriteSchema:
    """Adopt the newest schema of the subject, or register ours.

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
    registered = await registry.latest(subject)
    if registered is not None:
        ours = build_schema(topic)
        schema = _parse_object(registered.text)
        if schema == ours:
            # Registered by us: the pinned revCode, if there is one, stays in force.
            return WriteSchema(registered.schema_id, rev_code(topic))
        differences = find_differences(ours, schema)
        if not differences:
            return WriteSchema(registered.schema_id, compute_rev_code(schema))
        log.warning(
            "the schema registered for %s differs from ours (registering ours): %s",
            subject,
            "; ".join(differences),
        )
    schema_id = await registry.register(subject, schema_text(topic))
    return WriteSchema(schema_id, rev_code(topic))


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
