"""Configuration files of a CSC: layers, validation, what a directory offers (sal-on-kafka section 13)."""

import asyncio
import os
import subprocess  # nosec B404 # see where it is used
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import yaml

from .errors import ExpectedError

__all__ = [
    "ConfigDirectory",
    "Offer",
    "Validator",
    "find_config_dir",
    "get_schema_version",
    "get_site",
    "hierarchical_update",
    "read_config_files",
    "split_override",
]

GIT_TIMEOUT = 10.0
"""Longest time for a git command (s)."""

DESCRIBE_INTERVAL = 60.0
"""Git is asked at least so often (s): a change elsewhere in the work tree makes the version dirty."""


class Validator(Protocol):
    """Checks a configuration, such as ``jsonschema.Draft7Validator``."""

    def validate(self, instance: Any) -> Any:
        """Raise an exception if the configuration is wrong."""


# Where to look ------------------------------------------------------------------------------------------


def get_site() -> str:
    """Where this runs.

    Raises
    ------
    RuntimeError
        If ``LSST_SITE`` is not set.
    """
    site = os.environ.get("LSST_SITE")  # noqa: TID251 (needed before, and without, the settings of Kafka)
    if not site:
        raise RuntimeError("Environment variable $LSST_SITE not defined.")
    return site


def get_schema_version(config_schema: Mapping[str, Any] | None) -> str:
    """Version of a configuration schema: the last word of its title, such as ``v5``.

    Raises
    ------
    ValueError
        If there is no schema, or its title does not end so.
    """
    if config_schema is None:
        raise ValueError("Schema None invalid: there must be one")
    title = config_schema.get("title")
    version = title.rsplit(" ", 1)[-1] if isinstance(title, str) and " " in title else ""
    if not version.startswith("v"):
        raise ValueError(f"Schema {title!r} invalid: the title must end with ' v' and a version")
    return version


def find_config_dir(package: str, component_name: str, schema_version: str) -> Path:
    """The directory of a component's configuration files.

    Parameters
    ----------
    package
        Name of the configuration package; ``$<PACKAGE>_DIR`` names its directory.
    component_name
        Name of the component.
    schema_version
        Version of the configuration schema.

    Raises
    ------
    RuntimeError
        If the variable is not set, or there is no such directory.
    """
    variable = f"{package.upper()}_DIR"
    value = os.environ.get(variable)  # noqa: TID251 (only the subclass knows the name of the variable)
    if not value:
        raise RuntimeError(f"Environment variable ${variable} not defined.")
    if not Path(value).is_dir():
        raise RuntimeError(f"${variable}={value!r} is not a directory")
    path = Path(value) / component_name / schema_version
    if not path.is_dir():
        raise RuntimeError(
            f"{path} is not a directory, so ${variable} has no configuration for {component_name}"
        )
    return path.resolve()


# Reading ------------------------------------------------------------------------------------------------


def split_override(override: str) -> tuple[str, str]:
    """File name and git reference of a ``configurationOverride``.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.ExpectedError
        If the file name begins with an underscore, or leads to another directory.
    """
    filename, _, git_hash = override.partition(":")
    if filename.startswith("_"):
        raise ExpectedError(f"configurationOverride filename={filename!r} must not start with '_'")
    if "/" in filename or os.sep in filename:
        raise ExpectedError(f"configurationOverride filename={filename!r} must be a name in the directory")
    return filename, git_hash


def hierarchical_update(
    main: dict[str, Any],
    override: Mapping[str, Any],
    main_name: str,
    override_name: str,
    prefix: str = "",
) -> None:
    """Put one mapping over another: mappings inside are merged, anything else is replaced.

    Parameters
    ----------
    main
        Is changed.
    override
        What is put over it.
    main_name, override_name
        Where the two come from, for errors.
    prefix
        Keys that lead to the two, for errors.

    Raises
    ------
    ValueError
        If a mapping meets something else.
    """
    for key, value in override.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if key not in main:
            main[key] = value
            continue
        are_mappings = isinstance(main[key], dict), isinstance(value, dict)
        if are_mappings[0] != are_mappings[1]:
            names = (main_name, override_name) if are_mappings[0] else (override_name, main_name)
            raise ValueError(f"{path} is a mapping in {names[0]} but not in {names[1]}")
        if are_mappings[0]:
            hierarchical_update(main[key], value, main_name, override_name, prefix=path)
        else:
            main[key] = value


