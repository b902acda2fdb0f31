"""From merged configuration files to what one CSC works with. This module reads files and blocks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lsst.ts.ocps.payloads.catalogue import Catalogue, load_catalogue
from lsst.ts.ocps.payloads.json_schema import near_match
from lsst.ts.ocps.payloads.limits import put_over
from lsst.ts.ocps.payloads.schema import PayloadDefinition

from .config import CscConfig, PayloadOverrides, RedisSettings, parse_config, select_instance
from .config_layers import Layer, validate
from .config_v4 import convert_v4
from .errors import ConfigurationError

__all__ = ["Configured", "load", "override_payloads"]


class Configured(NamedTuple):
    """What one CSC works with."""

    config: CscConfig
    catalogue: Catalogue
    """The payloads, with what the configuration says of them put over their definitions."""


def load(
    values: Mapping[str, Any],
    *,
    version: str,
    index: int,
    folder: Path,
    redis: RedisSettings,
    read: Callable[[], Sequence[Layer]],
) -> Configured:
    """Validate configuration and read the payload definitions that it names. Blocks.

    Parameters
    ----------
    values
        The merged files.
    version
        Their version, ``v5`` or ``v4``.
    index
        SAL index of the CSC.
    folder
        Where the files are.
    redis
        Where rapid analysis is, for version 4.
    read
        Reads the files one by one, to name the one that is wrong.

    Raises
    ------
    ConfigurationError
        If the configuration is wrong; each problem names file, field, value and reason.
    CatalogueError
        If payload definitions are wrong.
    """

    def attempt(layers: Sequence[Layer]) -> Configured:
        if version == "v4":
            return Configured(*convert_v4(values, index=index, redis=redis, layers=layers))
        config = select_instance(parse_config(values, layers), index)
        catalogue = load_catalogue(folder / directory for directory in config.payload_directories)
        return Configured(config, override_payloads(catalogue, config.payloads))

    try:
        return attempt(())
    except ConfigurationError:
        return attempt(read())


def override_payloads(catalogue: Catalogue, payloads: Mapping[str, PayloadOverrides]) -> Catalogue:
    """Put what a configuration says of payloads over their definitions.

    Parameters
    ----------
    catalogue
        The payloads as they are defined.
    payloads
        What is different, by name.

    Raises
    ------
    ConfigurationError
        If there is no such payload, or the two do not fit together.
    """
    changed: list[PayloadDefinition] = []
    problems: list[str] = []
    for name, overrides in payloads.items():
        if name not in catalogue:
            known = ", ".join(catalogue)
            hint = near_match(name, list(catalogue))
            problems.append(f"payloads.{name}: there is no such payload{hint} (configured: {known})")
            continue
        try:
            changed.append(_override(catalogue[name], overrides))
        except ConfigurationError as error:
            problems.extend(f"payloads.{name}.{problem}" for problem in error.problems)
    if problems:
        raise ConfigurationError(problems)
    return Catalogue([*catalogue.values(), *changed])


def _override(definition: PayloadDefinition, overrides: PayloadOverrides) -> PayloadDefinition:
    changes = overrides.model_dump(exclude_unset=True, exclude={"backend", "environment"})
    values = put_over(definition.model_dump(exclude_unset=True), changes)
    if overrides.environment:
        if definition.api_server is None:
            raise ConfigurationError(["environment: the definition has no section api_server"])
        server = values["api_server"]
        values["api_server"] = server | {"environment": server.get("environment", {}) | overrides.environment}
    return validate(PayloadDefinition, values)
