"""A server that answers as the unmodified ``lsst-dm/uws-api-server`` does, its oddities included.

It shares no code with what is tested. What a client sends is pasted into YAML and read back from there, as
the real server does with its template: quotes, backslashes and line breaks do here what they do there. The
variables ``duration`` (s), ``fail`` and ``value`` drive its jobs; the last is the content of ``result.json``.
"""

import asyncio
import json
import re
import ssl
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from typing_extensions import override

from .http_server import HttpServer, Reply, Request

__all__ = ["ApiServerDouble", "json_reply"]

BASE = "/api/v1"
_PHASES = ("pending", "queued", "executing", "completed", "error", "unknown", "aborted", "held", "suspended")
_RUN_ID = re.compile(r"[a-zA-Z0-9][-._a-zA-Z0-9]*")
_ROUTES = {
    "file": re.compile(rf"{BASE}/job/result/(?P<id>.*)/(?P<index>.*)"),
    "property": re.compile(rf"{BASE}/job/(?P<id>.*)/(?P<property>.*)"),
    "job": re.compile(rf"{BASE}/job/(?P<id>.+)"),
    "list": re.compile(rf"{BASE}/job/?"),
}
"""Tried in this order; the first ones are greedy."""

_TEMPLATE = """
command: ["/bin/bash", "-c"]
args:
- {command}
env:
"""


def json_reply(value: Any, code: int = 200) -> Reply:
    """JSON as this server sends it."""
    return Reply(code, json.dumps(value).encode(), kind="application/json")


def _text_reply(code: int, text: str) -> Reply:
    return Reply(code, text.encode(), kind="text/html; charset=UTF-8")


def _traceback(code: int) -> Reply:
    return Reply(code, b"Traceback (most recent call last):\n  File ...", kind="text/plain")


@dataclass
class DoubleJob:
    """One job."""

    job_id: str
    run_id: str
    command: str
    environment: list[dict[str, str]]
    phase: str = "pending"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None
    files: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def variable(self, name: str) -> str:
        """The value that the job finds in its environment."""
        return next((one["value"] for one in self.environment if one["name"] == name), "")


