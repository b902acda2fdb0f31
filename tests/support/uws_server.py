"""A small but true server of UWS 1.1 or 1.0, which misbehaves on request.

It is written from the standard alone and shares no code with the package that is tested. Parameters drive its
jobs: ``duration`` (s), ``fail`` (message; ends in ERROR), ``value`` (content of the result ``result.json``).
"""

import asyncio
import itertools
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from typing_extensions import override

from .http_server import Behaviour, HttpServer, Reply, Request, drop, html, redirect, status, text

__all__ = ["Behaviour", "Reply", "Request", "UwsServer", "drop", "html", "redirect", "status", "text"]

_HEAD = (
    'xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_FINAL = {"COMPLETED", "ERROR", "ABORTED", "ARCHIVED"}


@dataclass
class _Job:
    job_id: str
    payload: str
    form: list[tuple[str, str]]
    phase: str = "PENDING"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None
    duration: int = 600
    destruction: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(days=1))
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None

    def value(self, name: str) -> str | None:
        return next((value for key, value in self.form if key == name), None)

    def change(self, phase: str) -> None:
        self.phase = phase
        if phase == "EXECUTING":
            self.started = datetime.now(UTC)
        if phase in _FINAL:
            self.ended = datetime.now(UTC)
        self.changed.set()
        self.changed = asyncio.Event()


