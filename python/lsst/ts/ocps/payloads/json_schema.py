"""The part of JSON Schema 2020-12 in which payload parameters are described.

Everything that only tells good values from bad ones is allowed. What would silently not work is refused
when the definition is loaded: unknown keywords, formats that nobody checks, references out of the schema
or in circles, parameters whose text would not tell what they are.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import jsonschema
from referencing import Registry

from .kinds import Kind, kind_of, lookup, resolve
from .values import json_problems

__all__ = ["RESERVED_NAMES", "Problem", "Validator", "compile_validator", "near_match", "schema_problems"]

Problem = tuple[str, Any, str]
"""Path, value found there (None: nothing to show) and reason."""

Validator = jsonschema.Draft202012Validator
"""A compiled schema."""

RESERVED_NAMES = frozenset({"PHASE", "RUNID", "WAIT", "ACTION", "DESTRUCTION", "EXECUTIONDURATION", "UPLOAD"})
"""Names that a UWS service keeps for itself (UWS 1.1 section 2.2, DALI 1.1 section 3.4)."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Any back end takes such names: form fields, XML attributes, environment variables.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

# Keywords by what their value is (JSON Schema Core sections 8 to 11, Validation sections 6 to 9).
_SCHEMA = frozenset(
    {
        *("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED_SCHEMAS = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
_PLAIN = frozenset(
    {
        *(
            "$comment",
            "$ref",
            "$schema",
            "const",
            "default",
            "dependentRequired",
            "deprecated",
            "description",
        ),
        *("enum", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "maxContains", "maxItems"),
        *("maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties"),
        *("minimum", "multipleOf", "pattern", "readOnly", "required", "title", "type", "uniqueItems"),
        "writeOnly",
    }
)
_KEYWORDS = _SCHEMA | _SCHEMAS | _NAMED_SCHEMAS | _PLAIN

_FORMATS = jsonschema.FormatChecker(formats=("date", "ipv4", "ipv6", "regex", "uuid"))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    # RFC 3339 wants a zone; a text without one is not a moment.
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def compile_validator(schema: Mapping[str, Any]) -> Validator:
    """Make the validator of a checked schema; it never fetches anything.

    Parameters
    ----------
    schema
        The schema of the parameters object.
    """
    return Validator(schema, registry=Registry(), format_checker=_FORMATS)


def near_match(word: str, known: Iterator[str] | list[str]) -> str:
    """The end of a message about an unknown word: ``; did you mean 'x'?`` or nothing.

    Parameters
    ----------
    word
        What was written.
    known
        What could have been meant.
    """
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""


def schema_problems(schema: Mapping[str, Any], path: str = "parameters") -> list[Problem]:
    """Everything that makes a schema unfit to describe the parameters of a payload.

    Parameters
    ----------
    schema
        The schema of the parameters object, as written in the definition.
    path
        Where it is written, for the messages.
    """
    # Each step relies on those before it.
    steps = (
        _json_problems,
        _dialect_problems,
        _walk_problems,
        _cycle_problems,
        _root_problems,
        _kind_problems,
    )
    for step in (*steps, _default_problems):
        if problems := list(step(schema, path)):
            return problems
    return []


def _json_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for where, reason in json_problems(schema, path):
        yield where, None, reason


def _dialect_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for error in Validator(Validator.META_SCHEMA).iter_errors(schema):
        yield ".".join([path, *map(str, error.absolute_path)]), error.instance, error.message
    if schema.get("$schema", _DIALECT) != _DIALECT:
        yield f"{path}.$schema", schema["$schema"], f"only {_DIALECT} is understood"


def _subschemas(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema inside a schema, itself first, with its path."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for keyword, value in schema.items():
        where = f"{path}.{keyword}"
        if keyword in _SCHEMA:
            yield from _subschemas(value, where)
        elif keyword in _SCHEMAS:
            for index, item in enumerate(value):
                yield from _subschemas(item, f"{where}.{index}")
        elif keyword in _NAMED_SCHEMAS:
            for name, item in value.items():
                yield from _subschemas(item, f"{where}.{name}")


def _walk_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for where, sub in _subschemas(schema, path):
        for keyword in sub.keys() - _KEYWORDS:
            if not keyword.startswith("x-"):
                yield f"{where}.{keyword}", None, f"unknown keyword{near_match(keyword, sorted(_KEYWORDS))}"
        if (name := sub.get("format")) is not None and name not in _FORMATS.checkers:
            known = ", ".join(sorted(_FORMATS.checkers))
            yield f"{where}.format", name, f"this format is not checked here (only {known}); use a pattern"
        for pattern in (*_texts(sub.get("pattern")), *sub.get("patternProperties", ())):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"{where}.pattern", pattern, f"not a regular expression: {error}"
        if "$ref" in sub and resolve(schema, sub["$ref"]) is None:
            yield f"{where}.$ref", sub["$ref"], "refers to nothing inside this schema (write #/$defs/NAME)"


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ()


def _cycle_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """References in circles: a value of bounded size could take unbounded time."""

    def reaches_itself(reference: str, trail: tuple[str, ...]) -> bool:
        if reference in trail:
            return True
        inside = _subschemas(resolve(schema, reference), "")
        return any(reaches_itself(sub["$ref"], (*trail, reference)) for _, sub in inside if "$ref" in sub)

    for where, sub in _subschemas(schema, path):
        if "$ref" in sub and reaches_itself(sub["$ref"], ()):
            yield f"{where}.$ref", sub["$ref"], "refers to itself"


def _root_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if schema.get("type") != "object":
        yield (
            f"{path}.type",
            schema.get("type"),
            "the parameters of a payload are an object: write type: object",
        )
    if schema.get("additionalProperties", False) is not False:
        reason = "must be false: a parameter without a schema could not be told from its text"
        yield f"{path}.additionalProperties", schema["additionalProperties"], reason
    for keyword in ("$ref", "patternProperties", "unevaluatedProperties"):
        if keyword in schema:
            yield f"{path}.{keyword}", None, "name every parameter under properties"
    names = list(schema.get("properties", {}))
    spellings = Counter(name.upper() for name in names)
    for name in names:
        where = f"{path}.properties.{name}"
        if name.upper() in RESERVED_NAMES:
            yield where, None, "this name (in any case) belongs to the UWS protocol"
        elif not _NAME.fullmatch(name):
            yield where, None, "a parameter name is 1 to 63 of A-Z, a-z, 0-9 and _, with no digit in front"
        elif spellings[name.upper()] > 1:
            yield where, None, "is there twice: UWS compares names ignoring case"
    for index, name in enumerate(schema.get("required", [])):
        if name not in names:
            yield f"{path}.required.{index}", name, f"is no parameter{near_match(name, names)}"


def _kind_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name, sub in schema.get("properties", {}).items():
        try:
            kind_of(sub, schema)
        except ValueError as error:
            yield f"{path}.properties.{name}", None, str(error)


def _default_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    validator = compile_validator(schema)
    for where, sub in _subschemas(schema, path):
        if "default" in sub:
            for error in validator.evolve(schema=sub).iter_errors(sub["default"]):
                yield f"{where}.default", error.instance, error.message
    for name, sub in schema.get("properties", {}).items():
        empty = kind_of(sub, schema) is Kind.TEXTS and not lookup(sub, "minItems", schema)
        if empty and lookup(sub, "default", schema) == [""]:
            reason = "one empty text alone cannot be told from an empty array"
            yield f"{path}.properties.{name}.default", [""], reason
