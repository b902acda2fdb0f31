"""What DALI 1.1 says of formats: which one an answer is wanted in (sections 3.4.3 and 4.2). No I/O."""

import re

from lsst.ts.ocps.payloads.schema import PayloadDefinition

from .errors import UsageError
from .forms import Form

__all__ = ["RESPONSE_FORMAT", "VOTABLE", "base_type", "is_declared", "read_format", "wants_votable"]

RESPONSE_FORMAT = "RESPONSEFORMAT"
VOTABLE = "application/x-votable+xml"

_SHORT = {
    "votable": VOTABLE,
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "fits": "application/fits",
    "text": "text/plain",
    "html": "text/html",
    "json": "application/json",
}
"""Short names of media types: those of DALI, and the format of most values that payloads return."""

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_ZERO = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*", re.IGNORECASE)


def base_type(media_type: str) -> str:
    """A media type without its parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def is_declared(definition: PayloadDefinition) -> bool:
    """Whether the payload itself has a parameter RESPONSEFORMAT; then it knows what its values mean."""
    return any(name.upper() == RESPONSE_FORMAT for name in definition.properties)


def read_format(form: Form) -> str | None:
    """Read the media type that is asked for; None: any.

    Raises
    ------
    UsageError
        If it is repeated, or is neither a media type nor a short name of one.
    """
    text = form.get(RESPONSE_FORMAT)
    if text is None or not text.strip():
        return None
    found = _known(text)
    if found is None:
        names = ", ".join(_SHORT)
        raise UsageError(f"{RESPONSE_FORMAT}: {text[:60]!r} is no media type; short names are: {names}")
    return found


def wants_votable(accept: str, form: Form) -> bool:
    """Whether an error is to be told as a VOTable; else it is told as text.

    Parameters
    ----------
    accept
        The header ``Accept`` of the request.
    form
        The parameters of the request: RESPONSEFORMAT says more than the header.
    """
    asked = form.get_all(RESPONSE_FORMAT)
    if asked and asked[0].strip():
        return _known(asked[0]) == VOTABLE
    ranges = [part.partition(";") for part in accept.split(",")]
    taken = [base_type(name) for name, _, parameters in ranges if not _refuses(parameters)]
    return VOTABLE in taken and "text/plain" not in taken


def _known(text: str) -> str | None:
    name = base_type(text)
    return _SHORT.get(name) or (name if _MEDIA_TYPE.fullmatch(name) else None)


def _refuses(parameters: str) -> bool:
    return any(_ZERO.fullmatch(parameter) for parameter in parameters.split(";"))
