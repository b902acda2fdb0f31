"""Back ends that speak IVOA UWS 1.1 or 1.0, with the liberties that real servers take."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

from typing_extensions import Unpack, override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.uws.codec import parse_job, parse_job_list
from lsst.ts.ocps.uws.errors import UwsDocumentError
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, JobRef
from lsst.ts.ocps.uws.phases import FINAL, UNDER_WAY, ExecutionPhase
from lsst.ts.ocps.uws.times import format_time, parse_time

from .answers import MAX_EXPLANATION, Answer, error_for_status, error_text, show_url
from .base import BackendInfo, CreatedJob, Submission
from .errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)
from .http_backend import Connection, HttpBackend
from .reading import DocumentReader
from .settings import UwsSettings
from .streaming import Receiver, Sink
from .vosi import probe
from .waiting import WaitMeter

__all__ = ["UwsBackend"]

_HTTP = ("http://", "https://")
_MAX_UNASKED = 1000
"""A list with more jobs in other phases than asked for costs more than reading the jobs one by one."""


class UwsBackend(HttpBackend[UwsSettings]):
    """A UWS service.

    Parameters
    ----------
    name
        Name of the back end in the configuration.
    settings
        Its settings.
    connection
        Who we are, and what carries the requests (see `Connection`).
    """

    kind: ClassVar[str] = "uws"
    creates_pending: ClassVar[bool] = True

    def __init__(self, name: str, settings: UwsSettings, **connection: Unpack[Connection]) -> None:
        super().__init__(name, settings, connection)
        self._log = logging.getLogger(f"{__name__}.{name}")
        self._meter = WaitMeter()
        self._version: str | None = None
        self._documents = DocumentReader(self._http)

    @property
    @override
    def wait_blocks(self) -> bool | None:
        return self._meter.verdict

    @override
    async def create(self, submission: Submission) -> CreatedJob:
        deadline = self._deadline(f"creating a job of {submission.payload}")
        list_url = self._list_url(submission.payload)
        form = self._form(submission)
        answer = await self._http.change("POST", list_url, form=form, deadline=deadline)
        url = self._created_url(answer)
        try:
            job = await self._told_job(answer, url) or await self._read(url, deadline)
        except BackendError as error:
            raise self._unreadable(url, error) from error
        return CreatedJob(url, await self._with_limits(url, job, submission, deadline))

    @override
    async def start(self, url: str) -> Job | None:
        url = _job_url(url)
        answer = await self._post(url, "phase", ("PHASE", "RUN"), self._deadline("starting a job"))
        return await self._told_job(answer, url)

    @override
    async def read(self, url: str) -> Job:
        url = _job_url(url)
        return await self._with_reason(url, await self._read(url, self._deadline("reading a job")))

    @override
    async def wait(self, url: str, *, phase: ExecutionPhase, seconds: float) -> Job:
        """Read a job when it has left ``phase``; see `Backend.wait`.

        The time is rounded up to whole seconds and bounded by the setting ``max_wait``. A server that
        refuses the request in this form is asked in the plain one.
        """
        url = _job_url(url)
        asked = max(1, math.ceil(min(seconds, self._settings.max_wait)))
        deadline = Deadline("waiting for a job", asked + self._settings.call_timeout)
        query = {"WAIT": str(asked), "PHASE": phase.value}
        started = time.monotonic()
        try:
            answer = await self._http.get(url, query=query, deadline=deadline, blocks=True)
            job = await self._job(answer, url)
        except RequestRefusedError:
            job = await self._read(url, deadline)
        took = time.monotonic() - started
        self._meter.note(asked=asked, took=took, before=phase, after=job.phase)
        return await self._with_reason(url, job)

    @override
    async def abort(self, url: str) -> None:
        url = _job_url(url)
        deadline = self._deadline("aborting a job")
        try:
            await self._post(url, "phase", ("PHASE", "ABORT"), deadline)
        except (RequestRefusedError, BackendFailedError, BackendAuthenticationError):
            # Some servers refuse to abort what has ended, and some to abort anything; an end must be seen.
            if (await self._read(url, deadline)).phase not in FINAL:
                raise

    @override
    async def delete(self, url: str) -> None:
        url = _job_url(url)
        deadline = self._deadline("deleting a job")
        answer = await self._http.change("DELETE", url, deadline=deadline)
        if answer.status in {405, 501}:
            form = [("ACTION", "DELETE")]
            answer = await self._http.change("POST", url, form=form, deadline=deadline)
        if error_for_status(answer, reading=False) is not JobNotFoundError:
            # The redirect leads to the whole list, which may take minutes: it is not followed.
            self._documents.check_accepted(answer)

    @override
    async def list_jobs(self, payload: str, *, last: int | None = None) -> Sequence[JobRef]:
        """List the jobs of one payload; see `Backend.list_jobs`.

        Servers that ignore ``LAST`` and tell no creation times have all their jobs listed.
        """
        list_url = self._list_url(payload)
        query = {"LAST": str(last)} if last is not None else None
        answer = await self._http.get(list_url, query=query, deadline=self._deadline("listing jobs"))
        refs = await self._documents.parse(answer, parse_job_list, list_url, missing=RequestRefusedError)
        located = [replace(ref, url=self._ref_url(ref, list_url)) for ref in refs]
        times = [ref.creation_time.timestamp() for ref in refs if ref.creation_time is not None]
        if last is None or len(times) < len(refs):
            return tuple(located)
        newest = sorted(zip(times, located, strict=True), key=lambda pair: pair[0], reverse=True)
        return tuple(ref for _, ref in newest[:last])

    @override
    async def list_under_way(self, payload: str) -> Mapping[str, ExecutionPhase] | None:
        """Ask for the jobs that are QUEUED or EXECUTING; see `Backend.list_under_way`.

        None also where the server does not filter its list (UWS 1.0), and has long ones.
        """
        list_url = self._list_url(payload)
        query = [("PHASE", phase.value) for phase in UNDER_WAY]
        answer = await self._http.get(list_url, query=query, deadline=self._deadline("listing jobs"))
        refs = await self._documents.parse(answer, parse_job_list, list_url, missing=RequestRefusedError)
        phases = {ref.job_id: ref.phase for ref in refs if ref.phase in UNDER_WAY}
        return phases if len(refs) - len(phases) <= _MAX_UNASKED else None

    @override
    async def fetch(self, job_url: str, result_id: str, url: str | None, *, max_bytes: int) -> bytes:
        deadline = self._deadline(f"reading result {result_id}")
        answer = await self._read_result(job_url, result_id, url, deadline, max_bytes)
        return self._documents.check_result(answer, max_bytes)

    @override
    async def download(
        self,
        job_url: str,
        result_id: str,
        url: str | None,
        *,
        receive: Receiver,
        max_bytes: int,
        seconds: float,
    ) -> None:
        sink, deadline = Sink(receive, max_bytes), Deadline(f"reading result {result_id}", seconds)
        answer = await self._read_result(job_url, result_id, url, deadline, MAX_EXPLANATION, sink)
        _ = self._documents.check_result(answer, max_bytes)

    async def _read_result(  # noqa: PLR0917 (of the two methods above only)
        self,
        job_url: str,
        result_id: str,
        url: str | None,
        deadline: Deadline,
        max_bytes: int,
        sink: Sink | None = None,
    ) -> Answer:
        own = f"{_job_url(job_url)}/results/{quote(result_id, safe='')}"
        places = [url, own] if url is not None and self._may_fetch(url) else [own]
        for place in places:
            answer = await self._fetch(place, deadline, max_bytes, sink)
            if answer.status not in {403, 404, 410}:
                return answer
        if url is not None and url not in places and url.startswith(_HTTP):
            text = f"the result is at {show_url(url)}, and that host is not among the result_hosts"
            raise self._http.error(RequestRefusedError, answer, text)
        return answer

    async def error_detail(self, url: str) -> str | None:
        """Read what the ``error`` resource of a failed job tells.

        Parameters
        ----------
        url
            The job.

        Returns
        -------
        str or None
            At most 64 KiB of explanation; None if the job did not fail or the server tells nothing.
        """
        deadline = self._deadline("reading the error of a job")
        answer = await self._fetch(f"{_job_url(url)}/error", deadline, MAX_EXPLANATION)
        if answer.status in {404, 410}:
            return None
        text = error_text(self._documents.check_readable(answer).content)
        return None if text is None else self._http.redact(text)

    async def _with_reason(self, url: str, job: Job) -> Job:
        """Ask a failed job whose document does not say why, as it only should, for its ``error`` resource."""
        if job.phase is not ExecutionPhase.ERROR or (job.error is not None and job.error.message):
            return job
        try:
            detail = await self.error_detail(url)
        except BackendError as error:
            self._log.warning("%s failed, and why cannot be read: %s", url, error)
            return job
        return job if detail is None else replace(job, error=ErrorSummary(detail, has_detail=True))

    @override
    async def probe(self) -> BackendInfo:
        """Ask for the availability and, once, for the capabilities (VOSI 1.1)."""
        info = await probe(self._http, self._settings.url, self._deadline("probing"), version=self._version)
        self._version = info.version
        return info

    def _list_url(self, payload: str) -> str:
        path = self._settings.job_list.replace("{payload}", quote(payload, safe=""))
        return f"{self._settings.url}/{path}" if path else self._settings.url

    def _form(self, submission: Submission) -> list[tuple[str, str]]:
        form = [*submission.parameters, ("RUNID", submission.run_id)]
        if submission.execution_duration is not None:
            form.append(("EXECUTIONDURATION", str(submission.execution_duration)))
        if submission.destruction is not None:
            try:
                form.append(("DESTRUCTION", format_time(parse_time(submission.destruction))))
            except ValueError as error:
                raise RequestRefusedError(self.name, f"time of destruction: {error}") from error
        return form

    def _created_url(self, answer: Answer) -> str:
        """Where the created job is; success is a redirect and nothing else."""
        kind = error_for_status(answer, reading=False)
        if kind is JobNotFoundError:
            raise self._http.error(RequestRefusedError, answer, "there is no job list of that payload")
        self._documents.check_accepted(answer)
        if not answer.is_redirect:
            raise self._http.error(BackendFailedError, answer)
        return _job_url(self._http.own_url(answer.location))

    def _unreadable(self, url: str, error: BackendError) -> BackendError:
        """The error of a creation whose job cannot be read: the job may exist all the same."""
        if isinstance(error.__cause__, UwsDocumentError) and error.__cause__.found == "jobs":
            text = f"the answer leads to a job list, {url}: nothing was created; is the job list's URL right?"
            return RequestRefusedError(self.name, text)
        kind = BackendUnavailableError if isinstance(error, BackendUnavailableError) else BackendFailedError
        text = f"a job was created at {url}, but it cannot be read: {error.message}"
        return kind(self.name, text, status=error.status)

    async def _with_limits(self, url: str, job: Job, submission: Submission, deadline: Deadline) -> Job:
        """Set the limits that the server did not take with the creation; it may refuse them."""
        wanted = []
        duration = submission.execution_duration
        if duration is not None and job.execution_duration != duration:
            wanted.append(("executionduration", str(duration)))
        if submission.destruction is not None:
            asked = parse_time(submission.destruction)
            if job.destruction is None or abs((job.destruction - asked).total_seconds()) > 1:
                wanted.append(("destruction", format_time(asked)))
        if not wanted:
            return job
        try:
            for resource, value in wanted:
                await self._post(url, resource, (resource.upper(), value), deadline)
            return await self._read(url, deadline)
        except BackendError as error:
            self._log.warning("%s keeps its own limits: %s", url, error)
            return job

    async def _post(self, url: str, resource: str, field: tuple[str, str], deadline: Deadline) -> Answer:
        answer = await self._http.change("POST", f"{url}/{resource}", form=[field], deadline=deadline)
        self._documents.check_accepted(answer)
        return answer

    async def _told_job(self, answer: Answer, url: str) -> Job | None:
        """The job, if a redirect brings what a GET at its Location would (RFC 9110 section 8.7)."""
        location = answer.headers.get("location")
        if location is None or answer.headers.get("content-location") != location:
            return None
        try:
            return await self._job(replace(answer, url=url, status=200), url)
        except BackendError:
            # Then it has to be read, and if that goes wrong too, the reader says so.
            return None

    async def _read(self, url: str, deadline: Deadline) -> Job:
        return await self._job(await self._http.get(url, deadline=deadline), url)

    async def _job(self, answer: Answer, url: str) -> Job:
        job = await self._documents.parse(answer, parse_job, answer.url.partition("?")[0])
        expected = unquote(urlsplit(url).path.rpartition("/")[2])
        if self._settings.job_id_in_url and job.job_id != expected:
            raise self._http.error(BackendFailedError, answer, f"the document is of job {job.job_id!r}")
        if job.error is None:
            return job
        return replace(job, error=replace(job.error, message=self._http.redact(job.error.message)))

    def _ref_url(self, ref: JobRef, list_url: str) -> str:
        if ref.url is None or not ref.url.startswith(_HTTP):
            return f"{list_url}/{quote(ref.job_id, safe='')}"
        return _job_url(self._http.own_url(ref.url))

    def _may_fetch(self, url: str) -> bool:
        """Whether a link of a result may be followed: to the own origin or a host of ``result_hosts``."""
        if not url.startswith(_HTTP):
            return False
        own = self._http.own_url(url)
        return self._http.is_own(own) or urlsplit(own).netloc.lower() in self._settings.result_hosts

    async def _fetch(self, url: str, deadline: Deadline, max_bytes: int, sink: Sink | None = None) -> Answer:
        hosts = self._settings.result_hosts
        return await self._http.get(url, deadline=deadline, max_bytes=max_bytes, hosts=hosts, sink=sink)


def _job_url(url: str) -> str:
    """The URL of a job as its resources begin with it: without query and trailing slash."""
    return url.partition("#")[0].partition("?")[0].rstrip("/")
