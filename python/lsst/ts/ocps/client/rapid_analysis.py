"""Rapid analysis: key-value pairs are pushed to lists of a Redis server, and that is all that is known."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, Protocol

from typing_extensions import override

from lsst.ts.ocps.uws.jobs import Job, JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .base import Backend, BackendInfo, CreatedJob, Submission
from .errors import BackendUnavailableError, RequestRefusedError

__all__ = ["Lists", "RapidAnalysisBackend", "parse_values"]

_PARAMETER = "config"


class Lists(Protocol):
    """Lists of values by key; every call ends within a bounded time."""

    async def push(self, values: Sequence[tuple[str, str]]) -> None:
        """Push each value to the left of the list of its key: all of them, or none.

        Raises
        ------
        BackendError
            If they were not pushed, or it is not known whether they were; the text says which.
        """
        ...

    async def version(self) -> str:
        """Ask for the version of the server; "" if it does not tell.

        Raises
        ------
        BackendError
            If there is no server.
        """
        ...


def parse_values(text: str) -> list[tuple[str, str]]:
    """Read what is to be pushed: a JSON object of texts (numbers are taken as their text, as deployed).

    Parameters
    ----------
    text
        The field ``config`` of the command.

    Raises
    ------
    ValueError
        If it is anything else; names each key that is wrong.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_PARAMETER}: is not JSON: {error}") from None
    if not isinstance(pairs, _Pairs):
        raise ValueError(f"{_PARAMETER}: is not a JSON object of keys and texts")  # noqa: TRY004 (one kind of error)
    if not pairs:
        raise ValueError(f"{_PARAMETER}: holds nothing to push")
    keys = [key for key, _ in pairs]
    problems = [f"{key!r} is there twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    problems += [f"the value of {key!r} is no text" for key, value in pairs if not _is_text(value)]
    problems += ["a key is empty" for key in keys if not key]
    if problems:
        raise ValueError(f"{_PARAMETER}: {'; '.join(problems)}")
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in pairs]


class _Pairs(list[tuple[str, Any]]):
    """An object as JSON has it: a key may be there twice."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


class RapidAnalysisBackend(Backend):
    """Lists of a Redis server; whoever waits at their other end does the work.

    Parameters
    ----------
    name
        Name of the back end in the configuration.
    lists
        The lists.
    """

    kind: ClassVar[str] = "rapid_analysis"
    creates_pending: ClassVar[bool] = False
    has_jobs: ClassVar[bool] = False

    def __init__(self, name: str, lists: Lists) -> None:
        super().__init__(name)
        self._lists = lists
        self._closed = False

    @override
    def check(self, submission: Submission) -> None:
        _ = self._values(submission)

    @override
    async def create(self, submission: Submission) -> CreatedJob:
        """Push the values, all of them or none; the job that is returned has ended."""
        values = self._values(submission)
        self._check_open()
        await self._lists.push(values)
        job = Job(submission.run_id, ExecutionPhase.COMPLETED, run_id=submission.run_id)
        return CreatedJob(f"redis:{submission.run_id}", job)

    @override
    async def start(self, url: str) -> Job | None:
        self._refuse()

    @override
    async def read(self, url: str) -> Job:
        self._refuse()

    @override
    async def wait(self, url: str, *, phase: ExecutionPhase, seconds: float) -> Job:
        self._refuse()

    @override
    async def abort(self, url: str) -> None:
        self._refuse()

    @override
    async def delete(self, url: str) -> None:
        self._refuse()

    @override
    async def list_jobs(self, payload: str, *, last: int | None = None) -> Sequence[JobRef]:
        self._refuse()

    @override
    async def fetch(self, job_url: str, result_id: str, url: str | None, *, max_bytes: int) -> bytes:
        self._refuse()

    @override
    async def probe(self) -> BackendInfo:
        self._check_open()
        return BackendInfo(version=await self._lists.version())

    @override
    async def aclose(self) -> None:
        """Take no more calls; those under way end within their own time."""
        self._closed = True

    def _values(self, submission: Submission) -> list[tuple[str, str]]:
        text = dict(submission.parameters).get(_PARAMETER, "")
        try:
            return parse_values(text)
        except ValueError as error:
            raise RequestRefusedError(self.name, str(error)) from None

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError(self.name, "the back end is closed", was_sent=False)

    def _refuse(self) -> NoReturn:
        raise RequestRefusedError(
            self.name, "has no jobs: what was pushed, or was about to be, cannot be looked up"
        )