class ApiServerDouble(HttpServer):
    """The server; ``async with`` starts and stops it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.jobs: dict[str, DoubleJob] = {}
        self.loses_answers = 0
        """So many of the next creations are answered as those that took longer than nine seconds."""

        self.duration = 0.0
        """How long jobs take that do not say it (s)."""

        self.undescribed: set[str] = set()
        """Jobs that the server cannot describe."""

    @property
    def base(self) -> str:
        """What clients are configured with."""
        return f"{self.url}{BASE}"

    @override
    def end_jobs(self) -> None:
        for job in self.jobs.values():
            if job.task:
                job.task.cancel()

    @override
    async def answer(self, request: Request) -> Reply:
        matches = ((kind, route.fullmatch(request.path)) for kind, route in _ROUTES.items())
        kind, match = next(((kind, match) for kind, match in matches if match), ("", None))
        parts = match.groupdict() if match else {}
        if not match:
            return _text_reply(404, "<html><title>404: Not Found</title><body>404: Not Found</body></html>")
        if request.method == "GET":
            return self._get(kind, parts, request)
        if (request.method, kind) == ("PUT", "list"):
            return self._put(request)
        if (request.method, kind) == ("DELETE", "job"):
            return self._delete(parts["id"])
        return _traceback(500 if request.method == "DELETE" else 405)

    def _get(self, kind: str, parts: dict[str, str], request: Request) -> Reply:
        if request.headers.get("content-type") == "application/json":
            return _traceback(500)  # it parses the body that is not there
        match kind:
            case "file":
                return self._give_file(parts["id"], parts["index"])
            case "property":
                return self._give_property(parts["id"], parts["property"])
            case "job":
                return self._give_job(parts["id"])
            case _:
                return self._list(request)

    def _put(self, request: Request) -> Reply:
        # With a parameter of the media type the body is taken as a form, in which nothing is found.
        is_json = request.headers.get("content-type") in {"application/json", "application/javascript"}
        body: dict[str, Any] = json.loads(request.body) if is_json else dict(request.form)
        if not body.get("command"):
            return _text_reply(500, "'command''command'")
        run_id = body.get("run_id") or ""
        if run_id and not _RUN_ID.fullmatch(run_id):
            return _text_reply(400, "Invalid run_id. Must be alphanumeric.")
        if len(run_id) > 63:
            return _text_reply(500, "(422) Reason: Unprocessable Entity: must be no more than 63 characters")
        job_id = uuid.uuid4().hex
        try:
            command, environment = _render(body, job_id)
        except (yaml.YAMLError, KeyError, TypeError) as error:
            return _text_reply(500, f"{error}{error}")
        job = DoubleJob(job_id, run_id or job_id, command, environment)
        job.task = asyncio.create_task(self._run(job))
        self.jobs[job_id] = job
        if self.loses_answers:
            self.loses_answers -= 1
            return _text_reply(500, "Job creation timed out.")
        return json_reply(self._describe(job))

    async def _run(self, job: DoubleJob) -> None:
        await asyncio.sleep(0.01)
        job.phase, job.started = "queued", datetime.now(UTC)
        await asyncio.sleep(0.01)
        job.phase = "executing"
        job.files.append("log.txt")
        await asyncio.sleep(float(job.variable("duration") or self.duration))
        if job.variable("fail"):
            job.phase = "error"  # and no end time: Kubernetes tells none of a failed job
            return
        # The order of a directory, which is no order: numbers change while files are added.
        job.files.insert(0, "result.json")
        job.phase, job.ended = "completed", datetime.now(UTC)

    def _describe(self, job: DoubleJob) -> dict[str, Any]:
        if job.job_id in self.undescribed:
            return {}
        duration = (job.ended - job.started).total_seconds() if job.ended and job.started else None
        return {
            "jobId": job.job_id,
            "runId": job.run_id,
            "ownerId": "",
            "phase": job.phase,
            "creationTime": _time(job.created),
            "startTime": _time(job.started),
            "endTime": _time(job.ended),
            "executionDuration": duration,
            "destruction": None,
            "parameters": {"command": ["/bin/bash", "-c", job.command], "environment": job.environment},
            "results": [
                {"id": number, "uri": f"/uws/jobs/{job.job_id}/out/{name}"}
                for number, name in enumerate(job.files)
            ],
            "errorSummary": {"message": ""},
            "jobInfo": {},
        }

    def _give_job(self, job_id: str) -> Reply:
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", job_id):
            return _text_reply(500, "(400) Reason: Bad Request: unable to parse requirement")
        job = self.jobs.get(job_id)
        return json_reply("", 404) if job is None else json_reply(self._describe(job))

    def _give_property(self, job_id: str, name: str) -> Reply:
        if name not in {"phase", "results", "parameters"}:
            return json_reply(f"Invalid job property: {name}", 400)
        job = self.jobs.get(job_id)
        if job is None:
            return json_reply("", 404)
        description = self._describe(job)
        return json_reply(description[name]) if description else json_reply(f"'{name}'", 500)

    def _give_file(self, job_id: str, index: str) -> Reply:
        if not index:
            return json_reply("Invalid result ID", 400)
        job = self.jobs.get(job_id)
        try:
            name = job.files[int(index)] if job else ""
        except (ValueError, IndexError):
            name = ""
        if job is None or not name:
            return _text_reply(404, "Result file not found.")
        content = job.variable("value") if name == "result.json" else "some log"
        kinds = (("Content-Type", "text/html; charset=UTF-8"),)
        return Reply(body=content.encode(), headers=kinds, kind="application/json")

    def _list(self, request: Request) -> Reply:
        phase = request.query.get("phase", "")
        if phase and phase not in _PHASES:
            return _text_reply(400, f"Valid job categories are: {list(_PHASES)}")
        if phase and self.undescribed:
            return _traceback(500)  # it looks for the phase in an empty object
        chosen = [job for job in self.jobs.values() if phase in {"", job.phase}]
        return json_reply([self._describe(job) for job in chosen])

    def _delete(self, job_id: str) -> Reply:
        job = self.jobs.pop(job_id, None)
        if job is None:
            return _text_reply(404, f'(404)\nReason: Not Found\njobs.batch "{job_id}" not found')
        if job.task:
            job.task.cancel()
        return json_reply({"status": "{'startTime': '…'}", "message": "", "code": None})


def _render(body: dict[str, Any], job_id: str) -> tuple[str, list[dict[str, str]]]:
    """What becomes of a request that is pasted into YAML."""
    lines = [_TEMPLATE.format(command=body["command"])]
    source = "" if body.get("url") is None else body["url"]
    given = [
        {"name": "JOB_OUTPUT_DIR", "value": f"/uws/jobs/{job_id}/out"},
        {"name": "JOB_ID", "value": job_id},
        {"name": "SRC_GIT_URL", "value": source},
        {"name": "GIT_COMMIT_REF", "value": body.get("commit_ref", "")},
        *body.get("environment", []),
    ]
    lines += [f'- name: {one["name"]}\n  value: "{one["value"]}"\n' for one in given]
    document = yaml.safe_load("".join(lines))
    (command,) = document["args"]
    if not isinstance(command, str):
        raise TypeError("(422) Reason: Unprocessable Entity: args: expected string")
    return command, document["env"]


def _time(time: datetime | None) -> str | None:
    return None if time is None else str(time.replace(microsecond=0))
