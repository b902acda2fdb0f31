"""The YAML files that the environment names: librdkafka properties, and history windows by component."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import SettingsError

__all__ = ["read_properties", "read_windows"]

_MAX_SIZE = 1_000_000
"""A larger file is something else (byte)."""


def read_properties(variable: str, path: Path | None) -> dict[str, str]:
    """The properties in a file, as texts, which is how librdkafka takes them; blocks.

    Parameters
    ----------
    variable
        The environment variable that names the file.
    path
        The file; None: no properties.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If the file is missing or not such a mapping; names variable, path and reason, and no value.
    """
    if path is None:
        return {}
    properties = {}
    for name, value in _read_mapping(variable, path).items():
        if isinstance(value, bool):
            properties[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            properties[name] = str(value)
        else:
            raise _wrong(variable, path, f"{name}: a text, a number, true or false is needed")
    return properties


def read_windows(variable: str, path: Path | None) -> dict[str, int]:
    """The history windows in a file (offsets) by component; blocks.

    Parameters
    ----------
    variable
        The environment variable that names the file.
    path
        The file; None or missing: no windows.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If the file cannot be read or is not such a mapping; names variable, path and reason.
    """
    if path is None or not path.exists():
        return {}
    windows = {}
    for name, value in _read_mapping(variable, path).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _wrong(variable, path, f"{name}: a whole number of at least 0 is needed")
        windows[name] = value
    return windows


def _read_mapping(variable: str, path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = yaml.safe_load(file.read(_MAX_SIZE))
    except OSError as error:
        raise _wrong(variable, path, error.strerror or str(error)) from error
    except yaml.YAMLError as error:
        # Neither the error nor its chain is told: it quotes the line, and that may hold a password.
        raise _wrong(variable, path, f"not YAML{_locate(error)}") from None
    except UnicodeDecodeError:
        raise _wrong(variable, path, "not a text") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _wrong(variable, path, f"a mapping is needed, not a {type(content).__name__}")
    for name in content:
        if not isinstance(name, str):
            raise _wrong(variable, path, f"a name is no text but a {type(name).__name__}")
    return content


def _locate(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def _wrong(variable: str, path: Path, reason: str) -> SettingsError:
    return SettingsError(f"environment variable {variable}={str(path)!r}: {reason}")
