"""How a parameter travels as name-value pairs: its schema alone decides it."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

__all__ = ["Kind", "is_integer", "kind_of", "lookup", "resolve"]

_TYPES = {
    "null": frozenset({"null"}),
    "boolean": frozenset({"boolean"}),
    "integer": frozenset({"integer"}),
    # An integer is a number (JSON Schema Core section 4.2.3).
    "number": frozenset({"integer", "number"}),
    "string": frozenset({"string"}),
    "array": frozenset({"array"}),
    "object": frozenset({"object"}),
}
_ANY = frozenset[str]().union(*_TYPES.values())
_SCALARS = _ANY - {"array", "object"}


class Kind(Enum):
    """A way to travel."""

    TEXT = auto()
    """Always a text: verbatim."""

    JSON = auto()
    """Never a text: one JSON text."""

    TEXTS = auto()
    """An array of texts: the parameter is repeated, each verbatim; one empty text stands for no item."""

    JSONS = auto()
    """An array of numbers, booleans and nulls: repeated, each as JSON; one empty text stands for no item."""


def resolve(root: Any, reference: str) -> Any | None:
    """What a reference into a schema points at; None if nowhere.

    Parameters
    ----------
    root
        The whole schema.
    reference
        As ``#/$defs/NAME``.
    """
    if not reference.startswith("#/"):
        return None
    found = root
    for part in unquote(reference[2:]).split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping | bool) else None


def lookup(schema: Any, keyword: str, root: Mapping[str, Any], missing: Any = None) -> Any:
    """The value of a keyword in a schema, else in what it refers to.

    Parameters
    ----------
    schema
        One schema.
    keyword
        What to look for.
    root
        The whole schema, for references.
    missing
        What to return if the keyword is in neither.
    """
    while isinstance(schema, Mapping):
        if keyword in schema:
            return schema[keyword]
        schema = resolve(root, schema["$ref"]) if "$ref" in schema else None
    return missing


def kind_of(schema: Any, root: Mapping[str, Any]) -> Kind:
    """How the values of a schema travel.

    Parameters
    ----------
    schema
        The schema of one parameter.
    root
        The whole schema, for references.

    Raises
    ------
    ValueError
        If a text would not tell what it stands for.
    """
    types = _types(schema, root)
    if not types:
        raise ValueError("no value can satisfy this")
    if types == {"string"}:
        return Kind.TEXT
    if types == {"array"}:
        return _kind_of_array(schema, root)
    if "string" not in types:
        return Kind.JSON
    if types == _ANY:
        raise ValueError("does not say of which type the value is (type, enum or const)")
    others = ", ".join(sorted(types - {"string"}))
    raise ValueError(f"is a string or something else ({others}): its text could not tell which")


def is_integer(schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether the numbers that satisfy a schema are integers only; parameters as for `kind_of`."""
    return _types(schema, root) & _TYPES["number"] == {"integer"}


def _kind_of_array(schema: Any, root: Mapping[str, Any]) -> Kind:
    items = lookup(schema, "items", root)
    if items is None or lookup(schema, "prefixItems", root) is not None:
        return Kind.JSON
    types = _types(items, root)
    if types == {"string"}:
        return Kind.TEXTS
    return Kind.JSONS if types and types <= _SCALARS - {"string"} else Kind.JSON


def _types(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that may satisfy a schema; too many rather than too few."""
    if not isinstance(schema, Mapping):
        return _ANY if schema else frozenset()
    types = _ANY
    if "type" in schema:
        named = schema["type"]
        types &= _union(_TYPES[name] for name in ([named] if isinstance(named, str) else named))
    if "enum" in schema:
        types &= _union(map(_type_of, schema["enum"]))
    if "const" in schema:
        types &= _type_of(schema["const"])
    if "$ref" in schema:
        types &= _types(resolve(root, schema["$ref"]), root)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            types &= _union(_types(item, root) for item in schema[keyword])
    for item in schema.get("allOf", ()):
        types &= _types(item, root)
    return types


def _union(sets: Any) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def _type_of(value: Any) -> frozenset[str]:
    if isinstance(value, float) and not value.is_integer():
        return frozenset({"number"})
    # A whole number may be written as 2 or 2.0; bool comes before int, whose subclass it is.
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return _TYPES[names.get(type(value), "null")]
