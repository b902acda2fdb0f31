"""The environment variables of the sandbox: those of its processes and those printed for other programs."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "PART_VARIABLE",
    "apply_to_this_process",
    "child_environment",
    "sandbox_variables",
    "shell_exports",
    "this_environment",
]

PART_VARIABLE = "OCPS_SANDBOX_PART"
"""Marks every process of a sandbox and what it starts: its folder and the name of the part."""

_OURS = ("LSST_", "OCPS_", "DM_CONFIG_")
_LOCAL = "127.0.0.1,localhost"
_KEPT = ("OCPS_SAL_RUNTIME",)


def _without_site(environment: Mapping[str, str]) -> dict[str, str]:
    # Settings of a real site (broker, credentials, state folder) must not reach a sandbox.
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.upper().startswith(_OURS)
    }


def _around_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Make HTTP clients reach the loopback interface directly where a proxy is configured."""
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in environment):
        return {}
    present = environment.get("NO_PROXY") or environment.get("no_proxy")
    value = f"{present},{_LOCAL}" if present else _LOCAL
    return {"NO_PROXY": value, "no_proxy": value}


def this_environment() -> dict[str, str]:
    """The environment of this process, for another one that shall find the same."""
    return dict(os.environ)  # noqa: TID251 (the settings module of this package)


def child_environment(sandbox: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process of the sandbox.

    Parameters
    ----------
    sandbox
        The variables of the sandbox.
    """
    inherited = this_environment()
    return _without_site(inherited) | _around_proxy(inherited) | {"PYTHONUNBUFFERED": "1"} | dict(sandbox)


def apply_to_this_process(sandbox: Mapping[str, str]) -> None:
    """Make this process speak to the sandbox: the SAL runtime reads its settings from the environment.

    Parameters
    ----------
    sandbox
        The variables of the sandbox.
    """
    wanted = child_environment(sandbox)
    for name in set(os.environ) - set(wanted):  # noqa: TID251 (the settings module of this package)
        del os.environ[name]  # noqa: TID251 (the settings module of this package)
    os.environ.update(wanted)  # noqa: TID251 (the settings module of this package)


def shell_exports(sandbox: Mapping[str, str]) -> str:
    """Lines for ``eval`` in a POSIX shell.

    Parameters
    ----------
    sandbox
        The variables of the sandbox.
    """
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(sandbox.items()))


def sandbox_variables(
    *, broker: str, registry: str, service: str, state: Path, configuration: Path
) -> dict[str, str]:
    """The variables by which programs find a sandbox.

    Parameters
    ----------
    broker
        Address of the broker, host:port.
    registry, service
        Root URLs of the schema registry and of the UWS service.
    state
        Folder of the CSC's ledger.
    configuration
        Configuration folder, the one that holds ``OCPS/v5``.
    """
    return {
        "LSST_TOPIC_SUBNAME": "sandbox",
        "LSST_KAFKA_BROKER_ADDR": broker,
        "LSST_SCHEMA_REGISTRY_URL": registry,
        "LSST_SITE": "sandbox",
        "OCPS_SERVICE_URL": service,
        "OCPS_STATE_DIR": str(state),
        "DM_CONFIG_OCPS_DIR": str(configuration),
    }
