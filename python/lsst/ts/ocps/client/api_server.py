"""Back ends of the JSON dialect of ``lsst-dm/uws-api-server``: creating is starting, deleting is aborting."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from typing_extensions import Unpack, override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.uws.jobs import Job, JobRef
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase, parse_phase

from .answers import Answer, error_for_status, show_url
from .base import BackendInfo, CreatedJob, Submission
from .errors import BackendError, BackendFailedError, JobNotFoundError, RequestRefusedError
from .http_backend import Connection, HttpBackend
from .json_jobs import JOB_ID, JsonJobError, parse_job, parse_job_list, parse_json, parse_results
from .settings import ApiServerSettings
from .shell_environment import build_environment, escape_yaml, find_problems
from .streaming import Receiver, Sink

__all__ = ["ApiServerBackend"]

T = TypeVar("T")

_PROBE = {"phase": "held"}
"""A phase that the server knows and no job is ever in: the shortest list."""

_MAX_LOOKS = 100.0
"""So often are phases looked at, all jobs together (1/s): the server does one thing at a time."""

_SMALL = 64 * 1024
"""Larger answers are parsed in a thread (byte)."""


class ApiServerBackend(HttpBackend[ApiServerSettings]):
    """A server of the JSON dialect.

    Parameters
    ----------
    name
        Name of the back end in the configuration.
    settings
        Its settings.
    connection
        Who we are, and what carries the requests (see `Connection`).

    Notes
    -----
    What the dialect has not, and what is done about it: no jobs that wait (`start` refuses), no limits (they
    are not asked for), no abort (a job that lives is deleted, with its results; one that has ended is left
    alone), no reasons of failures, no blocking (`wait` looks at the phase again and again).
    """

    kind: ClassVar[str] = "api_server"
    creates_pending: ClassVar[bool] = False

    def __init__(self, name: str, settings: ApiServerSettings, **connection: Unpack[Connection]) -> None:
        super().__init__(name, settings, connection)
        self._jobs_url = f"{settings.url}/job"
        self._waiting = 0

    @property
    @override
    def wait_blocks(self) -> bool | None:
        return True

    @override
    def check(self, submission: Submission) -> None:
        _ = self._body(submission)

    @override
    async def create(self, submission: Submission) -> CreatedJob:
        body = json.dumps(self._body(submission)).encode()
        deadline = self._deadline(f"creating a job of {submission.payload}")
        answer = await self._http.change("PUT", self._jobs_url, json=body, deadline=deadline)
        if answer.status in {404, 405, 410}:
            raise self._http.error(RequestRefusedError, answer, "there is no server of the JSON dialect")
        job = await self._parse(answer, lambda value: parse_job(value, self._settings.url), reading=False)
        return CreatedJob(f"{self._jobs_url}/{job.job_id}", job)

    @override
    async def start(self, url: str) -> Job | None:
        # Whether there is such a job is asked for all the same: not knowing it is another answer.
        job = await self.read(url)
        raise RequestRefusedError(self.name, f"job {job.job_id} was started when it was created")

    @override
    async def read(self, url: str) -> Job:
        return await self._read(self._job_id(url), self._deadline("reading a job"))

    @override
    async def wait(self, url: str, *, phase: ExecutionPhase, seconds: float) -> Job:
        """Read a job when it has left ``phase``; see `Backend.wait`."""
        job_id = self._job_id(url)
        self._waiting += 1
        try:
            await self._wait(job_id, phase, seconds)
        finally:
            self._waiting -= 1
        return await self._read(job_id, self._deadline("reading a job"))

    async def _wait(self, job_id: str, phase: ExecutionPhase, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            began = time.monotonic()
            answer = await self._http.get(
                f"{self._jobs_url}/{job_id}/phase", deadline=self._deadline("reading a phase")
            )
            if await self._parse(answer, _parse_phase) is not phase:
                return
            took = time.monotonic() - began
            pause = max(self._settings.poll_interval, took, self._waiting / _MAX_LOOKS)
            await asyncio.sleep(min(left, pause))

    @override
    async def abort(self, url: str) -> None:
        """Delete a job that lives: the dialect has no other end, and its results go too."""
        if (await self.read(url)).phase not in FINAL:
            await self.delete(url)

    @override
    async def delete(self, url: str) -> None:
        target = f"{self._jobs_url}/{self._job_id(url)}"
        answer = await self._http.change("DELETE", target, deadline=self._deadline("deleting a job"))
        try:
            self._check(answer, reading=False)
        except JobNotFoundError:
            return

    @override
    async def list_jobs(self, payload: str, *, last: int | None = None) -> Sequence[JobRef]:
        """List all jobs of the server, the newest first: it knows no payloads, and filters nothing."""
        answer = await self._http.get(self._jobs_url, deadline=self._deadline("listing jobs"))
        refs = await self._parse(
            answer, lambda value: parse_job_list(value, self._settings.url), missing=RequestRefusedError
        )
        return tuple(refs[:last])

    @override
    async def fetch(self, job_url: str, result_id: str, url: str | None, *, max_bytes: int) -> bytes:
        """Read a small result; its number is taken from a list read just before, whatever ``url`` says."""
        deadline = self._deadline(f"reading result {result_id}")
        answer = await self._read_result(job_url, result_id, deadline, max_bytes)
        return self._http.redact_bytes(answer.content)

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
        deadline = Deadline(f"reading result {result_id}", seconds)
        _ = await self._read_result(job_url, result_id, deadline, max_bytes, Sink(receive, max_bytes))

    async def _read_result(
        self, job_url: str, result_id: str, deadline: Deadline, max_bytes: int, sink: Sink | None = None
    ) -> Answer:
        job_id = self._job_id(job_url)
        answer = await self._http.get(f"{self._jobs_url}/{job_id}/results", deadline=deadline)
        results = await self._parse(
            answer,
            lambda value: parse_results(value, self._settings.url, job_id),
            missing=RequestRefusedError,
        )
        place = next((result.url for result in results if result.result_id == result_id), None)
        if place is None:
            raise RequestRefusedError(self.name, f"job {job_id} has no result {result_id!r}")
        limit = max_bytes if sink is None else None
        answer = await self._http.get(place, deadline=deadline, max_bytes=limit, sink=sink)
        self._check(answer, missing=RequestRefusedError)
        if not answer.is_complete:
            text = f"the result is larger than {max_bytes} bytes"
            raise self._http.error(RequestRefusedError, answer, text)
        return answer

    @override
    async def probe(self) -> BackendInfo:
        answer = await self._http.get(self._jobs_url, query=_PROBE, deadline=self._deadline("probing"))
        _ = await self._parse(
            answer, lambda value: parse_job_list(value, self._settings.url), missing=RequestRefusedError
        )
        return BackendInfo(version="")

    def _body(self, submission: Submission) -> dict[str, Any]:
        """What is sent to create a job.

        Raises
        ------
        RequestRefusedError
            If the definition of the payload has no section for this kind of back end, or a value cannot
            travel; names each variable.
        """
        shell = submission.shell
        if shell is None:
            text = f"payload {submission.payload} has no section api_server: it cannot run there"
            raise RequestRefusedError(self.name, text)
        is_escaped = self._settings.escape == "yaml"
        variables = build_environment(submission, shell)
        source = [("url", shell.url), ("commit_ref", shell.commit_ref)]
        problems = list(find_problems([*variables, *source], is_escaped=is_escaped))
        if problems:
            raise RequestRefusedError(self.name, f"cannot be sent: {'; '.join(problems)}")
        escape: Callable[[str], str] = escape_yaml if is_escaped else str
        body: dict[str, Any] = {"run_id": submission.run_id, "command": shell.command}
        # A null would take JOB_SOURCE_DIR from the job; an absent key does not.
        body |= {name: escape(value) for name, value in source if value}
        body["environment"] = [{"name": name, "value": escape(value)} for name, value in variables]
        return body

    def _job_id(self, url: str) -> str:
        """The id in the URL of a job. Nothing else is ever sent: the server deletes what a URL names.

        Raises
        ------
        RequestRefusedError
            If it is no URL of a job of this server.
        """
        job_id = url.removeprefix(f"{self._jobs_url}/")
        if job_id == url or not JOB_ID.fullmatch(job_id):
            raise RequestRefusedError(self.name, f"{show_url(url)} is no job of {self._settings.url}")
        return job_id

    async def _read(self, job_id: str, deadline: Deadline) -> Job:
        answer = await self._http.get(f"{self._jobs_url}/{job_id}", deadline=deadline)
        job = await self._parse(answer, lambda value: parse_job(value, self._settings.url))
        if job.job_id != job_id:
            raise self._http.error(BackendFailedError, answer, f"the answer is about job {job.job_id!r}")
        return job

    async def _parse(
        self,
        answer: Answer,
        parse: Callable[[Any], T],
        *,
        reading: bool = True,
        missing: type[BackendError] = JobNotFoundError,
    ) -> T:
        """Read an answer, its status first: a failure may have any body."""
        self._check(answer, reading=reading, missing=missing)
        content = answer.content
        if not answer.is_complete:
            text = f"the answer is larger than {len(content)} bytes"
            raise self._http.error(BackendFailedError, answer, text)
        try:
            if len(content) <= _SMALL:
                return parse(parse_json(content))
            return await asyncio.to_thread(lambda: parse(parse_json(content)))
        except JsonJobError as error:
            raise self._http.error(BackendFailedError, answer, str(error)) from error

    def _check(
        self, answer: Answer, *, reading: bool = True, missing: type[BackendError] = JobNotFoundError
    ) -> None:
        kind = error_for_status(answer, reading=reading)
        if kind is not None:
            text = "no explanation" if answer.content in {b'""', b'""\n'} else ""
            raise self._http.error(missing if kind is JobNotFoundError else kind, answer, text)
        if answer.is_redirect:
            target = self._http.own_url(answer.location)
            self._http.check_redirect(answer, target)
            text = f"nothing was done; the service wants the request sent to {show_url(target)}"
            raise self._http.error(RequestRefusedError, answer, text)
        self._http.check_page(answer)
        if answer.status >= 300:
            raise self._http.error(BackendFailedError, answer)


def _parse_phase(value: Any) -> ExecutionPhase:
    if not isinstance(value, str):
        raise JsonJobError(f"no phase: {value!r:.100}")
    return parse_phase(value)
