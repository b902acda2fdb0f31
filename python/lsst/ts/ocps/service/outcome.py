"""How a job ended, and how that is kept."""

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

from lsst.ts.ocps.uws.jobs import ErrorSummary

from .schema import StoredResult

__all__ = ["Outcome", "outcome_columns"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a job that has ended."""

    end_time: datetime
    exit_code: int | None = None
    files: tuple[StoredResult, ...] = ()
    error: ErrorSummary | None = None


def outcome_columns(outcome: Outcome) -> dict[str, Any]:
    """The columns of a job that has ended."""
    error = outcome.error
    return {
        "end_time": outcome.end_time,
        "exit_code": outcome.exit_code,
        "results": [astuple(file) for file in outcome.files],
        "stored_bytes": sum(file.size for file in outcome.files),
        "error_message": error.message if error else None,
        "error_is_transient": error.is_transient if error else False,
        "error_has_detail": error.has_detail if error else False,
    }
