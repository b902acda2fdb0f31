"""Tables of configuration models for the pages, made of the models: names, defaults and docstrings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from lsst.ts.ocps.cli.schemas import read_sentences

__all__ = ["Entry", "list_fields", "to_table"]


@dataclass(frozen=True)
class Entry:
    """A field that can be configured."""

    name: str
    """With those of the sections that it is in, joined by dots."""

    default: str
    meaning: str
    """Its docstring, "" if it has none."""

    choices: tuple[str, ...] = ()
    """The words that it takes, if there are only some."""


def list_fields(model: type[BaseModel], prefix: str = "") -> Iterator[Entry]:
    """List the fields of a model, each followed by those of the sections that it may hold.

    Parameters
    ----------
    model
        The model.
    prefix
        What stands before each name.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        yield Entry(path, _default(field), _docstring(model, name), choices)
        told: dict[str, Entry] = {}
        for section in _sections(field.annotation):
            for entry in list_fields(section, f"{path}."):
                # Kinds of a section may have fields of the same name, such as that which tells the kind.
                known = told.setdefault(entry.name, entry)
                words = tuple(dict.fromkeys(known.choices + entry.choices))
                told[entry.name] = replace(known, choices=words)
        yield from told.values()


def to_table(model: type[BaseModel]) -> list[str]:
    """The lines of a table of all fields."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 28 17 55", ""]
    lines += ["   * - name", "     - default", "     - meaning"]
    for entry in list_fields(model):
        shown = f"``{entry.default}``" if entry.default else ""
        words = ", ".join(f"``{word}``" for word in entry.choices)
        meaning = " ".join(filter(None, (entry.meaning, f"One of {words}." if words else "")))
        lines += [f"   * - ``{entry.name}``", f"     - {shown}", f"     - {meaning}"]
    return [*lines, ""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return str(TypeAdapter(timedelta).dump_python(value, mode="json"))
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _docstring(model: type[BaseModel], name: str) -> str:
    for kind in model.__mro__:
        if kind is not BaseModel and issubclass(kind, BaseModel) and name in kind.__annotations__:
            return read_sentences(kind).get(name, "")
    return ""


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type: itself, or members of a union, or items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    # An alias of a type hides what it stands for.
    for argument in get_args(getattr(annotation, "__value__", annotation)):
        yield from _sections(argument)
