"""From the fields of a command to a validated request, or to the list of everything that is wrong. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lsst.ts.ocps.payloads.catalogue import Catalogue
from lsst.ts.ocps.payloads.errors import ParameterError, UnknownPayloadError
from lsst.ts.ocps.payloads.kinds import lookup
from lsst.ts.ocps.payloads.parameters import encode, parse_json, redact, validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition

from .errors import RequestRejectedError

__all__ = [
    "JOB_ID",
    "MAX_LABEL_LENGTH",
    "RunRequest",
    "parse_execute",
    "parse_prerequisites",
    "parse_run",
]

MAX_LABEL_LENGTH = 200
"""A label is shown in tables and on pages; what is longer belongs into the parameters (characters)."""

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What may be passed on to a back end as a job id (baseline section 5): nothing that could be a path."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A command that may become a job."""

    command: Literal["run", "execute"]
    definition: PayloadDefinition
    parameters: dict[str, Any]
    """Validated, defaults filled in, secrets redacted."""

    pairs: tuple[tuple[str, str], ...]
    """The encoded parameters, for the back end; not for logs, events or the ledger."""

    label: str = ""
    prerequisites: tuple[str, ...] = ()
    detach: bool = False
    secret_names: frozenset[str] = frozenset()
    """Which parameters are secret."""


def parse_prerequisites(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of job ids: blanks and empty items are dropped, repeats too.

    Raises
    ------
    RequestRejectedError
        If an item cannot be a job id; it names each.
    """
    items = tuple(dict.fromkeys(filter(None, (item.strip() for item in text.split(",")))))
    wrong = [item for item in items if not JOB_ID.fullmatch(item)]
    if wrong:
        raise RequestRejectedError(
            f"prereq_jobs: {item[:60]!r} cannot be a job id, which has only letters, digits, '_' and '-'"
            for item in wrong
        )
    return items


def _check_label(label: str) -> None:
    if len(label) > MAX_LABEL_LENGTH:
        raise RequestRejectedError(
            [f"label: has {len(label)} characters, at most {MAX_LABEL_LENGTH} are allowed"]
        )
    if not label.isprintable():
        raise RequestRejectedError(["label: has characters that cannot be printed"])


class _Problems:
    """Collects what is wrong, so that the sender learns all of it at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, RequestRejectedError):
            self.found.extend(error.problems)
        elif isinstance(error, ParameterError):
            self.found.extend(map(str, error.problems))
        elif isinstance(error, UnknownPayloadError):
            self.found.append(str(error))
        else:
            return False
        return True


def parse_run(
    catalogue: Catalogue, *, payload: str, parameters: str, label: str, prereq_jobs: str, detach: bool
) -> RunRequest:
    """Check the ``run`` command.

    Parameters
    ----------
    catalogue
        The configured payloads.
    payload, parameters, label, prereq_jobs, detach
        The fields of the command.

    Raises
    ------
    RequestRejectedError
        If anything is wrong; it lists every problem.
    """
    problems = _Problems()
    definition: PayloadDefinition | None = None
    given: dict[str, Any] | None = None
    prerequisites: tuple[str, ...] = ()
    with problems:
        definition = catalogue.find(payload)
    with problems:
        given = parse_json(parameters)
    with problems:
        _check_label(label)
    with problems:
        prerequisites = parse_prerequisites(prereq_jobs)
    valid: dict[str, Any] = {}
    with problems:
        if definition is not None and given is not None:
            valid = validate(definition, given)
    if problems.found or definition is None:
        raise RequestRejectedError(problems.found)
    return _build("run", definition, valid, label, prerequisites, detach=detach)


def parse_execute(catalogue: Catalogue, *, payload: str, fields: Mapping[str, str]) -> RunRequest:
    """Check the deployed ``execute`` command, which runs one configured payload.

    Parameters
    ----------
    catalogue
        The configured payloads.
    payload
        The payload that the command runs (``execute_payload`` of the configuration); "": none.
    fields
        The public fields of the command. They become parameters. An empty one counts as not given where the
        payload does not declare it, or declares a default. ``prereq_jobs`` is handled here and reaches the
        payload only if declared.

    Raises
    ------
    RequestRejectedError
        If anything is wrong; it lists every problem.
    """
    if not payload:
        raise RequestRejectedError(["execute is not available: the configuration names no execute_payload"])
    problems = _Problems()
    definition: PayloadDefinition | None = None
    prerequisites: tuple[str, ...] = ()
    with problems:
        definition = catalogue.find(payload)
    with problems:
        prerequisites = parse_prerequisites(fields["prereq_jobs"])
    valid: dict[str, Any] = {}
    with problems:
        if definition is not None:
            valid = validate(definition, _execute_parameters(definition, fields))
    if problems.found or definition is None:
        raise RequestRejectedError(problems.found)
    return _build("execute", definition, valid, "", prerequisites, detach=False)


def _execute_parameters(definition: PayloadDefinition, fields: Mapping[str, str]) -> dict[str, Any]:
    declared = definition.properties
    return {
        name: value
        for name, value in fields.items()
        if (value and (name in declared or name != "prereq_jobs"))
        or (name in declared and lookup(declared[name], "default", definition.parameters) is None)
    }


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _build(
    command: Literal["run", "execute"],
    definition: PayloadDefinition,
    parameters: dict[str, Any],
    label: str,
    prerequisites: tuple[str, ...],
    *,
    detach: bool,
) -> RunRequest:
    pairs = encode(definition, parameters)
    unsendable = sorted({name for name, value in pairs if not _is_utf8(name) or not _is_utf8(value)})
    if unsendable:
        raise RequestRejectedError(
            f"parameters.{name}: has half of a surrogate pair, which is no text" for name in unsendable
        )
    shown = redact(definition, parameters)
    return RunRequest(
        command=command,
        definition=definition,
        parameters=shown,
        secret_names=frozenset(name for name in parameters if shown[name] != parameters[name]),
        pairs=pairs,
        label=label,
        prerequisites=prerequisites,
        detach=detach,
    )
