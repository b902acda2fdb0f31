"""Figures of a running service, as Prometheus reads them."""

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .schema import StoredJob

__all__ = ["CONTENT_TYPE", "MeteringMiddleware", "Metrics", "Present"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of the text: the form that every reader knows."""

_REQUEST_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
_JOB_BUCKETS = (1, 5, 20, 60, 300, 1200, 3600, 4 * 3600, 24 * 3600)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True, slots=True)
class Present:
    """What is so at the moment, as told by those who know."""

    jobs: Mapping[tuple[str, str], int] | None
    """How many jobs are stored of each payload in each phase; None if the database does not answer."""

    queued: int
    """Jobs that wait for a slot of this process."""

    running: int
    """Jobs that hold a slot of this process."""

    waiting: int
    """Requests that wait for a change of phase."""


class Metrics:
    """Counts what happens, from the start of the process on.

    Parameters
    ----------
    version
        The version of the program.
    """

    def __init__(self, version: str) -> None:
        # Not the global one: there may be several services in a process, as in the tests.
        own = self._registry = CollectorRegistry()
        # The reader of the library for memory, time and files of this process.
        ProcessCollector(registry=own)
        self._requests = Counter(
            "ocps_http_requests", "Requests answered", ["method", "route", "status"], registry=own
        )
        self._request_time = Histogram(
            "ocps_http_request_seconds",
            "Time to the end of the answer, with the time that WAIT asked for",
            ["method", "route"],
            buckets=_REQUEST_BUCKETS,
            registry=own,
        )
        self._refused = Counter(
            "ocps_connections_refused", "Connections ended for what they took", ["reason"], registry=own
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._phases = Counter(
            "ocps_job_phases", "Jobs that came into a phase", ["payload", "phase"], registry=own
        )
        self._job_time = Histogram(
            "ocps_job_seconds",
            "Time from start to end of jobs",
            ["payload", "phase"],
            buckets=_JOB_BUCKETS,
            registry=own,
        )
        self._jobs = Gauge("ocps_jobs", "Jobs in the database", ["payload", "phase"], registry=own)
        self._queued = Gauge("ocps_jobs_waiting_for_slot", "Queued jobs of this process", registry=own)
        self._running = Gauge("ocps_jobs_in_slot", "Jobs that this process runs", registry=own)
        self._waiting = Gauge("ocps_waiting_requests", "Requests that wait for a change", registry=own)
        self._database = Gauge("ocps_database_up", "Whether the database answers", registry=own)
        Gauge("ocps_service_info", "What runs", ["version"], registry=own).labels(version).set(1)

    def note_phase(self, stored: StoredJob) -> None:
        """Note that a job has come into the phase that it is in."""
        labels = (stored.payload, stored.phase.value)
        self._phases.labels(*labels).inc()
        start, end = stored.job.start_time, stored.job.end_time
        has_just_ended = stored.phase in FINAL and stored.phase is not ExecutionPhase.ARCHIVED
        if has_just_ended and start is not None and end is not None:
            self._job_time.labels(*labels).observe((end - start).total_seconds())

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note that a request has been answered.

        Parameters
        ----------
        method
            Its method.
        route
            The pattern of its path; "" if there is none.
        status
            The status of the answer.
        seconds
            How long it took (s).
        """
        series = self._series.get((method, route, status))
        if series is None:
            series = self._find_series(method, route, status)
        requests, request_time = series
        requests.inc()
        request_time.observe(seconds)

    def _find_series(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        # Whatever strangers ask for, there are no more series than routes.
        known = method if method in _METHODS else "other"
        series = self._requests.labels(known, route, str(status)), self._request_time.labels(known, route)
        if known == method:
            self._series[method, route, status] = series
        return series

    def note_refusal(self, reason: str) -> None:
        """Note that a connection has been ended for what it took."""
        self._refused.labels(reason).inc()

    def to_text(self, present: Present) -> bytes:
        """The figures in the text format of Prometheus."""
        self._jobs.clear()
        for (payload, phase), number in (present.jobs or {}).items():
            self._jobs.labels(payload, phase).set(number)
        self._database.set(present.jobs is not None)
        self._queued.set(present.queued)
        self._running.set(present.running)
        self._waiting.set(present.waiting)
        return generate_latest(self._registry)


class MeteringMiddleware:
    """Notes every request in the `Metrics` of the application's context.

    Parameters
    ----------
    app
        What answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        # Without a first word there was an error, which the one who calls us answers.
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            metrics: Metrics = scope["app"].state.context.metrics
            metrics.note_request(scope["method"], _route_of(scope), status, time.monotonic() - start)


def _route_of(scope: MutableMapping[str, Any]) -> str:
    """The pattern of the path, as the router has noted it; "" where there is none."""
    return getattr(scope.get("route"), "path", "")