class UwsServer(HttpServer):
    """The server; ``async with`` starts and stops it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.version = "1.1"
        """The standard that is kept. 1.0 tells no version, no time of creation and, in its list, no run_id,
        and knows neither WAIT, nor LAST and PHASE of the list."""

        self.blocks = True
        """Whether a server of 1.1 honours WAIT."""

        self.abort_delay = 0.0
        """How long after the answer to ABORT a job goes on (s)."""

        self.filters = True
        """Whether PHASE filters the list of a server of 1.1."""

        self.takes_limits = True
        """Whether a creation may set execution duration and destruction."""

        self.location = "{url}"
        """How the URL of a new job is given: ``{url}`` absolute, ``{path}`` relative to the host."""

        self.payloads = {"sleep"}
        self.jobs: dict[str, _Job] = {}
        self._numbers = itertools.count(1)

    def force(self, job_id: str, phase: str) -> None:
        self.jobs[job_id].change(phase)

    @override
    def end_jobs(self) -> None:
        for job in self.jobs.values():
            for task in (job.task, job.ending):
                if task:
                    task.cancel()

    @override
    async def answer(self, request: Request) -> Reply:
        match request.path.strip("/").split("/"):
            case ["availability"]:
                space = "http://www.ivoa.net/xml/VOSIAvailability/v1.0"
                body = f'<a:availability xmlns:a="{space}"><a:available>true</a:available></a:availability>'
                return Reply(body=body.encode())
            case ["capabilities"]:
                space = "http://www.ivoa.net/xml/VOSICapabilities/v1.0"
                standard = f'<capability standardID="ivo://ivoa.net/std/UWS#rest-{self.version}"/>'
                return Reply(body=f'<v:capabilities xmlns:v="{space}">{standard}</v:capabilities>'.encode())
            case [payload, "async"] if payload in self.payloads:
                return (
                    self._create(payload, request)
                    if request.method == "POST"
                    else self._list(payload, request)
                )
            case [payload, "async", job_id, *rest] if job_id in self.jobs and payload in self.payloads:
                return await self._job(self.jobs[job_id], rest, request)
        return Reply(404, b"UsageError: not found", kind="text/plain")

    def _url(self, job: _Job, *rest: str) -> str:
        return "/".join((self.url, job.payload, "async", job.job_id, *rest))

    def _create(self, payload: str, request: Request) -> Reply:
        if request.field("REFUSE"):
            return Reply(400, b"UsageError: refused as asked", kind="text/plain")
        control = {"RUNID", "PHASE", "EXECUTIONDURATION", "DESTRUCTION"}
        job = _Job(str(next(self._numbers)), payload, request.form)
        if self.takes_limits:
            self._set_limits(job, request)
        self.jobs[job.job_id] = job
        job.form = [pair for pair in request.form if pair[0].upper() not in control - {"RUNID"}]
        url = self._url(job)
        return Reply(303, headers=(("Location", self.location.format(url=url, path=urlsplit(url).path)),))

    def _set_limits(self, job: _Job, request: Request) -> None:
        if duration := request.field("EXECUTIONDURATION"):
            job.duration = int(duration)
        if destruction := request.field("DESTRUCTION"):
            job.destruction = datetime.fromisoformat(destruction)

    def _list(self, payload: str, request: Request) -> Reply:
        mine = (job for job in self.jobs.values() if job.payload == payload)
        jobs = sorted(mine, key=lambda job: job.created, reverse=True)
        if request.phases and self.filters and self._is_new:
            jobs = [job for job in jobs if job.phase in request.phases]
        if "LAST" in request.query and self._is_new:
            jobs = jobs[: int(request.query["LAST"])]
        refs = "".join(
            f'<uws:jobref id="{job.job_id}" xlink:href="{self._url(job)}"><uws:phase>{job.phase}</uws:phase>'
            f"{_run_id(job) + self._creation_time(job) if self._is_new else ''}</uws:jobref>"
            for job in jobs
        )
        return Reply(body=f"<uws:jobs {self._head()}>{refs}</uws:jobs>".encode())

    @property
    def _is_new(self) -> bool:
        return self.version == "1.1"

    def _head(self) -> str:
        return f'{_HEAD} version="1.1"' if self._is_new else _HEAD

    def _creation_time(self, job: _Job) -> str:
        return f"<uws:creationTime>{_time(job.created)}</uws:creationTime>" if self._is_new else ""

    async def _job(self, job: _Job, rest: list[str], request: Request) -> Reply:
        if request.method == "GET":
            return await self._read(job, rest, request)
        see = Reply(303, headers=(("Location", self._url(job)),))
        match request.method, rest:
            case "DELETE", []:
                self._abort(job)
                del self.jobs[job.job_id]
                return Reply(303, headers=(("Location", f"{self.url}/{job.payload}/async"),))
            case "POST", ["phase"]:
                return self._set_phase(job, request) or see
            case "POST", ["executionduration" | "destruction"]:
                self._set_limits(job, request)
                return see
            case _:
                return Reply(405, b"UsageError: not for this resource", kind="text/plain")

    async def _read(self, job: _Job, rest: list[str], request: Request) -> Reply:
        match rest:
            case []:
                if "WAIT" in request.query and self.blocks and self._is_new:
                    await self._wait(job, request)
                return Reply(body=self._document(job).encode())
            case ["results", "result.json"] if job.phase == "COMPLETED":
                return Reply(body=(job.value("value") or "{}").encode(), kind="application/json")
            case ["error"] if job.phase == "ERROR":
                return Reply(body=f"Error: {job.value('fail')}\n\nmore".encode(), kind="text/plain")
        return Reply(404, b"UsageError: not found", kind="text/plain")

    async def _wait(self, job: _Job, request: Request) -> None:
        waits = {"PENDING", "QUEUED", "EXECUTING"}
        if job.phase in waits and request.query.get("PHASE", job.phase) == job.phase:
            try:
                async with asyncio.timeout(int(request.query["WAIT"])):
                    await job.changed.wait()
            except TimeoutError:
                pass

    def _set_phase(self, job: _Job, request: Request) -> Reply | None:
        if request.field("PHASE") == "ABORT":
            if self.abort_delay and job.ending is None:
                job.ending = asyncio.create_task(self._abort_later(job))
            elif not self.abort_delay:
                self._abort(job)
            return None
        if job.phase not in {"PENDING", "HELD"}:
            return Reply(403, f"UsageError: job is {job.phase}".encode(), kind="text/plain")
        job.change("QUEUED")
        job.task = asyncio.create_task(self._run(job))
        return None

    async def _abort_later(self, job: _Job) -> None:
        await asyncio.sleep(self.abort_delay)
        self._abort(job)

    def _abort(self, job: _Job) -> None:
        if job.task:
            job.task.cancel()
        if job.phase not in _FINAL:
            job.change("ABORTED")

    async def _run(self, job: _Job) -> None:
        job.change("EXECUTING")
        await asyncio.sleep(float(job.value("duration") or 0))
        job.change("ERROR" if job.value("fail") else "COMPLETED")

    def _document(self, job: _Job) -> str:
        parameters = "".join(
            f"<uws:parameter id={quoteattr(name)}>{escape(value)}</uws:parameter>"
            for name, value in job.form
            if name.upper() != "RUNID"
        )
        results, error = "", ""
        if job.phase == "COMPLETED":
            link = quoteattr(self._url(job, "results", "result.json"))
            results = f'<uws:result id="result.json" xlink:href={link} mime-type="application/json"/>'
        if job.phase == "ERROR":
            message = f"<uws:message>{escape(job.value('fail') or '')}</uws:message>"
            error = f'<uws:errorSummary type="fatal" hasDetail="true">{message}</uws:errorSummary>'
        return (
            f"<uws:job {self._head()}><uws:jobId>{job.job_id}</uws:jobId>{_run_id(job)}"
            f'<uws:ownerId xsi:nil="true"/><uws:phase>{job.phase}</uws:phase><uws:quote xsi:nil="true"/>'
            f"{self._creation_time(job)}{_stamp('startTime', job.started)}"
            f"{_stamp('endTime', job.ended)}<uws:executionDuration>{job.duration}</uws:executionDuration>"
            f"{_stamp('destruction', job.destruction)}<uws:parameters>{parameters}</uws:parameters>"
            f"<uws:results>{results}</uws:results>{error}</uws:job>"
        )


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _stamp(name: str, time: datetime | None) -> str:
    return f"<uws:{name}>{_time(time)}</uws:{name}>" if time else f'<uws:{name} xsi:nil="true"/>'


def _run_id(job: _Job) -> str:
    run_id = job.value("RUNID")
    return f"<uws:runId>{escape(run_id)}</uws:runId>" if run_id else ""
