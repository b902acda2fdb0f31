"""What can go wrong in the service.

::

    ServiceError
    ├── ServiceStartError              the service cannot start; the message says what to change
    ├── StoreError                     the database fails; 503
    │   ├── StoreUnavailableError      it does not answer; it may at another time
    │   └── UnreadableJobError         what it holds of one job cannot be read; 500
    ├── FetchError                     what a job refers to cannot be read; the job ends in ERROR
    └── RequestError                   the answer to a request; status and DALI code word
        ├── UsageError                 400  the request makes no sense
        ├── AuthenticationError        401  nobody knows who asks
        ├── AuthorizationError         403  who asks may not
        ├── WrongPhaseError            403  illegal in the phase the job is in (UWS 1.1 section 2.2.3)
        ├── QuotaError                 403  the owner keeps too much; something has to be destroyed first
        ├── NotFoundError              404  no such payload, job or part of a job
        ├── RequestTooLargeError       413
        ├── UnsupportedMediaError      415
        ├── JobFailedError             422  the job of a synchronous request failed
        ├── TooManyError               429  too many requests or jobs; the same may succeed later
        └── UnavailableError           503  the same may succeed at another time

Errors are told as text, ``UsageError: what is wrong`` (DALI 1.1 section 4.2, words of SODA 1.0 section 5).
"""

import math
from collections.abc import Mapping
from typing import ClassVar

from typing_extensions import override

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "FetchError",
    "JobFailedError",
    "NotFoundError",
    "QuotaError",
    "RequestError",
    "RequestTooLargeError",
    "ServiceError",
    "ServiceStartError",
    "StoreError",
    "StoreUnavailableError",
    "TooManyError",
    "UnavailableError",
    "UnreadableJobError",
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


class UnreadableJobError(StoreError):
    """What the database holds of a job cannot be read; a change that was under way may have been made or not.

    Parameters
    ----------
    job_id, owner_id
        Which job, and whose.
    reason
        Why.
    """

    def __init__(self, job_id: str, owner_id: str | None, reason: str) -> None:
        super().__init__(f"job {job_id}: its row in the database cannot be read: {reason}")
        self.job_id = job_id
        self.owner_id = owner_id
        self.reason = reason


class FetchError(ServiceError):
    """What a job refers to by URL cannot be read; the message becomes that of the job.

    Parameters
    ----------
    message
        What, and why.
    is_transient
        Whether it may be possible at another time.
    """

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class RequestError(ServiceError):
    """A request that is answered by an error."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "UsageError"

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that go with the answer."""
        return {}

    def to_text(self) -> str:
        """The error document: the code word and the message."""
        return f"{self.code}: {self}"


class UsageError(RequestError):
    """The request makes no sense; the message names parameter, value and reason."""


class AuthenticationError(RequestError):
    """Nobody knows who asks: there are no credentials, or wrong ones.

    Parameters
    ----------
    message
        What is missing; never what was sent.
    was_wrong
        Whether there were credentials.
    """

    status = 401
    code = "AuthenticationError"

    def __init__(self, message: str, *, was_wrong: bool = False) -> None:
        super().__init__(message)
        self.was_wrong = was_wrong

    @property
    @override
    def headers(self) -> Mapping[str, str]:
        """What would do (RFC 6750 section 3)."""
        error = ', error="invalid_token"' if self.was_wrong else ""
        return {"WWW-Authenticate": f'Bearer realm="OCPS jobs"{error}'}


class AuthorizationError(RequestError):
    """Whoever asks may not, whatever the state of the job."""

    status = 403
    code = "AuthorizationError"


class WrongPhaseError(RequestError):
    """The request is illegal in the phase that the job is in."""

    status = 403


class QuotaError(RequestError):
    """The owner keeps as much as they may; the same succeeds only after something was destroyed."""

    status = 403
    code = "Error"


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


class TooManyError(RequestError):
    """The caller has, or does, too much at a time; the same may succeed later.

    Parameters
    ----------
    message
        Which limit is reached.
    retry_after
        When it is worth while to try again (s from now).
    """

    status = 429
    code = "ServiceUnavailable"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    @override
    def headers(self) -> Mapping[str, str]:
        """When to try again (RFC 6585 section 4)."""
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class UnavailableError(RequestError):
    """The request cannot be answered now; the same may succeed at another time."""

    status = 503
    code = "ServiceUnavailable"
