"""Execution phases of UWS jobs and the changes between them (UWS 1.1 section 2.1.3)."""

from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "ACTIVE",
    "FINAL",
    "TRANSITIONS",
    "UNDER_WAY",
    "WAITABLE",
    "ExecutionPhase",
    "may_change",
    "parse_phase",
]


class ExecutionPhase(StrEnum):
    """What a job is doing."""

    PENDING = "PENDING"
    """Being set up by the client; parameters may change."""

    QUEUED = "QUEUED"
    """Committed for execution, not yet running."""

    EXECUTING = "EXECUTING"
    """Running."""

    COMPLETED = "COMPLETED"
    """Ended well; the results may be fetched."""

    ERROR = "ERROR"
    """Ended badly; the results are absent or not to be trusted."""

    ABORTED = "ABORTED"
    """Stopped by the user or by the service."""

    UNKNOWN = "UNKNOWN"
    """The service cannot tell; the client can only ask again. Never an end."""

    HELD = "HELD"
    """Waits until the client asks for execution once more."""

    SUSPENDED = "SUSPENDED"
    """Paused by the service, which resumes it by itself."""

    ARCHIVED = "ARCHIVED"
    """Destroyed, with its metadata kept (new in UWS 1.1)."""


_P = ExecutionPhase

FINAL = frozenset({_P.COMPLETED, _P.ERROR, _P.ABORTED, _P.ARCHIVED})
"""Phases that a job does not leave by itself."""

ACTIVE = frozenset(ExecutionPhase) - FINAL
"""Phases of jobs that may still change, UNKNOWN, HELD and SUSPENDED among them."""

UNDER_WAY = (_P.QUEUED, _P.EXECUTING)
"""Phases of jobs that the service is to run, or runs; they go on by themselves."""

WAITABLE = frozenset({_P.PENDING, _P.QUEUED, _P.EXECUTING})
"""Phases in which a WAIT request blocks (UWS 1.1 section 2.2.1.1); in others it answers at once."""

TRANSITIONS = MappingProxyType(
    {
        _P.PENDING: frozenset({_P.QUEUED, _P.HELD, _P.EXECUTING, _P.ABORTED, _P.ERROR}),
        _P.QUEUED: frozenset({_P.EXECUTING, _P.HELD, _P.ABORTED, _P.ERROR}),
        _P.EXECUTING: frozenset({_P.COMPLETED, _P.ERROR, _P.ABORTED, _P.SUSPENDED, _P.HELD, _P.UNKNOWN}),
        _P.SUSPENDED: frozenset({_P.EXECUTING, _P.ABORTED, _P.ERROR, _P.UNKNOWN}),
        _P.HELD: frozenset({_P.QUEUED, _P.EXECUTING, _P.ABORTED, _P.ERROR}),
        _P.UNKNOWN: frozenset({_P.EXECUTING, _P.SUSPENDED, _P.COMPLETED, _P.ERROR, _P.ABORTED}),
        _P.COMPLETED: frozenset({_P.ARCHIVED}),
        _P.ERROR: frozenset({_P.ARCHIVED}),
        _P.ABORTED: frozenset({_P.ARCHIVED}),
        _P.ARCHIVED: frozenset[ExecutionPhase](),
    }
)
"""The changes that a service makes, by phase. What a client *sees* may skip steps."""


def may_change(old: ExecutionPhase, new: ExecutionPhase) -> bool:
    """Whether a service may move a job from ``old`` to ``new`` in one step."""
    return new in TRANSITIONS[old]


def parse_phase(text: str) -> ExecutionPhase:
    """Read a phase as servers write it: any case, blanks around; an unknown word is UNKNOWN.

    Parameters
    ----------
    text
        Content of a phase element or of the ``phase`` resource.
    """
    try:
        return ExecutionPhase(text.strip().upper())
    except ValueError:
        return ExecutionPhase.UNKNOWN
