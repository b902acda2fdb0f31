"""Jobs in the JSON dialect of ``lsst-dm/uws-api-server``: requests read, objects written. No I/O."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml

from lsst.ts.ocps.payloads.kinds import Kind
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .controls import CONTROLS
from .errors import UsageError
from .forms import Form
from .schema import StoredJob

__all__ = ["read_creation", "read_phase", "to_environment", "to_object", "to_pairs", "to_phase", "to_results"]

_P = ExecutionPhase
_RUN_ID = re.compile(r"[a-zA-Z0-9][-._a-zA-Z0-9]{0,62}")
_QUOTABLE = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_PHASES = {
    # "queued" of this dialect has a start time already: what waits here is what it calls pending.
    "pending": frozenset({_P.PENDING, _P.QUEUED}),
    "queued": frozenset[ExecutionPhase](),
    **{
        phase.lower(): frozenset({phase}) for phase in _P if phase not in {_P.PENDING, _P.QUEUED, _P.ARCHIVED}
    },
}


def read_phase(text: str) -> frozenset[ExecutionPhase] | None:
    """The phases that a filter asks for; None: all that are shown.

    Raises
    ------
    UsageError
        If the dialect has no such phase.
    """
    if not text:
        return None
    if text not in _PHASES:
        raise UsageError(f"Valid job categories are: {list(_PHASES)}")
    return _PHASES[text]


def read_creation(body: bytes) -> tuple[str, Form]:
    """Read the body of a creating request: the payload, and the form that creates the same job.

    ``command`` names the payload: this service runs what it is configured with and no commands of strangers.

    Raises
    ------
    UsageError
        If anything in it is wrong.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError("the body is no JSON object")
    command = content.get("command")
    if not isinstance(command, str) or not command:
        raise UsageError("command: is missing; it is the name of a payload")
    if content.get("url") or content.get("commit_ref"):
        raise UsageError("url, commit_ref: this service fetches no sources; its payloads are configured")
    if content.get("replicas", 1) != 1:
        raise UsageError("replicas: this service runs one command for each job")
    pairs = list(_environment(content.get("environment")))
    for name, _ in pairs:
        if name.upper() in CONTROLS:
            raise UsageError(f"environment: {name} is no parameter")
    run_id = content.get("run_id") or ""
    if run_id:
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            raise UsageError(
                "Invalid run_id: 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first one no sign"
            )
        pairs.append(("RUNID", run_id))
    return command, Form(tuple(pairs))


def _environment(variables: Any) -> Iterable[tuple[str, str]]:
    if variables is None:
        return
    if not isinstance(variables, list):
        raise UsageError("environment: is no list")
    for variable in variables:
        match variable:
            case {"name": str(name), "value": str(value)}:
                yield name, _unescape(name, value)
            case {"name": str(name), "value": int() | float() as value}:
                yield name, json.dumps(value)
            case _:
                raise UsageError('environment: its items are {"name": "...", "value": "..."}')


def _unescape(name: str, value: str) -> str:
    """Read a value as the servers of the dialect do: as what stands between double quotes in YAML."""
    if value.isprintable() and "\\" not in value and '"' not in value:
        return value
    # With a quote of its own it would be more than one text.
    if not _QUOTABLE.fullmatch(value):
        raise UsageError(f"{name}: has a double quote or a last backslash without a backslash before it")
    try:
        read = yaml.safe_load(f'"{value}"')
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: is no text of YAML between double quotes: {error}") from None
    return str(read)


def to_pairs(
    definition: PayloadDefinition, variables: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Turn variables into the pairs of a UWS request: a list, one JSON text here, is a repeated name there.

    Raises
    ------
    UsageError
        If a list is none.
    """
    kinds = {name.upper(): kind for name, kind in definition.kinds.items()}
    pairs: list[tuple[str, str]] = []
    for name, value in variables:
        kind = kinds.get(name.upper())
        if kind not in {Kind.TEXTS, Kind.JSONS}:
            pairs.append((name, value))
            continue
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            items = None
        if not isinstance(items, list):
            raise UsageError(f"{name}: is no list in JSON notation")
        is_text = kind is Kind.TEXTS
        texts = [item if is_text and isinstance(item, str) else json.dumps(item) for item in items]
        pairs += [(name, text) for text in texts or [""]]
    return tuple(pairs)


def to_environment(
    definition: PayloadDefinition | None, pairs: Iterable[tuple[str, str]]
) -> list[dict[str, str]]:
    """Turn the pairs of a job into variables: the inverse of `to_pairs`."""
    texts: dict[str, list[str]] = {}
    for name, value in pairs:
        texts.setdefault(name, []).append(value)
    kinds: Mapping[str, Kind] = definition.kinds if definition else {}
    return [{"name": name, "value": _join(kinds.get(name), items)} for name, items in texts.items()]


def _join(kind: Kind | None, items: Sequence[str]) -> str:
    given = [] if list(items) == [""] else items
    match kind:
        case Kind.TEXTS:
            return json.dumps(given, ensure_ascii=False)
        case Kind.JSONS:
            return f"[{', '.join(given)}]"
        case _:
            return items[-1]


def to_phase(stored: StoredJob) -> str:
    """The phase in the words of the dialect."""
    return "pending" if stored.phase is _P.QUEUED else stored.phase.lower()


def to_results(stored: StoredJob) -> list[dict[str, Any]]:
    """The results; the path is one that the dialect would have, and nothing of this machine.

    Size (byte) and SHA-256 (hexadecimal, None if unknown) are more than the dialect has.
    """
    return [
        {
            "id": number,
            "uri": f"/jobs/{stored.job_id}/out/{file.path}",
            "size": file.size,
            "sha256": file.sha256,
        }
        for number, file in enumerate(stored.files)
    ]


def to_object(stored: StoredJob, definition: PayloadDefinition | None) -> dict[str, Any]:
    """A job object."""
    job = stored.job
    ran = (job.end_time - job.start_time).total_seconds() if job.start_time and job.end_time else None
    return {
        "jobId": job.job_id,
        "runId": job.run_id or job.job_id,
        "ownerId": job.owner_id or "",
        "phase": to_phase(stored),
        "creationTime": _time(job.creation_time),
        "startTime": _time(job.start_time),
        "endTime": _time(job.end_time),
        "executionDuration": ran,
        "destruction": _time(job.destruction),
        "parameters": {"command": [stored.payload], "environment": to_environment(definition, stored.pairs)},
        "results": to_results(stored),
        "errorSummary": {"message": job.error.message if job.error else ""},
        "jobInfo": {},
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else str(time.replace(microsecond=0))
