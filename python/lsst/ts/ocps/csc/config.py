"""The configuration of the CSC (version 5) and its environment; nothing else here reads ``os.environ``."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.payloads.json_schema import near_match
from lsst.ts.ocps.payloads.limits import LimitKeys, LimitSettings, put_over

from .config_layers import Layer, validate
from .deposit_plan import DepositConfig
from .errors import ConfigurationError, SettingsError

__all__ = [
    "ConfigDocument",
    "CscConfig",
    "CscSettings",
    "InstanceSettings",
    "PayloadOverrides",
    "RedisSettings",
    "choose_version",
    "make_schema",
    "parse_config",
    "select_instance",
    "version_of_folder",
]


def make_schema(version: str) -> dict[str, Any]:
    """What the SAL layer is given: it lets everything pass, so that the errors that are read are our own.

    Parameters
    ----------
    version
        Version of the configuration: ``v5``, or ``v4`` as deployed before.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"OCPS {version}",
        "description": "Validated by the models of the CSC, which name file, field, value and reason.",
        "type": "object",
    }


def choose_version(config_dir: str | Path | None, settings: "CscSettings") -> str:
    """Version of the configuration that is there: v4 only where there is no v5. Looks at folders.

    Parameters
    ----------
    config_dir
        The folder of the files, if it was named; its name tells.
    settings
        Names the folder around those of all versions.
    """
    if config_dir is not None:
        return version_of_folder(Path(config_dir))
    root = (settings.config_root or Path()) / "OCPS"
    return "v4" if (root / "v4").is_dir() and not (root / "v5").is_dir() else "v5"


def version_of_folder(folder: Path) -> str:
    """Version of the configuration files in a folder, which its name tells: v5 unless it is v4."""
    return "v4" if folder.resolve().name == "v4" else "v5"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PayloadOverrides(_Model, LimitKeys):
    """What is different about a payload here; keys that are left out stay as its definition has them."""

    backend: str | None = None
    """Name of the back end that runs it; None: the default one."""

    expected_duration: float | None = None
    """How long a run usually takes (s)."""

    execution_duration: int | None = None
    """Limit of the execution time (s); 0 = unlimited."""

    environment: dict[str, str] = {}
    """Variables of ``api_server.environment`` that have another value here, or are not there at all."""


