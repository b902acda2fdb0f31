"""The parameters of a run as people type them: ``key=value`` and ``key:=JSON``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .errors import UsageError

__all__ = ["parse_assignments"]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _load_json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _types(schema: Mapping[str, Any] | None) -> tuple[str, ...]:
    declared = (schema or {}).get("type", ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _guess(text: str, schema: Mapping[str, Any] | None) -> Any:
    """Read a value that was not forced: JSON where that is what it looks like, else the text itself."""
    types = _types(schema)
    if types == ("string",):
        return text
    try:
        value = _load_json(text)
    except ValueError:
        return text
    # A quoted text keeps its quotes, and "null" is a word unless the payload knows it as a value.
    if isinstance(value, str) or (value is None and "null" not in types):
        return text
    return value


def _split(argument: str) -> tuple[str, bool, str]:
    name, equals, text = argument.partition("=")
    if not equals:
        raise UsageError(f"{argument!r} is not of the form key=value or key:=JSON")
    is_forced = name.endswith(":")
    name = name.removesuffix(":")
    if not name:
        raise UsageError(f"{argument!r} names no parameter before '='")
    return name, is_forced, text


def _force(name: str, text: str) -> Any:
    try:
        return _load_json(text)
    except ValueError as error:
        raise UsageError(f"parameter {name}: {text!r} is not JSON: {error}") from error


def _collect(name: str, texts: Sequence[str], schema: Mapping[str, Any] | None) -> Any:
    """Make one value of all that was given for a name."""
    if "array" not in _types(schema):
        if len(texts) > 1:
            raise UsageError(f"parameter {name} is given {len(texts)} times, and it is no list")
        return _guess(texts[0], schema)
    items = (schema or {}).get("items")
    item_schema = items if isinstance(items, Mapping) else None
    if len(texts) == 1 and isinstance(value := _guess(texts[0], schema), list):
        return value
    return [_guess(text, item_schema) for text in texts]


def parse_assignments(arguments: Sequence[str], schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the parameters object of a run.

    Parameters
    ----------
    arguments
        ``key=value``: the value as JSON where it is a number, true, false, an array or an object, else as
        text; always as text where the payload declares a string. ``key:=JSON``: as JSON, whatever the
        payload declares. A list may also be given item by item, by repeating ``key=item``.
    schema
        JSON Schema of the payload's parameters; None if unknown.

    Returns
    -------
    dict
        JSON values by name. They are not validated: the CSC does that.

    Raises
    ------
    UsageError
        If an argument has another form, or a name is given twice.
    """
    properties = (schema or {}).get("properties", {})
    forced: dict[str, Any] = {}
    given: dict[str, list[str]] = {}
    for argument in arguments:
        name, is_forced, text = _split(argument)
        if name in forced or (is_forced and name in given):
            raise UsageError(f"parameter {name} is given twice")
        if is_forced:
            forced[name] = _force(name, text)
        else:
            given.setdefault(name, []).append(text)
    return {name: _collect(name, texts, properties.get(name)) for name, texts in given.items()} | forced
