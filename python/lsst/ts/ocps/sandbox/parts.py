"""The processes of a sandbox: what is run, with which environment, and when it is ready."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from lsst.ts.ocps.aio.deadline import Deadline

from . import noida
from .environment import PART_VARIABLE, child_environment, sandbox_variables
from .errors import InstallationError
from .layout import SandboxLayout
from .ports import LOOPBACK
from .processes import ProcessSpec

__all__ = ["BROKER", "CSC", "CSC_INDEX", "REGISTRY", "SERVICE", "SERVING_PARTS", "PartPlan", "plan_parts"]

BROKER = "broker"
REGISTRY = "registry"
SERVICE = "service"
CSC = "csc"

SERVING_PARTS = (BROKER, REGISTRY, SERVICE)
"""The parts that have a port."""

CSC_INDEX = 1
"""SAL index of the CSC in a sandbox."""

READY_TIMEOUT = 60.0
"""Longest time that a part may take to become ready (s); a machine that is busy needs some."""

_POLL_INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One process to be started."""

    name: str
    spec: ProcessSpec
    port: int | None = None
    """Its TCP port on the loopback interface; None if it serves none."""


async def _wait_for_http(url: str) -> None:
    """Ask until the answer is a success; who calls sets the deadline."""
    # Loopback: never through a proxy.
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        while True:
            try:
                answer = await client.get(url)
            except httpx.TransportError:
                pass
            else:
                if answer.is_success:
                    return
            await asyncio.sleep(_POLL_INTERVAL)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"lsst.ts.ocps.{name}", *arguments)


def _broker_command(layout: SandboxLayout, port: int) -> tuple[str, ...]:
    try:
        return tuple(noida.make_arguments(port=port, data_directory=layout.broker_data))
    except FileNotFoundError as error:
        raise InstallationError(str(error)) from error


def plan_parts(
    layout: SandboxLayout,
    *,
    ports: Mapping[str, int],
    payload_directories: Sequence[Path],
    wait_for_csc: Callable[[], Awaitable[None]],
) -> tuple[dict[str, str], tuple[PartPlan, ...]]:
    """Plan all parts of a sandbox, in the order of their start.

    Parameters
    ----------
    layout
        The sandbox folder.
    ports
        Port of each of `SERVING_PARTS`.
    payload_directories
        Folders with payload definitions, absolute.
    wait_for_csc
        Returns when the CSC has told its first summary state.

    Returns
    -------
    tuple
        The variables by which programs find the sandbox, and the parts.

    Raises
    ------
    InstallationError
        If the broker is not installed.
    """
    urls = {name: f"http://{LOOPBACK}:{ports[name]}" for name in (REGISTRY, SERVICE)}
    broker_address = f"{LOOPBACK}:{ports[BROKER]}"
    variables = sandbox_variables(
        broker=broker_address,
        registry=urls[REGISTRY],
        service=urls[SERVICE],
        state=layout.csc_state,
        configuration=layout.configuration,
    )

    def plan(
        name: str, command: tuple[str, ...], wait_until_ready: Callable[[], Awaitable[None]]
    ) -> PartPlan:
        environment = child_environment(variables) | {PART_VARIABLE: f"{layout.folder}/{name}"}
        spec = ProcessSpec(
            name=name,
            command=command,
            environment=environment,
            log=layout.log(name),
            wait_until_ready=wait_until_ready,
            ready_timeout=READY_TIMEOUT,
        )
        return PartPlan(name=name, spec=spec, port=ports.get(name))

    host = ("--host", LOOPBACK)
    payloads = [item for folder in payload_directories for item in ("--payloads", str(folder))]
    service = ("service", *payloads, "--data", str(layout.service_data), "--on-stop", "abort")
    # Jobs do not outlive a sandbox, and need not be asked politely for long.
    service = (*service, "--kill-grace", "2")
    return variables, (
        plan(
            BROKER,
            _broker_command(layout, ports[BROKER]),
            lambda: noida.wait_until_ready(broker_address, Deadline("start of the broker", READY_TIMEOUT)),
        ),
        plan(
            REGISTRY,
            _module(
                "sandbox.schema_registry",
                *host,
                *("--port", str(ports[REGISTRY])),
                *("--data", str(layout.registry_file)),
            ),
            lambda: _wait_for_http(f"{urls[REGISTRY]}/subjects"),
        ),
        plan(
            SERVICE,
            _module("cli.main", *service, *host, *("--port", str(ports[SERVICE]))),
            lambda: _wait_for_http(f"{urls[SERVICE]}/availability"),
        ),
        plan(CSC, _module("csc.main", str(CSC_INDEX)), wait_for_csc),
    )
