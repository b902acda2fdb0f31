"""The JSON values that may be parameters, and their texts."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lsst.ts.ocps.uws.documents import NOT_XML

__all__ = ["MAX_DEPTH", "json_problems", "json_text", "show", "to_text"]

MAX_DEPTH = 32
"""How deep parameters may be nested; a bound against recursion, far above any use."""

_INT64 = 2**63
_SHOWN = 80


def json_problems(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Say why a value cannot be a parameter or a part of one.

    Allowed are JSON values whose numbers are finite, whose integers fit 64 bits (signed) and whose
    texts consist of characters that XML 1.0 can carry (tab, line feed and carriage return among them).

    Parameters
    ----------
    value
        Anything.
    path
        Where it is, as ``parameters.region``.
    depth
        How deep that is.

    Yields
    ------
    tuple
        Path and reason of each problem.
    """
    match value:
        case None | bool():
            pass
        case int():
            if not -_INT64 <= value < _INT64:
                yield path, f"{show(value)} does not fit 64 bits"
        case float():
            if not math.isfinite(value):
                yield path, f"{value} is not a finite number"
        case str():
            yield from _text_problems(value, path)
        case list() | dict() if depth >= MAX_DEPTH:
            yield path, f"is nested more than {MAX_DEPTH} deep"
        case list():
            for index, item in enumerate(value):
                yield from json_problems(item, f"{path}.{index}", depth + 1)
        case dict():
            yield from _object_problems(value, path, depth)
        case _:
            yield path, f"{show(value)} is of type {type(value).__name__}, which is not a JSON value"


def _object_problems(value: Mapping[Any, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(key, str):
            yield from _text_problems(key, path)
            yield from json_problems(item, f"{path}.{key}", depth + 1)
        else:
            yield path, f"the key {show(key)} is of type {type(key).__name__}; keys are texts"


def _text_problems(text: str, path: str) -> Iterator[tuple[str, str]]:
    if bad := NOT_XML.search(text):
        yield path, f"{show(text)} contains U+{ord(bad[0]):04X}, which a job document cannot carry"


def json_text(value: Any) -> str:
    """The JSON text of a value: no blanks, characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_text(value: Any) -> str:
    """A value as a name-value pair or an argument carries it: texts verbatim, others as JSON."""
    return value if isinstance(value, str) else json_text(value)


def show(value: Any) -> str:
    """A value for a message: as Python writes it, shortened, and without control characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4300 digits
        return "a huge integer"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 20]}...{text[-17:]}"
