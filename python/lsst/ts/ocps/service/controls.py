"""The parameters that control jobs, lists and waiting (UWS 1.1 sections 2.2.2 and 2.2.3)."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.times import format_time, parse_time

from .dali import is_declared, read_format
from .errors import UsageError
from .forms import Form
from .listing import JobFilter
from .schema import now

__all__ = [
    "CONTROLS",
    "JobControls",
    "Waiting",
    "read_action",
    "read_controls",
    "read_destruction",
    "read_execution_duration",
    "read_filter",
    "read_phase_request",
    "read_waiting",
    "shift",
]

CONTROLS = frozenset({"PHASE", "RUNID", "DESTRUCTION", "EXECUTIONDURATION", "ACTION", "WAIT"})
"""Names in a creating request that are not parameters of the payload."""

_MAX_RUN_ID = 64
"""DALI 1.1 section 3.4.7."""

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,30}\s*")
_MAX_LAST = 2**31 - 1
_MAX_DURATION = 2**31 - 1
"""Largest ``xs:int``."""


@dataclass(frozen=True, slots=True)
class JobControls:
    """What a creating request says beside the parameters of the payload."""

    run: bool
    run_id: str | None
    destruction: datetime
    execution_duration: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request to answer later."""

    seconds: float
    """Longest wait (s); 0: none."""

    phase: ExecutionPhase | None
    """Wait only while the job is in this phase; None: in any."""


def read_controls(
    form: Form, definition: PayloadDefinition, *, created: datetime, max_retention: timedelta
) -> JobControls:
    """Read the control parameters of a creating request.

    Parameters
    ----------
    form, definition, created
        The request, the payload, and when the job is created.
    max_retention
        How long it is kept at the latest.
    """
    for name in ("ACTION", "WAIT"):
        if form.get_all(name):
            raise UsageError(f"{name}: makes no sense when a job is created")
    if not is_declared(definition):
        # Results come in the formats that the payload makes; a synchronous request chooses one of them.
        read_format(form)
    return JobControls(
        run=form.get("PHASE") is not None and read_phase_request(form, ("RUN",)) == "RUN",
        run_id=_read_run_id(form),
        destruction=min(
            _optional_destruction(form) or shift(created, definition.destruction),
            shift(created, max_retention),
        ),
        execution_duration=(
            definition.execution_duration
            if form.get("EXECUTIONDURATION") is None
            else read_execution_duration(form, definition)
        ),
    )


def read_phase_request(form: Form, allowed: tuple[str, ...]) -> str:
    """Read what ``PHASE=`` asks for: one of ``allowed``."""
    text = _required(form, "PHASE")
    if text not in allowed:
        raise UsageError(f"PHASE: {text[:60]!r} cannot be asked for; possible: {', '.join(allowed)}")
    return text


def read_action(form: Form) -> None:
    """Check that the request is ``ACTION=DELETE``, the only one that a job takes itself."""
    if [name.upper() for name, _ in form.pairs] != ["ACTION"] or form.get("ACTION") != "DELETE":
        raise UsageError(
            "ACTION: a job takes ACTION=DELETE and nothing else; parameters go to its parameters"
        )


def read_execution_duration(form: Form, definition: PayloadDefinition) -> int:
    """Read the limit of the execution time (s), lowered to that of the payload; 0 = unlimited."""
    text = _required(form, "EXECUTIONDURATION")
    seconds = _integer("EXECUTIONDURATION", text)
    if not 0 <= seconds <= _MAX_DURATION:
        raise UsageError(f"EXECUTIONDURATION: {text[:60]!r} is not between 0 and {_MAX_DURATION}")
    bound = definition.execution_duration
    return min(seconds or bound, bound) if bound else seconds


def read_destruction(form: Form) -> datetime:
    """Read a time of destruction, which must be to come."""
    _required(form, "DESTRUCTION")
    time = _optional_destruction(form)
    if time is None:
        raise UsageError("DESTRUCTION: a time is wanted")
    return time


def read_filter(form: Form, payload: str | None) -> JobFilter:
    """Read which jobs of a list are wanted; unknown parameters are ignored, as for all GETs."""
    last = form.get("LAST")
    after = form.get("AFTER")
    if last is not None and not 0 < _integer("LAST", last) <= _MAX_LAST:
        raise UsageError(f"LAST: {last[:60]!r} is not an integer above 0")
    return JobFilter(
        payload=payload,
        phases=frozenset(_phase(text) for text in form.get_all("PHASE")),
        after=None if after is None else _time("AFTER", after),
        last=None if last is None else int(last),
    )


def read_waiting(form: Form, *, max_wait: float) -> Waiting:
    """Read how long to wait, at most ``max_wait`` (s); -1 asks for the longest possible time."""
    text = form.get("WAIT")
    phase = form.get("PHASE")
    seconds: float = 0 if text is None else _integer("WAIT", text)
    if seconds < -1:
        raise UsageError(f"WAIT: {seconds} is not a time; -1 stands for as long as possible")
    longest = max_wait if seconds == -1 else min(seconds, max_wait)
    return Waiting(longest, None if phase is None else _phase(phase))


def _read_run_id(form: Form) -> str | None:
    text = form.get("RUNID")
    if text is None or text == "":
        return None
    if len(text) > _MAX_RUN_ID or not text.isprintable():
        raise UsageError(f"RUNID: {text[:80]!r} is not 1 to {_MAX_RUN_ID} printable characters")
    return text


def _optional_destruction(form: Form) -> datetime | None:
    text = form.get("DESTRUCTION")
    if text is None or text == "":
        return None
    time = _time("DESTRUCTION", text)
    if time <= now():
        raise UsageError(f"DESTRUCTION: {format_time(time)} is past")
    return time


def _required(form: Form, name: str) -> str:
    text = form.get(name)
    if text is None:
        raise UsageError(f"{name}: is missing")
    return text.strip()


def _time(name: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def _phase(text: str) -> ExecutionPhase:
    try:
        return ExecutionPhase(text.strip())
    except ValueError:
        raise UsageError(
            f"PHASE: {text[:60]!r} is no phase; there are: {', '.join(ExecutionPhase)}"
        ) from None


def _integer(name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise UsageError(f"{name}: {text[:60]!r} is not an integer")
    return int(text)


def shift(time: datetime, by: timedelta) -> datetime:
    """A later time; the last there is if that would be beyond it."""
    try:
        return time + by
    except OverflowError:
        return datetime.max.replace(tzinfo=time.tzinfo)