class CscConfig(_Model, LimitSettings):
    """What one CSC works with; the limits are those of all its runs together."""

    backends: dict[str, AnyBackendSettings] = Field(min_length=1)
    """The services that run jobs, by name."""

    default_backend: str
    """Name of the back end that runs payloads."""

    execute_payload: str = ""
    """The payload that the deployed command ``execute`` runs; "": the command is refused."""

    execute_reports_failure: bool = False
    """Whether ``execute`` fails when its job does; false is as deployed (COMPLETE, the exit code tells)."""

    execute_when_busy: Literal["queue", "reject"] = "queue"
    """What happens to ``execute`` where a limit refuses other commands: ``queue``, it waits all the same, as
    its deployed clients expect; ``reject``, it is refused as they are."""

    payloads: dict[str, PayloadOverrides] = {}
    """What is different about payloads here, by their names."""

    fault_after: float = Field(default=60.0, gt=0)
    """How long a required back end may be unreachable while ENABLED before the CSC goes to FAULT (s)."""

    max_command_age: float = Field(default=600.0, gt=0)
    """A command that got no job before a restart and is older than this is refused, not carried out (s)."""

    create_timeout: float = Field(default=5.0, gt=0)
    """How long a job is asked for again after failures that may pass, before the command is refused (s)."""

    keep_runs: float = Field(default=90 * 86400.0, gt=0)
    """How long the ledger remembers reported runs (s)."""

    deposit: DepositConfig = DepositConfig()
    """Where results go when a job has completed."""

    @model_validator(mode="after")
    def _check_backends(self) -> Self:
        self._refuse_unknown_backends(self._named_backends())
        return self

    def _named_backends(self) -> Iterator[tuple[str, str | None]]:
        """Where back ends are named, and which."""
        yield "default_backend", self.default_backend
        yield from _backends_of_payloads("payloads", self.payloads)

    def _refuse_unknown_backends(self, named: Iterable[tuple[str, str | None]]) -> None:
        known = ", ".join(sorted(self.backends))
        wrong = [
            f"{path}: {name!r} is not one of {known}{near_match(name, list(self.backends))}"
            for path, name in named
            if name is not None and name not in self.backends
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def choose_backend(self, payload: str) -> str:
        """Name of the back end that runs a payload."""
        overrides = self.payloads.get(payload)
        return (overrides.backend if overrides else None) or self.default_backend


class InstanceSettings(_Model, LimitKeys):
    """What is different for one SAL index; keys that are left out are as in the document around it."""

    sal_index: int = Field(ge=1)
    """Which CSC this is for."""

    name: str = ""
    """What people call it."""

    backend: str | None = None
    """Name of the back end that runs payloads, instead of ``default_backend``."""

    payload_directories: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Folders of payload definitions."""

    execute_payload: str | None = None
    """The payload that the deployed command ``execute`` runs; "": the command is refused."""

    execute_reports_failure: bool | None = None
    """Whether ``execute`` fails when its job does."""

    execute_when_busy: Literal["queue", "reject"] | None = None
    """What happens to ``execute`` where a limit refuses other commands."""

    payloads: dict[str, PayloadOverrides] = {}
    """What is different about payloads here, put over what the document says of them, key by key."""

    @property
    def label(self) -> str:
        """How it is named in messages."""
        return f"{self.sal_index} ({self.name})" if self.name else str(self.sal_index)


class ConfigDocument(CscConfig):
    """Configuration of the OCPS CSC, version 5: all files merged, for one SAL index or several."""

    payload_directories: tuple[str, ...] = Field(min_length=1)
    """Folders of payload definitions; relative ones start at the configuration folder."""

    instances: tuple[InstanceSettings, ...] = ()
    """What is different for single SAL indices. Without any, the document is for every index; with some,
    an index that is not among them does not start."""

    @model_validator(mode="after")
    def _check_instances(self) -> Self:
        counts = Counter(instance.sal_index for instance in self.instances)
        if twice := [str(index) for index, count in counts.items() if count > 1]:
            raise ValueError(f"instances: sal_index {', '.join(twice)} is there twice")
        self._refuse_unknown_backends(self._named_by_instances())
        return self

    def _named_by_instances(self) -> Iterator[tuple[str, str | None]]:
        for number, instance in enumerate(self.instances):
            yield f"instances.{number}.backend", instance.backend
            yield from _backends_of_payloads(f"instances.{number}.payloads", instance.payloads)


def _backends_of_payloads(
    path: str, payloads: Mapping[str, PayloadOverrides]
) -> Iterator[tuple[str, str | None]]:
    for name, overrides in payloads.items():
        yield f"{path}.{name}.backend", overrides.backend


class RedisSettings(_Model):
    """Where the Redis server of rapid analysis is; read with a configuration of version 4 only."""

    host: str = ""
    """``REDIS_HOST``."""

    port: str = "6379"
    """``REDIS_PORT``."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Parameters
        ----------
        environment
            The variables; None: those of this process.
        """
        variables = os.environ if environment is None else environment  # noqa: TID251 (read here only)
        return cls(host=variables.get("REDIS_HOST", ""), port=variables.get("REDIS_PORT") or "6379")


class CscSettings(_Model):
    """What the environment says to the CSC."""

    site: str
    """``LSST_SITE``; it becomes part of every run_id."""

    state_dir: Path
    """``OCPS_STATE_DIR``: an existing folder for the ledger, on a local or block volume that is kept."""

    config_root: Path | None = None
    """``DM_CONFIG_OCPS_DIR``: folder of the configurations of all versions."""

    redis: RedisSettings = RedisSettings()
    """Where rapid analysis is, for index 101 of a version 4 configuration."""

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
            purposes["DM_CONFIG_OCPS_DIR"] = "configuration folder, which holds OCPS/v5 (or v4)"
        missing = [f"{name} ({purpose})" for name, purpose in purposes.items() if not variables.get(name)]
        if missing:
            raise SettingsError(f"environment variables are not set: {', '.join(missing)}")
        root = variables.get("DM_CONFIG_OCPS_DIR")
        return cls(
            site=variables["LSST_SITE"],
            state_dir=Path(variables["OCPS_STATE_DIR"]),
            config_root=Path(root) if root else None,
            redis=RedisSettings.from_environment(variables),
        )


def parse_config(values: Mapping[str, Any], layers: Sequence[Layer] = ()) -> ConfigDocument:
    """Validate merged configuration files of version 5.

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
    return validate(ConfigDocument, values, layers)


def select_instance(document: ConfigDocument, index: int) -> ConfigDocument:
    """The configuration of one CSC: the document with what its instance says put over it.

    Parameters
    ----------
    document
        All files merged.
    index
        SAL index of the CSC.

    Returns
    -------
    ConfigDocument
        Has no instances; with an instance it has only the back ends that this CSC uses.

    Raises
    ------
    ConfigurationError
        If there are instances, but none for this index, or the two do not fit together.
    """
    if not document.instances:
        return document
    for number, instance in enumerate(document.instances):
        if instance.sal_index == index:
            try:
                return validate(ConfigDocument, _merge(document, instance))
            except ConfigurationError as error:
                place = f"instances.{number} (sal_index {instance.label})"
                raise ConfigurationError(f"{place}: {problem}" for problem in error.problems) from None
    known = ", ".join(instance.label for instance in document.instances)
    raise ConfigurationError([f"instances: has no entry for sal_index {index}; those there are: {known}"])


def _merge(document: ConfigDocument, instance: InstanceSettings) -> dict[str, Any]:
    values = document.model_dump(exclude_unset=True, exclude={"instances"})
    given = instance.model_dump(exclude_unset=True, exclude={"sal_index", "name"})
    # None takes a limit away; of the other keys it says nothing.
    changes = {
        key: value for key, value in given.items() if value is not None or key in LimitKeys.model_fields
    }
    if "backend" in changes:
        changes["default_backend"] = changes.pop("backend")
    payloads: dict[str, Any] = values.get("payloads", {})
    for name, overrides in changes.get("payloads", {}).items():
        before = payloads.get(name, {})
        environment = before.get("environment", {}) | overrides.get("environment", {})
        payloads[name] = put_over(before, overrides) | ({"environment": environment} if environment else {})
    merged = put_over(values, changes) | {"payloads": payloads}
    used = {merged["default_backend"], *(overrides.get("backend") for overrides in payloads.values())}
    merged["backends"] = {name: value for name, value in merged["backends"].items() if name in used}
    return merged
