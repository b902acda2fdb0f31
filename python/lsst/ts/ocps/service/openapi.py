"""What the OpenAPI document tells of queries and forms, which handlers read by themselves.

FastAPI would take them from signatures, but UWS ignores the case of names, and a parameter may stand in the
query or in the body.
"""

from typing import Any

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .dali import VOTABLE

__all__ = [
    "CONTENT",
    "CREATION",
    "DOCUMENT",
    "ERRORS",
    "FILTERS",
    "PAGE",
    "PARAMETERS",
    "PLAIN",
    "RUN",
    "VALUE",
    "WAITING",
    "form",
]

_PHASE: dict[str, Any] = {"type": "string", "enum": [phase.value for phase in ExecutionPhase]}
_TEXT: dict[str, Any] = {"type": "string"}
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def form(*, open_ended: bool = False, **fields: dict[str, Any]) -> dict[str, Any]:
    """A form in the body of a request.

    Parameters
    ----------
    open_ended
        Whether there may be further fields: those of the payload.
    fields
        The schema of each field.
    """
    extra: bool | dict[str, Any] = _TEXT if open_ended else False
    schema = {"type": "object", "properties": fields, "additionalProperties": extra}
    return {"requestBody": {"content": {kind: {"schema": schema} for kind in _FORMS}}}


def _query(**fields: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
            for name, (text, schema) in fields.items()
        ]
    }


FILTERS = _query(
    PHASE=("Jobs in any of these phases; without it all but ARCHIVED", {"type": "array", "items": _PHASE}),
    AFTER=("Jobs created later than this (UTC)", {"type": "string", "format": "date-time"}),
    LAST=("The newest so many, newest first", {"type": "integer", "minimum": 1}),
)
"""The query of a job list."""

WAITING = _query(
    WAIT=(
        "Longest time to wait for a change of phase (s); -1: as long as possible",
        {"type": "integer", "minimum": -1},
    ),
    PHASE=("Wait only while the job is in this phase", _PHASE),
)
"""The query of a job."""

RUN = form(
    open_ended=True,
    RUNID={"type": "string", "maxLength": 64},
    DESTRUCTION={"type": "string", "format": "date-time"},
    EXECUTIONDURATION={"type": "integer", "minimum": 0},
    RESPONSEFORMAT=_TEXT,
)
"""The form of a synchronous request."""

CREATION = form(
    open_ended=True,
    PHASE={"type": "string", "enum": ["RUN"]},
    RUNID={"type": "string", "maxLength": 64},
    DESTRUCTION={"type": "string", "format": "date-time"},
    EXECUTIONDURATION={"type": "integer", "minimum": 0},
)
"""The form that creates a job."""

PARAMETERS = form(open_ended=True)
"""The form that changes parameters."""

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "An error document (DALI 1.1)",
        "content": {"text/plain": {"schema": _TEXT}, VOTABLE: {"schema": _TEXT}},
    }
}
"""What any request may be answered by."""


def _answer(kind: str, text: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": text, "content": {kind: {"schema": _TEXT}}}}


DOCUMENT = _answer("application/xml", "A document")
PLAIN = _answer("text/plain", "A value")
PAGE = _answer("text/html", "A page")
CONTENT = _answer("*/*", "The content, of the media type that the list of results tells")
"""What is answered when all is well."""

VALUE = {"requestBody": {"content": {"text/plain": {"schema": _TEXT}}}}
"""The body that sets one parameter."""
