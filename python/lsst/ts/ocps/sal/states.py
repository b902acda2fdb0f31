"""The state machine of a CSC, and driving a remote CSC through it (sal-on-kafka sections 11 and 14)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from .enums import State
from .errors import AckError, SalError

if TYPE_CHECKING:
    from .remote import Remote

__all__ = [
    "TRANSITIONS",
    "Transition",
    "get_expected_summary_states",
    "make_state_transition_dict",
    "set_summary_state",
]


class Transition(NamedTuple):
    """What a state command does."""

    allowed: tuple[State, ...]
    """States in which it is obeyed."""

    target: State
    """State that it leads to."""


TRANSITIONS: Mapping[str, Transition] = MappingProxyType(
    {
        "enterControl": Transition((State.OFFLINE,), State.STANDBY),
        "start": Transition((State.STANDBY,), State.DISABLED),
        "enable": Transition((State.DISABLED,), State.ENABLED),
        "disable": Transition((State.ENABLED,), State.DISABLED),
        "standby": Transition((State.DISABLED, State.FAULT), State.STANDBY),
        "exitControl": Transition((State.STANDBY,), State.OFFLINE),
    }
)
"""The state commands by name."""

_LADDER = (State.OFFLINE, State.STANDBY, State.DISABLED, State.ENABLED)
_UP = ("enterControl", "start", "enable")
_DOWN = ("exitControl", "standby", "disable")

Steps = list[tuple[str, State]]
"""Commands, each with the state after it."""


def _find_steps(begin: State, end: State) -> Steps:
    """Commands that lead from one state to another."""
    if begin is State.FAULT:
        return [("standby", State.STANDBY), *_find_steps(State.STANDBY, end)]
    first, last = _LADDER.index(begin), _LADDER.index(end)
    if first <= last:
        return [(_UP[n], _LADDER[n + 1]) for n in range(first, last)]
    return [(_DOWN[n], _LADDER[n]) for n in reversed(range(last, first))]


def make_state_transition_dict() -> dict[tuple[State, State], Steps]:
    """All paths between states: ``(from, to)`` to commands, each with the state after it.

    FAULT is no goal, so there are 20 of them.
    """
    return {(begin, end): _find_steps(begin, end) for begin in State for end in _LADDER}


def get_expected_summary_states(initial_state: State, final_state: State) -> list[State]:
    """States passed on the way, both ends included.

    Parameters
    ----------
    initial_state, final_state
        Where the way begins and ends.

    Raises
    ------
    KeyError
        If the goal is FAULT, or a state is none.
    """
    steps = make_state_transition_dict()[initial_state, final_state]
    return [initial_state, *(state for _, state in steps)]


async def set_summary_state(
    remote: "Remote",
    state: State,
    override: str | None = "",
    timeout: float = 30,  # noqa: ASYNC109 (of each command)
) -> list[State]:
    """Bring a CSC into a state, command by command.

    Parameters
    ----------
    remote
        A Remote of the CSC; it must have the event summaryState, without a callback.
    state
        The goal; not FAULT.
    override
        ``configurationOverride`` of the ``start`` command, if that is needed; None: "".
    timeout
        Longest wait for the current state, and for each command (s).

    Returns
    -------
    list [ State ]
        The current state and those passed since.

    Raises
    ------
    ValueError
        If the goal is FAULT or no state.
    RuntimeError
        If the current state is not known in time, or a command fails; chained from the cause.
    AttributeError
        If the Remote lacks a command that is needed.
    """
    goal = State(state)
    if goal is State.FAULT:
        raise ValueError(f"state={goal!r} is no goal")
    try:
        current = await remote.evt_summaryState.aget(timeout=timeout)
    except TimeoutError as error:
        raise RuntimeError(f"Cannot get summaryState from {remote.salinfo.name}") from error
    try:
        initial = State(current.summaryState)
    except ValueError as error:
        raise RuntimeError(f"{remote.salinfo.name} is in no known summaryState: {error}") from error
    passed = [initial]
    for name, next_state in _find_steps(initial, goal):
        await _send_state_command(remote, name, override or "", timeout, initial)
        passed.append(next_state)
    return passed


async def _send_state_command(
    remote: "Remote",
    name: str,
    override: str,
    timeout: float,  # noqa: ASYNC109 (passed on)
    initial: State,
) -> None:
    command = getattr(remote, f"cmd_{name}")
    old_override = None
    if name == "start":
        old_override = command.data.configurationOverride
        command.data.configurationOverride = override
    try:
        await command.start(timeout=timeout)
    except (AckError, SalError, RuntimeError) as error:
        raise RuntimeError(f"Error on cmd=cmd_{name}, initial_state={int(initial)}: {error}") from error
    finally:
        if old_override is not None:
            command.data.configurationOverride = old_override
