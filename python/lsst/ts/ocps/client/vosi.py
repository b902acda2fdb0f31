"""Ask a service whether it is there (VOSI 1.1)."""

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.uws.codec import is_html
from lsst.ts.ocps.uws.errors import UwsDocumentError
from lsst.ts.ocps.uws.vosi import parse_availability, parse_uws_version

from .answers import Answer, error_for_status
from .base import BackendInfo
from .errors import BackendFailedError, BackendUnavailableError, JobNotFoundError
from .transport import HttpTransport

__all__ = ["probe"]


async def probe(http: HttpTransport, root: str, deadline: Deadline, *, version: str | None) -> BackendInfo:
    """Read the availability, and the capabilities if the version is not known yet.

    Parameters
    ----------
    http, root
        The service.
    deadline
        Time for both readings.
    version
        What an earlier probe found; None to ask.

    Returns
    -------
    BackendInfo
        The UWS version that is claimed and the notes of the service. A service that has no such
        documents, as older ones do, is there if it answers at all.

    Raises
    ------
    BackendError
        If there is no answer, or it is a failure, or the service says that it is not available.
    """
    message = ""
    answer = await http.get(f"{root}/availability", deadline=deadline)
    if _is_there(http, answer):
        try:
            availability = parse_availability(answer.content)
        except UwsDocumentError as error:
            raise http.error(BackendFailedError, answer, str(error)) from error
        message = http.redact("; ".join(availability.notes))
        if not availability.is_available:
            text = f"the service says that it is not available: {message or 'no reason given'}"
            raise http.error(BackendUnavailableError, answer, text)
    if version is None:
        answer = await http.get(f"{root}/capabilities", deadline=deadline)
        version = _version(answer) if _is_there(http, answer) else ""
    return BackendInfo(version=version, message=message)


def _is_there(http: HttpTransport, answer: Answer) -> bool:
    kind = error_for_status(answer, reading=True)
    if kind is JobNotFoundError:
        return False
    if kind is not None:
        raise http.error(kind, answer)
    http.check_page(answer)
    # Applications for browsers answer every unknown path by their start page.
    return not is_html(answer.content)


def _version(answer: Answer) -> str:
    try:
        return parse_uws_version(answer.content)
    except UwsDocumentError:
        return ""  # a claim only; what the service really does is found out by using it
