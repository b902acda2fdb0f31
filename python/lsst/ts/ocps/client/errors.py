"""What can go wrong between us and a back end.

::

    BackendError
    ├── BackendUnavailableError     (transient)  no connection, time-out, 502-504
    ├── BackendFailedError          (transient)  500, a broken answer, an HTML page instead of a document
    ├── BackendAuthenticationError               401, 403 at login, a redirect to a login page
    ├── RequestRefusedError                      the server says no (400, 403, 422, DALI error document)
    └── JobNotFoundError                         404, 410: no such job (any more)

Foreign exceptions (httpx, XML) stop here.
"""

from typing import ClassVar

__all__ = [
    "BackendAuthenticationError",
    "BackendError",
    "BackendFailedError",
    "BackendUnavailableError",
    "JobNotFoundError",
    "RequestRefusedError",
]


class BackendError(Exception):
    """A call to a back end failed.

    Parameters
    ----------
    backend
        Name of the back end in the configuration.
    message
        What happened, in words that an operator understands: what was asked, what was answered.
    status
        HTTP status, if there was an answer.
    was_sent
        Whether the request may have reached the back end; where creating a job starts it, only a request that
        certainly did not may be sent again.
    """

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later, unchanged."""

    def __init__(
        self, backend: str, message: str, *, status: int | None = None, was_sent: bool = True
    ) -> None:
        super().__init__(f"back end {backend}: {message}")
        self.backend = backend
        self.message = message
        self.status = status
        self.was_sent = was_sent


class BackendUnavailableError(BackendError):
    """No answer: the back end cannot be reached, or not in time."""

    transient = True


class BackendFailedError(BackendError):
    """An answer that makes no sense, or the server's own failure."""

    transient = True


class BackendAuthenticationError(BackendError):
    """The back end does not know us, or does not let us."""


class RequestRefusedError(BackendError):
    """The back end understood the request and refused it."""


class JobNotFoundError(BackendError):
    """The back end does not know this job, or not any more."""
