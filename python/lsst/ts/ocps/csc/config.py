"""The configuration of the CSC (version 5) and its environment; nothing else here reads ``os.environ``."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lsst.ts.ocps.client.settings import AnyBackendSettings

from .errors import ConfigurationError, SettingsError

__all__ = [
    "CONFIG_SCHEMA",
    "SCHEMA_VERSION",
    "CscConfig",
    "CscSettings",
    "Layer",
    "parse_config",
    "read_layers",
]

SCHEMA_VERSION = "v5"
"""Version of the configuration; its files are in ``OCPS/v5`` of the configuration folder."""

CONFIG_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": f"OCPS {SCHEMA_VERSION}",
    "description": "Validated by the models of the CSC, which name file, field, value and reason.",
    "type": "object",
}
"""What the SAL layer is given: it lets everything pass, so that our own errors are the ones that are read."""

_MAX_SHOWN = 80


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CscConfig(_Model):
    """Configuration of one CSC, all layers merged."""

    backends: dict[str, AnyBackendSettings] = Field(min_length=1)
    """The services that run jobs, by name."""

    default_backend: str
    """Name of the back end that runs payloads."""

    payload_directories: tuple[str, ...] = Field(min_length=1)
    """Folders of payload definitions; relative ones start at the configuration folder."""

    execute_payload: str = ""
    """The payload that the deployed command ``execute`` runs; "": the command is refused."""

    execute_reports_failure: bool = False
    """Whether ``execute`` fails when its job does; false is as deployed (COMPLETE, the exit code tells)."""

    fault_after: float = Field(default=60.0, gt=0)
    """How long a required back end may be unreachable while ENABLED before the CSC goes to FAULT (s)."""

    max_command_age: float = Field(default=600.0, gt=0)
    """A command that got no job before a restart and is older than this is refused, not carried out (s)."""

    create_timeout: float = Field(default=5.0, gt=0)
    """How long a job is asked for again after failures that may pass, before the command is refused (s)."""

    keep_runs: float = Field(default=90 * 86400.0, gt=0)
    """How long the ledger remembers reported runs (s)."""

    @model_validator(mode="after")
    def _check_default_backend(self) -> Self:
        if self.default_backend not in self.backends:
            raise ValueError(
                f"default_backend: {self.default_backend!r} is not one of {', '.join(sorted(self.backends))}"
            )
        return self


class CscSettings(_Model):
    """What the environment says to the CSC."""

    site: str
    """``LSST_SITE``; it becomes part of every run_id."""

    state_dir: Path
    """``OCPS_STATE_DIR``: an existing folder for the ledger, on a local or block volume that is kept."""

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, needs_config_dir: bool = True
    ) -> Self:
        """Read the settings.

        Parameters
        ----------
        environment
            The variables; None: those of this process.
        needs_config_dir
            Whether the configuration folder must be named there too.

        Raises
        ------
        SettingsError
            If variables are missing; it names each and says what it is for.
        """
        variables = os.environ if environment is None else environment  # noqa: TID251 (read here only)
        purposes = {
            "LSST_TOPIC_SUBNAME": "second part of every Kafka topic name, such as sal",
            "LSST_SITE": "name of the site, such as summit",
            "OCPS_STATE_DIR": "folder of the ledger, on a volume that is kept",
        }
        if needs_config_dir:
            purposes["DM_CONFIG_OCPS_DIR"] = "configuration folder, which holds OCPS/v5"
        missing = [f"{name} ({purpose})" for name, purpose in purposes.items() if not variables.get(name)]
        if missing:
            raise SettingsError(f"environment variables are not set: {', '.join(missing)}")
        return cls(site=variables["LSST_SITE"], state_dir=Path(variables["OCPS_STATE_DIR"]))


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


def parse_config(values: Mapping[str, Any], layers: Sequence[Layer] = ()) -> CscConfig:
    """Validate merged configuration.

    Parameters
    ----------
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
        return CscConfig.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigurationError(_describe(detail, layers) for detail in error.errors()) from None


def _describe(detail: ErrorDetails, layers: Sequence[Layer]) -> str:
    known = _known_keys(CscConfig, detail["loc"][:-1])
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
    return {key for part in get_args(annotation) for key in _known_keys(part, location)}
