"""One clear line and an exit status for every error that is understood.

Exit statuses: 0 done, 1 failed, 2 wrong use or rejected, 3 aborted, 4 no answer, 128 + n ended by signal n.
"""

import errno
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

__all__ = ["ExitStatus", "Explanation", "UsageError", "explain"]


class ExitStatus(IntEnum):
    """Exit statuses of the command line."""

    DONE = 0
    """What was asked for is done; a run has completed."""

    FAILED = 1
    """It failed; a run ended in an error."""

    REJECTED = 2
    """Wrong use, wrong settings, or a command that the CSC rejected."""

    ABORTED = 3
    """A run was aborted."""

    NO_ANSWER = 4
    """The broker, the registry, the service or the CSC did not answer."""


class Explanation(NamedTuple):
    """What to tell the user."""

    message: str
    status: int


class UsageError(ValueError):
    """Arguments that make no sense together; the message says why."""


_SANDBOX_HINT = 'in another terminal of a sandbox: eval "$(ocps sandbox env)"'


def _with_hint(error: Exception) -> str:
    return f"{error} ({_SANDBOX_HINT})"


_TABLE: tuple[tuple[str, str, ExitStatus, Callable[[Exception], str]], ...] = (
    # The first that fits, so errors stand before those they are derived from.
    ("lsst.ts.ocps.cli.errors", "UsageError", ExitStatus.REJECTED, str),
    ("lsst.ts.ocps.sandbox.errors", "SandboxError", ExitStatus.FAILED, str),
    ("lsst.ts.ocps.observer.errors", "NoAnswerError", ExitStatus.NO_ANSWER, str),
    ("lsst.ts.ocps.observer.errors", "NoCscError", ExitStatus.NO_ANSWER, str),
    ("lsst.ts.ocps.observer.errors", "ObserverError", ExitStatus.FAILED, str),
    ("lsst.ts.ocps.sal.errors", "SettingsError", ExitStatus.REJECTED, _with_hint),
    ("lsst.ts.ocps.sal.errors", "SalError", ExitStatus.NO_ANSWER, str),
    ("lsst.ts.ocps.client.errors", "BackendUnavailableError", ExitStatus.NO_ANSWER, str),
    ("lsst.ts.ocps.client.errors", "BackendError", ExitStatus.FAILED, str),
    ("lsst.ts.ocps.payloads.errors", "CatalogueError", ExitStatus.REJECTED, str),
    ("lsst.ts.ocps.service.errors", "ServiceError", ExitStatus.FAILED, str),
    ("lsst.ts.ocps.aio.deadline", "DeadlineExceededError", ExitStatus.NO_ANSWER, str),
)


def explain(error: Exception) -> Explanation | None:
    """Explain an error; None for one that nobody expected, which deserves its traceback.

    Parameters
    ----------
    error
        What stopped a command.
    """
    for module_name, class_name, status, describe in _TABLE:
        # An error of a module that was never imported cannot have been raised.
        module = sys.modules.get(module_name)
        if module is not None and isinstance(error, getattr(module, class_name)):
            # A process that a signal has ended says so in its status, as shells expect.
            number = getattr(error, "signal_number", None)
            return Explanation(describe(error), status if number is None else 128 + number)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Explanation(f"{error.strerror or error}: choose another port", ExitStatus.FAILED)
    return None
