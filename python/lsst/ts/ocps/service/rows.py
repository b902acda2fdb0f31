"""How rows of jobs are read: one that cannot be read is told of, and keeps no other from being read."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import structlog
from sqlalchemy.engine import Row

from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, Parameter, Result
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .columns import UNREADABLE, Damaged
from .errors import UnreadableJobError
from .schema import StoredJob, StoredResult, StoredUpload, upload_parameter

__all__ = ["job_from_row", "jobs_from_rows", "note_unreadable", "readable"]

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


def job_from_row(row: Row[Any]) -> StoredJob:
    """Read a whole row of `jobs`; the files of an archived job are gone, whatever the row says of them.

    Raises
    ------
    UnreadableJobError
        If the row is damaged.
    """
    return _read(row, _job_from_row)


def readable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], T]) -> Iterator[T]:
    """Read many rows; those that are damaged are told of and left out.

    Parameters
    ----------
    rows
        The rows; ``job_id`` and ``owner_id`` are among their columns.
    read
        Reads one of them.
    """
    for row in rows:
        try:
            found = _read(row, read)
        except UnreadableJobError as error:
            note_unreadable(error)
        else:
            yield found


def jobs_from_rows(rows: Iterable[Row[Any]]) -> list[StoredJob]:
    """Read many whole rows of `jobs`; those that are damaged are told of and left out."""
    return list(readable(rows, _job_from_row))


def note_unreadable(error: UnreadableJobError) -> None:
    """Tell the log of a row that cannot be read; once, however often it is come across."""
    _tell(error.job_id, error.reason)


@lru_cache(maxsize=1024)
def _tell(job_id: str, reason: str) -> None:
    _log.error("a job is left alone: its row in the database cannot be read", job_id=job_id, reason=reason)


def _read(row: Row[Any], read: Callable[[Row[Any]], T]) -> T:
    try:
        for value in row:
            if isinstance(value, Damaged):
                raise TypeError(value.reason)
        return read(row)
    except UNREADABLE as error:
        raise UnreadableJobError(row.job_id, row.owner_id, f"{error}") from error


def _job_from_row(row: Row[Any]) -> StoredJob:
    is_archived = row.phase == ExecutionPhase.ARCHIVED.value
    files = () if is_archived else tuple(StoredResult(*entry) for entry in row.results)
    uploads = tuple(StoredUpload(*entry) for entry in row.uploads)
    error = None
    if row.error_message is not None:
        has_detail = row.error_has_detail and not is_archived
        error = ErrorSummary(row.error_message, row.error_is_transient, has_detail)
    job = Job(
        job_id=row.job_id,
        phase=ExecutionPhase(row.phase),
        run_id=row.run_id,
        owner_id=row.owner_id,
        creation_time=row.creation_time,
        start_time=row.start_time,
        end_time=row.end_time,
        execution_duration=row.execution_duration,
        destruction=row.destruction,
        parameters=(
            *(Parameter(name, value) for name, value in row.parameters),
            *(upload_parameter(upload) for upload in uploads),
        ),
        results=tuple(Result(file.result_id, None, file.size, file.mime_type, file.sha256) for file in files),
        error=error,
        version="1.1",
    )
    return StoredJob(
        job=job,
        payload=row.payload,
        executor=row.executor,
        outputs=row.outputs,
        native_id=row.native_id,
        handed_over=row.handed_over,
        destroyed=row.destroyed,
        instance=row.instance,
        exit_code=row.exit_code,
        files=files,
        uploads=uploads,
    )
