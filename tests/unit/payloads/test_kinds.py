"""How a parameter travels is decided by its schema alone."""

from typing import Any

import pytest

from lsst.ts.ocps.payloads.kinds import Kind, is_integer, kind_of

ROOT: dict[str, Any] = {
    "$defs": {"names": {"type": "array", "items": {"type": "string"}}, "band": {"enum": ["g", "r"]}}
}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, Kind.TEXT),
        ({"enum": ["a", "b"]}, Kind.TEXT),
        ({"const": "a"}, Kind.TEXT),
        ({"$ref": "#/$defs/band"}, Kind.TEXT),
        ({"type": ["string", "number"], "enum": ["a", "b"]}, Kind.TEXT),
        ({"oneOf": [{"const": "a"}, {"type": "string", "pattern": "^b"}]}, Kind.TEXT),
        ({"type": "number"}, Kind.JSON),
        ({"type": "boolean"}, Kind.JSON),
        ({"type": ["integer", "null"]}, Kind.JSON),
        ({"enum": [1, None, False]}, Kind.JSON),
        ({"type": "object"}, Kind.JSON),
        ({"anyOf": [{"type": "object"}, {"type": "number"}]}, Kind.JSON),
        ({"type": "array", "items": {"type": "string"}}, Kind.TEXTS),
        ({"type": "array", "items": {"$ref": "#/$defs/band"}}, Kind.TEXTS),
        ({"$ref": "#/$defs/names"}, Kind.TEXTS),
        ({"$ref": "#/$defs/names", "maxItems": 3}, Kind.TEXTS),
        ({"type": "array", "items": {"type": "number"}}, Kind.JSONS),
        ({"type": "array", "items": {"type": ["boolean", "null"]}}, Kind.JSONS),
        # An array whose items are of several sorts, or not scalar, or unknown, is one JSON text.
        ({"type": "array"}, Kind.JSON),
        ({"type": "array", "items": {"type": ["string", "number"]}}, Kind.JSON),
        ({"type": "array", "items": {"type": ["string", "null"]}}, Kind.JSON),
        ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, Kind.JSON),
        ({"type": "array", "items": {"type": "object"}}, Kind.JSON),
        ({"type": "array", "items": False}, Kind.JSON),
        ({"type": "array", "prefixItems": [{"type": "number"}], "items": {"type": "string"}}, Kind.JSON),
        ({"type": ["array", "null"], "items": {"type": "string"}}, Kind.JSON),
    ],
)
def test_each_sort_of_schema_has_one_way(schema: dict[str, Any], kind: Kind) -> None:
    assert kind_of(schema, ROOT) is kind


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "integer"}, True),
        ({"enum": [1, 2]}, True),
        ({"type": ["integer", "null"]}, True),
        ({"type": "number"}, False),
        ({"enum": [1, 2.5]}, False),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, True),
        ({"type": "boolean"}, False),
    ],
)
def test_integers_are_told_from_numbers(schema: dict[str, Any], answer: bool) -> None:
    assert is_integer(schema, ROOT) is answer
