"""The results of a job that the CSC reads itself: ``result.json`` and ``metrics.json`` (design section 7)."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError
from lsst.ts.ocps.uws.jobs import Job, Result

from .deposit_plan import Deposit
from .logs import BoundLogger
from .texts import clip, dump_json

__all__ = ["METRICS_ID", "VALUE_ID", "Metric", "RunResults", "fetch_results", "parse_metrics", "parse_value"]

T = TypeVar("T")

VALUE_ID = "result.json"
"""Result id of the object that becomes ``value`` in ``job_result``."""

METRICS_ID = "metrics.json"
"""Result id of the list that becomes ``job_metric`` events."""

_MAX_VALUE_BYTES = 64 * 1024
_MAX_METRICS_BYTES = 256 * 1024
_MAX_METRICS = 500
_FETCH_BUDGET = 10.0
"""How long a result is tried to be read (s); the report waits for it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number of a run."""

    name: str
    value: float
    units: str = ""
    tags: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        return {"name": self.name, "value": self.value, "units": self.units, "tags": self.tags}

    @property
    def tags_text(self) -> str:
        """The tags as JSON text."""
        return clip(dump_json(self.tags))


@dataclass(frozen=True, slots=True)
class RunResults:
    """What was read of a job's results."""

    value: dict[str, Any] | None = None
    metrics: tuple[Metric, ...] = ()
    deposit: Deposit | None = None
    """Where all of them were deposited, or why not; None if they were not to be."""


def _reject_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def parse_value(data: bytes) -> dict[str, Any]:
    """Read ``result.json``.

    Raises
    ------
    ValueError
        If it is not a JSON object in UTF-8.
    """
    value = _parse(data)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 (one kind of error for all wrong contents)
    return value


def parse_metrics(data: bytes) -> tuple[Metric, ...]:
    """Read ``metrics.json``.

    Raises
    ------
    ValueError
        If it is not a list of objects with a name and a finite value; names the entry.
    """
    entries = _parse(data)
    if not isinstance(entries, list):
        raise ValueError("is not a JSON list")  # noqa: TRY004 (one kind of error for all wrong contents)
    if len(entries) > _MAX_METRICS:
        raise ValueError(f"has {len(entries)} entries, at most {_MAX_METRICS} are allowed")
    return tuple(_parse_metric(number, entry) for number, entry in enumerate(entries))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _parse_metric(number: int, entry: Any) -> Metric:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(f"entry {number} has no name")  # noqa: TRY004 (as above)
    value, units, tags = entry.get("value"), entry.get("units", ""), entry.get("tags", {})
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(f"entry {number} ({entry['name']}) has no finite value")
    if not isinstance(units, str) or not isinstance(tags, dict):
        raise ValueError(f"entry {number} ({entry['name']}) has wrong units or tags")  # noqa: TRY004 (as above)
    return Metric(entry["name"], float(value), units, tags)


async def fetch_results(
    open_backend: Callable[[], Awaitable[Backend]], job_url: str, job: Job, log: BoundLogger
) -> RunResults:
    """Read what the CSC reads of an ended job; what cannot be read is missing, with a warning in the log.

    Parameters
    ----------
    open_backend
        Gives the back end where the job is.
    job_url, job
        The job.
    log
        Logger of the run.
    """
    try:
        backend = await open_backend()
    except BackendError as error:
        log.warning("results are not read", error=str(error))
        return RunResults()
    listed = {result.result_id: result for result in job.results}
    value, metrics = await asyncio.gather(
        _fetch(backend, job_url, listed.get(VALUE_ID), _MAX_VALUE_BYTES, log),
        _fetch(backend, job_url, listed.get(METRICS_ID), _MAX_METRICS_BYTES, log),
    )
    return RunResults(
        value=_parse_or_warn(parse_value, value, VALUE_ID, log),
        metrics=_parse_or_warn(parse_metrics, metrics, METRICS_ID, log) or (),
    )


async def _fetch(
    backend: Backend, job_url: str, result: Result | None, max_bytes: int, log: BoundLogger
) -> bytes | None:
    if result is None:
        return None

    async def call() -> bytes:
        return await backend.fetch(job_url, result.result_id, result.url, max_bytes=max_bytes)

    try:
        return await retry(
            call,
            deadline=Deadline(f"read {result.result_id}", _FETCH_BUDGET),
            is_transient=lambda error: isinstance(error, BackendError) and error.transient,
        )
    except BackendError as error:
        log.warning("not reported", result=result.result_id, error=str(error))
        return None


def _parse_or_warn(
    parse: Callable[[bytes], T], data: bytes | None, result_id: str, log: BoundLogger
) -> T | None:
    if data is None:
        return None
    try:
        return parse(data)
    except ValueError as error:
        log.warning("not reported", result=result_id, error=f"it {error}")
        return None
