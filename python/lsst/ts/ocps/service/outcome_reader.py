"""What a command left when it ended: its results, with their digests, and why it failed."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import structlog

from lsst.ts.ocps.executors.base import ExecutionStatus, ExecutorState
from lsst.ts.ocps.payloads.schema import ResultSpec
from lsst.ts.ocps.uws.jobs import ErrorSummary

from .errors import NotFoundError
from .outcome import Outcome
from .results import JobFolder, last_line
from .schema import StoredJob, StoredResult, now

__all__ = ["OutcomeReader"]

_SMALL = 16 * 2**20
"""Results of so many bytes together are read at once; larger ones take turns with those of other jobs."""

_PIECE = 64 * 2**20
"""So much is read in one go (byte, 0.1 s): in between, a stop of the service is minded."""

_BLOCK = 2**20
_TURNS = 2
"""How many jobs have large results read at the same time: the disk is shared, and so are the threads."""

_log = structlog.stdlib.get_logger(__name__)


class OutcomeReader:
    """Reads what commands left. Digests are of what is there when the job ends, and are told with its end.

    Parameters
    ----------
    max_results
        How many files of a job are results.
    """

    def __init__(self, max_results: int) -> None:
        self._max_results = max_results
        self._turns = asyncio.Semaphore(_TURNS)

    async def read(
        self, stored: StoredJob, status: ExecutionStatus, folder: JobFolder, wanted: Sequence[ResultSpec]
    ) -> Outcome:
        """Read what a command left.

        Parameters
        ----------
        stored, status
            The job, and how its command ended.
        folder
            The folder of the job.
        wanted
            Which outputs are results; empty: all.
        """
        outcome, has_digests = await asyncio.to_thread(
            _collect, stored, status, folder, wanted, self._max_results
        )
        if has_digests:
            return outcome
        async with self._turns:
            files = [await _read_in_pieces(folder, file) for file in outcome.files]
        return replace(outcome, files=tuple(files))


async def _read_in_pieces(folder: JobFolder, result: StoredResult) -> StoredResult:
    pieces = _digest(folder, result)
    while (digested := await asyncio.to_thread(next, pieces)) is None:
        pass
    return digested


# What follows runs in threads.


def _collect(
    stored: StoredJob,
    status: ExecutionStatus,
    folder: JobFolder,
    wanted: Sequence[ResultSpec],
    max_results: int,
) -> tuple[Outcome, bool]:
    """What the command left, and whether there are digests already."""
    # First what the command said, for more may be said of its files.
    error = _error(stored, status, folder)
    files = folder.collect(wanted, most=max_results)
    is_small = sum(file.size for file in files) <= _SMALL
    if is_small:
        files = tuple(digested for file in files for digested in _digest(folder, file) if digested)
    return Outcome(status.end_time or now(), status.exit_code, files, error), is_small


def _digest(folder: JobFolder, result: StoredResult) -> Iterator[StoredResult | None]:
    """Read a result, with None after each piece, and at last the result with its digest."""
    digest = hashlib.sha256()
    left = result.size
    try:
        file, _ = folder.open_result(result)
        with file:
            while left:
                # Not more than was listed: something may go on writing.
                if not (block := file.read(min(left, _BLOCK))):
                    break
                digest.update(block)
                left -= len(block)
                if (result.size - left) % _PIECE == 0:
                    yield None
    except (NotFoundError, OSError) as error:
        _log.warning("a result cannot be read", result=result.path, error=str(error))
        yield result
        return
    yield replace(result, size=result.size - left, sha256=digest.hexdigest())


def _error(stored: StoredJob, status: ExecutionStatus, folder: JobFolder) -> ErrorSummary | None:
    """Why a command did not succeed, in the words of its own last line if it has any."""
    match status.state:
        case ExecutorState.SUCCEEDED:
            return None
        case ExecutorState.TIMED_OUT:
            # Aborted by the service, which nobody but the service can explain.
            limit = stored.job.execution_duration
            return ErrorSummary(f"stopped: it ran longer than its execution duration, {limit} s")
        case ExecutorState.CANCELLED:
            return ErrorSummary("stopped from outside of the service")
        case ExecutorState.EXCEEDED:
            return ErrorSummary(f"stopped: {status.message}")
        case _:
            tail = folder.read_stderr_tail()
    line = last_line(tail)
    if status.exit_code is None:
        message = status.message
    elif status.exit_code < 0:
        message = f"{status.message}; its last words: {line}" if line else status.message
    else:
        message = line or status.message
    return ErrorSummary(message, has_detail=bool(line))