def read_config_files(
    validator: Validator, config_dir: Path, files_to_read: Sequence[str], git_hash: str = ""
) -> SimpleNamespace:
    """Read files one over the other and validate the result. Blocking.

    Parameters
    ----------
    validator
        Checks the result; defaults of its schema are not filled in.
    config_dir
        Where the files are.
    files_to_read
        Their names, in order; empty names are skipped.
    git_hash
        Take the files from this commit; "": as they are.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.ExpectedError
        If a file is missing or no YAML, or the result is not valid.
    ValueError
        If a file holds no mapping, or two files contradict each other.
    """
    merged: dict[str, Any] = {}
    merged_name = ""
    for name in filter(None, files_to_read):
        data = _read_one(config_dir / name, git_hash)
        if data is None:
            continue
        if not isinstance(data, dict):
            raise ValueError(f"{name}={data!r} is not a dict")  # noqa: TRY004 (salobj-api section 6)
        hierarchical_update(merged, data, merged_name, name)
        merged_name = name
    merged.pop("metadata", None)
    try:
        validator.validate(merged)
    except Exception as error:
        raise ExpectedError(f"Configuration failed validation: {error!r}") from error
    return SimpleNamespace(**merged)


def _read_one(path: Path, git_hash: str) -> Any:
    if not path.is_file():
        raise ExpectedError(f"Config file {str(path)!r} does not exist")
    text = _read_from_git(path, git_hash) if git_hash else path.read_bytes()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ExpectedError(f"Could not parse data in {path} as a dict: {error}") from error


def _read_from_git(path: Path, git_hash: str) -> bytes:
    # The reference comes from a command: it must not be taken for an option.
    command = ["git", "show", "--end-of-options", f"{git_hash}:./{path.name}"]
    try:
        done = subprocess.run(  # nosec B603 # noqa: S603 (an argument list, and no shell)
            command, cwd=path.parent, capture_output=True, check=True, timeout=GIT_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        reason = repr(error.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = repr(error)
    else:
        return done.stdout
    raise ExpectedError(f"Could not read config file {path} with git hash {git_hash}: {reason}")


# What there is ------------------------------------------------------------------------------------------


class Offer(NamedTuple):
    """What a configuration directory offers."""

    overrides: tuple[str, ...]
    """Names of the override files, sorted."""

    version: str
    """What git says about the directory; "" if it is not in git."""


class ConfigDirectory:
    """Looks at a configuration directory again and again, asking git only when something has changed.

    Parameters
    ----------
    path
        The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: object = None
        self._version = ""

    async def read(self) -> Offer:
        """Look now.

        Raises
        ------
        OSError
            If the directory cannot be read.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Offer:
        entries = sorted(self.path.iterdir())
        names = tuple(
            path.name for path in entries if path.suffix == ".yaml" and not path.name.startswith("_")
        )
        signature = self._make_signature(entries)
        if signature != self._signature:
            self._version = self._describe()
            self._signature = signature
        return Offer(names, self._version)

    def _make_signature(self, entries: Sequence[Path]) -> object:
        """Changes with whatever may change what git says, and at times anyway."""
        git_dir = _find_git_dir(self.path)
        watched = [*entries]
        if git_dir is not None:
            watched += [git_dir / name for name in ("HEAD", "index", "logs/HEAD", "packed-refs")]
        period = int(time.monotonic() / DESCRIBE_INTERVAL)
        return period, git_dir, tuple(_get_stamp(path) for path in watched)

    def _describe(self) -> str:
        command = ["git", "describe", "--all", "--long", "--always", "--dirty"]
        try:
            done = subprocess.run(  # nosec B603 # noqa: S603 (constant arguments)
                command, cwd=self.path, capture_output=True, check=True, timeout=GIT_TIMEOUT, text=True
            )
        except (OSError, subprocess.SubprocessError):
            # Not in git, or no git here: there is no version then.
            return ""
        return done.stdout.strip()


def _find_git_dir(path: Path) -> Path | None:
    for folder in (path, *path.parents):
        candidate = folder / ".git"
        if candidate.is_dir():
            return candidate
        if candidate.is_file():
            # A work tree of its own, or a submodule.
            return folder / candidate.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return None


def _get_stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size
