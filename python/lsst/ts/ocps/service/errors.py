"""What can go wrong in the service.

::

    ServiceError
    ├── ServiceStartError              the service cannot start; the message says what to change
    ├── StoreError                     the database fails; 503
    │   └── StoreUnavailableError      it does not answer; it may at another time
    └── RequestError                   the answer to a request; status and DALI code word
        ├── UsageError                 400  the request makes no sense
        ├── WrongPhaseError            403  illegal in the phase the job is in (UWS 1.1 section 2.2.3)
        ├── NotFoundError              404  no such payload, job or part of a job
        ├── RequestTooLargeError       413
        ├── UnsupportedMediaError      415
        ├── JobFailedError             422  the job of a synchronous request failed
        └── UnavailableError           503  the same may succeed at another time

Errors are told as text, ``UsageError: what is wrong`` (DALI 1.1 section 4.2, words of SODA 1.0 section 5).
"""

from typing import ClassVar

__all__ = [
    "JobFailedError",
    "NotFoundError",
    "RequestError",
    "RequestTooLargeError",
    "ServiceError",
    "ServiceStartError",
    "StoreError",
    "StoreUnavailableError",
    "UnavailableError",
    "UnsupportedMediaError",
    "UsageError",
    "WrongPhaseError",
]


class ServiceError(Exception):
    """Something about the service is wrong; the message is meant for people."""


class ServiceStartError(ServiceError):
    """The service cannot start; the message says what to change."""


class StoreError(ServiceError):
    """The database fails."""


class StoreUnavailableError(StoreError):
    """The database does not answer; a change that was under way may have been made or not."""


class RequestError(ServiceError):
    """A request that is answered by an error."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "UsageError"

    def to_text(self) -> str:
        """The error document: the code word and the message."""
        return f"{self.code}: {self}"


class UsageError(RequestError):
    """The request makes no sense; the message names parameter, value and reason."""


class WrongPhaseError(RequestError):
    """The request is illegal in the phase that the job is in."""

    status = 403


class NotFoundError(RequestError):
    """There is no such payload, job or part of a job."""

    status = 404


class RequestTooLargeError(RequestError):
    """The request has more bytes than the service takes."""

    status = 413


class UnsupportedMediaError(RequestError):
    """The body of the request is in no form that the service reads."""

    status = 415


class JobFailedError(RequestError):
    """The job that a synchronous request made has failed: no failure of the service."""

    status = 422
    code = "Error"


class UnavailableError(RequestError):
    """The request cannot be answered now; the same may succeed at another time."""

    status = 503
    code = "ServiceUnavailable"
