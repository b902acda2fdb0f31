"""The state of a CSC: read it, change it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lsst.ts.ocps import salobj
from lsst.ts.ocps.aio.deadline import Deadline

from .errors import NoCscError, StateChangeError

__all__ = ["STATE_EVENTS", "CscReport", "change_state", "read_state"]

STATE_EVENTS = (
    "summaryState",
    "errorCode",
    "heartbeat",
    "softwareVersions",
    "simulationMode",
    "backend_status",
    "payloads",
)
"""The events that a Remote must include for this module."""

_HEARTBEAT_TIMEOUT = 3.0
"""A CSC that runs tells so every second; so long without is not running (s)."""

_TRANSITION_TIMEOUT = 60.0
_EVENT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class CscReport:
    """What a CSC tells of itself."""

    state: str
    """Summary state, the last that was told."""

    is_alive: bool
    """Whether it sends heartbeats."""

    error_code: int
    error_report: str
    version: str
    simulation_mode: int
    payloads: tuple[str, ...]
    """Names of the payloads that can be run."""

    backends: str
    """JSON of ``backend_status``, or ""."""


def _last(remote: salobj.Remote, name: str) -> Any:
    topic = getattr(remote, f"evt_{name}", None)
    return None if topic is None else topic.get()


async def read_state(remote: salobj.Remote) -> CscReport:
    """Read what a CSC tells of itself.

    Parameters
    ----------
    remote
        A started Remote that includes `STATE_EVENTS`.

    Raises
    ------
    NoCscError
        If no state was ever told.
    """
    summary = _last(remote, "summaryState")
    if summary is None:
        raise NoCscError(remote.salinfo.index, "summaryState")
    try:
        await remote.evt_heartbeat.next(flush=True, timeout=_HEARTBEAT_TIMEOUT)
        is_alive = True
    except TimeoutError:
        is_alive = False
    # Read again: it may have changed in the meantime.
    summary = _last(remote, "summaryState")
    error = _last(remote, "errorCode")
    versions = _last(remote, "softwareVersions")
    simulation = _last(remote, "simulationMode")
    payloads = _last(remote, "payloads")
    backends = _last(remote, "backend_status")
    return CscReport(
        state=salobj.State(summary.summaryState).name,
        is_alive=is_alive,
        error_code=error.errorCode if error else 0,
        error_report=error.errorReport if error else "",
        version=versions.cscVersion if versions else "",
        simulation_mode=simulation.mode if simulation else 0,
        payloads=tuple(filter(None, payloads.names.split(","))) if payloads else (),
        backends=backends.backends if backends else "",
    )


async def _wait_until_told(remote: salobj.Remote, state: salobj.State) -> None:
    """Wait for the event: it is sent before the acknowledgement, but may be read after it."""
    event = remote.evt_summaryState
    async with Deadline(f"summaryState {state.name}", _EVENT_TIMEOUT).enforce():
        while event.get().summaryState != state:
            await event.next(flush=False)


async def change_state(
    remote: salobj.Remote, goal: salobj.State, *, override: str = "", on_state: Callable[[str], None]
) -> None:
    """Bring a CSC into a state.

    Parameters
    ----------
    remote
        A started Remote that includes ``summaryState``.
    goal
        The wanted state.
    override
        Configuration override for the ``start`` command, or "".
    on_state
        Told each state on the way, the present one first.

    Raises
    ------
    NoCscError
        If no state was ever told.
    StateChangeError
        If a transition fails; says which and what the CSC answered.
    """
    summary = _last(remote, "summaryState")
    if summary is None:
        raise NoCscError(remote.salinfo.index, "summaryState")
    try:
        states = salobj.get_expected_summary_states(salobj.State(summary.summaryState), salobj.State(goal))
        on_state(states[0].name)
        for state in states[1:]:
            await salobj.set_summary_state(remote, state, override=override, timeout=_TRANSITION_TIMEOUT)
            await _wait_until_told(remote, state)
            on_state(state.name)
    except (RuntimeError, ValueError) as error:
        raise StateChangeError(str(error)) from error
