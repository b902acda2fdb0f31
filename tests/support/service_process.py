"""The UWS service for tests: with a fake executor, in this process, and as a process of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from lsst.ts.ocps.executors.registry import ExecutorRegistry
from lsst.ts.ocps.executors.testing import FakeCluster, FakeExecutor
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.context import ProcessContext, open_context
from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import end_commands, until
from support.service_calls import Calls

__all__ = [
    "FakeService",
    "ServiceProcess",
    "create_running",
    "expire",
    "fake_service",
    "id_of",
    "make_config",
    "shared_service",
    "write_payload",
]

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0

_PROGRAM = """
import asyncio, json, sys
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.errors import ServiceStartError
from lsst.ts.ocps.service.main import serve
try:
    values = json.loads(sys.argv[1]) | {"database_url": sys.stdin.readline() or None}
    asyncio.run(serve(ServiceConfig.model_validate(values)))
except ServiceStartError as error:
    sys.exit(f"cannot start: {error}")
"""

_ECHO = """
import json, os, sys
print("said on standard output")
with open(os.path.join(os.environ["JOB_OUTPUT_DIR"], "result.json"), "w") as file:
    json.dump({"arguments": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}, file)
"""


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_TEXT = {"type": "string", "default": ""}

_VOTABLE = (
    (
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
        '<INFO name="QUERY_STATUS" value="OK"/><TABLE><FIELD name="query" datatype="char" arraysize="*"/>'
        "<DATA><TABLEDATA><TR><TD>"
    ),
    "{QUERY}",
    "</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>",
)
"""A table whose one cell is what was asked."""

PAYLOADS: dict[str, dict[str, Any]] = {
    "sleep": {
        "parameters": _object(seconds={"type": "number", "default": 60, "minimum": 0}),
        "run": {"command": ["sleep", "{seconds}"]},
    },
    "echo": {
        "parameters": _object(
            text=_TEXT,
            number={"type": "integer", "default": 1},
            words={"type": "array", "items": {"type": "string"}, "default": []},
            needed={"type": "string"},
        )
        | {"required": ["needed"]},
        "run": {
            "command": [
                *("python", "-I", "-S", "-c", _ECHO.replace("{", "{{").replace("}", "}}")),
                *("--text={text}", "--number={number}", "--words={words}", "--needed={needed}"),
            ],
            "environment": {"PAYLOAD_SAYS": "{not a placeholder}"},
        },
    },
    "fail": {
        "parameters": _object(
            message={**_TEXT, "default": "it went wrong"}, code={"type": "integer", "default": 1}
        ),
        "run": {
            "command": ["sh", "-c", 'echo warming up >&2; echo "$0" >&2; exit "$1"', "{message}", "{code}"],
            "allow_dash": ["code"],
        },
    },
    "shell": {
        "parameters": _object(script=_TEXT),
        "run": {"command": ["sh", "-c", 'eval "$1"', "sh", "{script}"], "allow_dash": ["script"]},
        "execution_duration": 0,
    },
    "query": {
        "parameters": _object(QUERY=_TEXT, LANG=_TEXT),
        "run": {"command": ["sh", "-c", 'printf "%s" "$1$2$3" > "$JOB_OUTPUT_DIR/result"', "sh", *_VOTABLE]},
    },
    "table": {
        "run": {
            "command": ["sh", "-c", 'cd "$JOB_UPLOAD_DIR" && cat sources mask > "$JOB_OUTPUT_DIR/result"'],
            "uploads": {"sources": {"required": True}, "mask": {}},
        },
    },
    "select": {
        "parameters": _object(script=_TEXT),
        "run": {
            "command": ["sh", "-c", 'eval "$1"', "sh", "{script}"],
            "results": [{"pattern": "maps/*", "mime_type": "image/fits"}, {"pattern": "*.fits"}],
        },
    },
    "tight": {
        "parameters": _object(script=_TEXT),
        "run": {
            "command": ["sh", "-c", 'eval "$1"', "sh", "{script}"],
            "allow_dash": ["script"],
            "disk": "1MiB",
        },
    },
    "brief": {
        "parameters": _object(),
        "run": {"command": ["sleep", "60"]},
        "execution_duration": 1,
    },
}
"""Payloads made for tests, without name and description."""

FAKE_PAYLOADS: dict[str, dict[str, Any]] = {
    "work": {"parameters": _object(text=_TEXT), "run": {"command": ["wait"], "executor": "fake"}},
    "several": {
        "parameters": _object(a=_TEXT, b=_TEXT, c=_TEXT),
        "run": {"command": ["wait"], "executor": "fake"},
    },
    "take": {
        "parameters": _object(),
        "run": {
            "command": ["wait"],
            "executor": "fake",
            "uploads": {"table": {"required": True}, "mask": {}},
        },
    },
    "urgent": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake", "priority": 5},
    },
    "large": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake", "cpus": 2, "memory": "768MiB"},
    },
    "tiny": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake", "cpus": 0.1},
    },
    "huge": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake", "cpus": 2.5},
    },
    "single": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake"},
        "max_active": 1,
    },
    "alone": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake"},
        "mode": "synchronous",
    },
    "bounded": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake"},
        "execution_duration": 100,
        "destruction": "PT1H",
    },
    "quoted": {
        "parameters": _object(),
        "run": {"command": ["wait"], "executor": "fake"},
        "expected_duration": 1000,
    },
    "elsewhere": {"parameters": _object(), "api_server": {"command": "bin/pipetask.sh"}},
}
"""Payloads that run nowhere."""


def write_payload(directory: Path, name: str, definition: dict[str, Any]) -> None:
    """Write a definition file."""
    directory.mkdir(exist_ok=True)
    content = {"name": name, "description": f"The payload {name}, for tests.", **definition}
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def make_config(directory: Path, payloads: dict[str, dict[str, Any]], **values: Any) -> ServiceConfig:
    """The configuration of a service on a free port with some payloads; everything is below a directory."""
    for name, definition in payloads.items():
        write_payload(directory / "payloads", name, definition)
    defaults = {
        "payload_directories": (directory / "payloads",),
        "data_directory": directory / "data",
        "port": 0,
        # The name by which the calls without network ask.
        "access": {"mode": "anonymous", "hosts": ["uws.example"]},
        # More than any machine of a test has: most tests are not about room.
        "cpus": 1000,
        "memory": 2**40,
        "kill_grace": 0.5,
        "attach_patience": 0.5,
    }
    return ServiceConfig(**(defaults | values))


@dataclass(frozen=True)
class FakeService:
    """A service without network and without processes."""

    calls: Calls
    cluster: FakeCluster
    context: ProcessContext
    config: ServiceConfig


@asynccontextmanager
async def fake_service(
    directory: Path, *, cluster: FakeCluster | None = None, **values: Any
) -> AsyncIterator[FakeService]:
    """A service whose commands run in a `FakeCluster`; give it one to play a restart."""
    config = make_config(directory, FAKE_PAYLOADS, **values)
    own = cluster or FakeCluster()
    registry = ExecutorRegistry({"fake": lambda listener: FakeExecutor(listener, cluster=own)})
    async with open_context(config, registry) as context:
        transport = httpx.ASGITransport(create_app(config, context))
        async with httpx.AsyncClient(transport=transport, base_url="http://uws.example") as http:
            yield FakeService(Calls(http), own, context, config)


def id_of(path: str) -> str:
    """The id of the job at a path."""
    return path.rpartition("/")[2]


async def create_running(fake: FakeService, payload: str = "work", *, calls: Calls | None = None) -> str:
    """Create a job, with other calls than those of everybody if need be, and wait until it runs; its path."""
    calls = calls or fake.calls
    path = await calls.create(payload, PHASE="RUN")
    assert (await calls.executing(path)).phase is ExecutionPhase.EXECUTING
    return path


async def expire(fake: FakeService, path: str) -> None:
    """Let the time of destruction of a job come now: a request that says so might come too late."""
    assert await fake.context.store.set_destruction(id_of(path), now())
    fake.context.jobs._reaper.note_destruction(now())


class ServiceProcess:
    """A service as a process of its own; its commands are ended with it.

    Parameters
    ----------
    config
        Its configuration.
    log
        Where its standard error goes.
    """

    def __init__(self, config: ServiceConfig, log: Path) -> None:
        self.config = config
        self.log = log
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, or start again after an end."""
        offset = await asyncio.to_thread(self._launch)
        await until(
            lambda: self._find_url(offset) or self._has_ended(),
            "the service answers",
            seconds=_START_TIMEOUT,
        )
        assert not self._has_ended(), self.log.read_text()[offset:]

    async def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it as an operator would."""
        assert await self._end(signal.SIGTERM) == 0, self.log.read_text()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(_STOP_TIMEOUT)
        end_commands(self.config.jobs_directory)

    def _launch(self) -> int:
        """Start the process; where its records begin in the log."""
        with self.log.open("ab") as log:
            arguments = [sys.executable, "-c", _PROGRAM, self.config.model_dump_json()]
            self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=log, stderr=log)
            assert self.process.stdin is not None
            with self.process.stdin as channel:
                # A secret that is not shown, not even by the configuration itself.
                if self.config.database_url is not None:
                    channel.write(self.config.database_url.get_secret_value().encode())
            return log.tell()

    async def _end(self, number: signal.Signals) -> int:
        process = self.process
        assert process is not None
        os.kill(process.pid, number)
        return await asyncio.to_thread(process.wait, _STOP_TIMEOUT)

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _find_url(self, offset: int) -> bool:
        for line in self.log.read_bytes()[offset:].decode().splitlines(keepends=True):
            if line.endswith("\n") and '"service started"' in line:
                self.url = json.loads(line)["url"]
                return True
        return False


@contextmanager
def shared_service(
    folders: pytest.TempPathFactory, payloads: dict[str, dict[str, Any]]
) -> Iterator[ServiceProcess]:
    """A service as a process of its own, for a whole module."""
    folder = folders.mktemp("service")
    process = ServiceProcess(make_config(folder, payloads), folder / "service.log")
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.close()


@pytest.fixture
def service_database() -> dict[str, Any]:
    """What tells services which database to use: SQLite; overridden where a suite runs on all kinds."""
    return {}


@pytest_asyncio.fixture
async def fake(tmp_path: Path, service_database: dict[str, Any]) -> AsyncIterator[FakeService]:
    """A service without network and without processes."""
    async with fake_service(tmp_path, **service_database) as service:
        yield service


@pytest_asyncio.fixture
async def calls(tmp_path: Path, service_database: dict[str, str]) -> AsyncIterator[Calls]:
    """Calls to a service in this process, with real HTTP and real commands."""
    config = make_config(tmp_path, PAYLOADS, **service_database)
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            yield calls
    finally:
        end_commands(config.jobs_directory)


@pytest.fixture
def make_service_process(
    tmp_path: Path, service_database: dict[str, str]
) -> Iterator[Callable[..., ServiceProcess]]:
    """Make services as processes of their own; they are ended, with their commands, after the test."""
    made: list[ServiceProcess] = []

    def make(**values: Any) -> ServiceProcess:
        config = make_config(tmp_path, PAYLOADS, **(service_database | values))
        made.append(ServiceProcess(config, tmp_path / f"service-{len(made)}.log"))
        return made[-1]

    yield make
    for process in made:
        process.close()
