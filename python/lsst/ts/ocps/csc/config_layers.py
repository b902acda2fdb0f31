"""Configuration files one by one, to name the one that is wrong, and what is wrong with it."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import ConfigurationError

__all__ = ["Layer", "read_layers", "read_start", "validate"]

M = TypeVar("M", bound=BaseModel)

_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Layer:
    """One configuration file."""

    name: str
    """Name of the file."""

    values: dict[str, Any]
    """What it holds; empty if it could not be read."""


def read_layers(config_dir: Path, names: Iterable[str]) -> list[Layer]:
    """Read configuration files again, only to tell in which of them something is wrong. Blocks.

    Parameters
    ----------
    config_dir
        Where they are.
    names
        Their names, in the order in which they were merged; absent ones are skipped.
    """
    layers = []
    for name in names:
        try:
            values = yaml.safe_load((config_dir / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            # The merge has read or refused this file already; here it only cannot be named.
            continue
        layers.append(Layer(name, values if isinstance(values, dict) else {}))
    return layers


def read_start(config_dir: Path, site: str, override: str) -> list[Layer]:
    """Read the files that the command ``start`` has merged again. Blocks.

    Parameters
    ----------
    config_dir
        Where they are.
    site
        Name of the site.
    override
        As in the command: a file, or none, and after a colon the commit that its files were taken from.
    """
    name, _, git_ref = override.partition(":")
    names = ["_init.yaml", f"_{site}.yaml", *([name] if name else [])]
    if git_ref:
        # The files of another commit may differ from those in the folder.
        return [Layer(f"{name}:{git_ref}", {}) for name in names]
    return read_layers(config_dir, names)


def validate(model: type[M], values: Mapping[str, Any], layers: Sequence[Layer] = ()) -> M:
    """Validate merged configuration.

    Parameters
    ----------
    model
        What it has to be.
    values
        The merged files.
    layers
        The files one by one, to name the one that is wrong.

    Raises
    ------
    ConfigurationError
        If anything is wrong; each problem names file, field, value and reason.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigurationError(_describe(model, detail, layers) for detail in error.errors()) from None


def _describe(model: type[BaseModel], detail: ErrorDetails, layers: Sequence[Layer]) -> str:
    known = _known_keys(model, detail["loc"][:-1])
    location = _without_tag(detail["loc"])
    file = _find_file(location, layers)
    path = ".".join(map(str, location))
    if detail["type"] == "extra_forbidden":
        # The value is not shown: an unknown key may well hold a secret that belongs elsewhere.
        reason = f"unknown key{_suggest(str(location[-1]), known)}"
    elif detail["type"] == "missing":
        reason = "is missing"
    else:
        message: str = detail["msg"]
        reason = f"{message.removeprefix('Value error, ')}{_show(detail['input'], location)}"
    return ": ".join(part for part in (file, path, reason) if part)


def _without_tag(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A place of the document; pydantic puts the kind of a back end between its name and its keys."""
    is_inside = location[:1] == ("backends",) and len(location) > 2
    return (*location[:2], *location[3:]) if is_inside else location


def _show(value: Any, location: tuple[int | str, ...]) -> str:
    text = repr(value)
    if not location or "@" in text:
        return ""
    return f" (it is {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '…'})"


def _suggest(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _find_file(location: tuple[int | str, ...], layers: Sequence[Layer]) -> str:
    """The last file that holds the place; all of them for a place that none holds."""
    for layer in reversed(layers):
        if location and _holds(layer.values, location):
            return layer.name
    return "+".join(layer.name for layer in layers)


def _holds(values: Any, location: tuple[int | str, ...]) -> bool:
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _known_keys(annotation: Any, location: tuple[int | str, ...]) -> set[str]:
    """The keys that a model takes at a place of a document, for suggestions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return set(annotation.model_fields)
        if location[0] not in annotation.model_fields:
            # The tag of a union, which pydantic puts into the location: the kind of a back end.
            is_meant = location[0] == getattr(annotation.model_fields.get("kind"), "default", None)
            return _known_keys(annotation, location[1:]) if is_meant else set()
        return _known_keys(annotation.model_fields[str(location[0])].annotation, location[1:])
    if get_origin(annotation) is dict:
        return _known_keys(get_args(annotation)[1], location[1:])
    if get_origin(annotation) is tuple:
        # The location names the item by its number.
        location = location[1:]
    return {key for part in get_args(annotation) for key in _known_keys(part, location)}
