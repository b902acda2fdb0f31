"""Turns the words of a typed command into the values of its fields."""

from collections.abc import Sequence
from typing import Any

from .interface import FieldInfo

__all__ = ["make_fields", "make_value"]

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


def make_fields(command: str, infos: Sequence[FieldInfo], words: Sequence[str]) -> dict[str, Any]:
    """The fields of a command, of which each has one word.

    Parameters
    ----------
    command
        Its name, for errors.
    infos
        The fields, in order.
    words
        As typed.

    Raises
    ------
    ValueError
        If there are too few or too many words, or one is no value of its field.
    """
    if len(words) != len(infos):
        needed = " ".join(info.name for info in infos) or "none"
        raise ValueError(f"{command} needs {len(infos)} arguments ({needed}), got {len(words)}")
    for info in infos:
        if info.count > 1:
            raise ValueError(f"{info.name} is an array; it cannot be given here")
    return {info.name: make_value(info, word) for info, word in zip(infos, words, strict=True)}


def make_value(info: FieldInfo, word: str) -> bool | int | float | str:
    """The value of a field, or of one element of an array.

    Parameters
    ----------
    info
        The field.
    word
        As typed.

    Raises
    ------
    ValueError
        If the word is no such value; names field, word and what is needed.
    """
    if info.avro_type == "boolean":
        if word.lower() in _TRUE | _FALSE:
            return word.lower() in _TRUE
        raise ValueError(f"{info.name}={word!r} is not one of 0, f, false, 1, t, true")
    try:
        if info.avro_type in {"int", "long"}:
            return int(word)
        return float(word) if info.avro_type in {"float", "double"} else word
    except ValueError:
        needed = "a whole number" if info.avro_type in {"int", "long"} else "a number"
        raise ValueError(f"{info.name}={word!r} is not {needed}") from None
