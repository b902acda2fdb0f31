"""A CSC whose back end is a real client on a small server of the tests, which misbehaves on request."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, current_tai

from .api_server_bench import COMMAND
from .api_server_double import ApiServerDouble
from .brokers import BrokerBench
from .csc import QUICK, TIMEOUT, CscBench, Spy, environment_of, final_ack, write_configuration
from .uws_server import UwsServer

__all__ = ["KINDS", "SOME_KINDS", "Pulse", "Served", "ServedBench", "dead_url", "served_bench", "start"]

KINDS = ("uws", "api_server")

SOME_KINDS = (KINDS[0], *(pytest.param(kind, marks=pytest.mark.system) for kind in KINDS[1:]))
"""For tests that take a second or more: the default suite has them with one kind."""

PIPETASK = {
    "name": "pipetask",
    "description": "What the deployed command runs on one of its instances.",
    "parameters": {
        "type": "object",
        "properties": {
            "pipeline": {"type": "string"},
            "version": {"type": "string"},
            "config": {"type": "string"},
            "data_query": {"type": "string"},
            "output_dataset_types": {"type": "string", "default": "*"},
        },
    },
    "api_server": {
        "command": COMMAND,
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": {
            "IMAGE_TAG": "{version}",
            "PIPELINE_URL": "{pipeline}",
            "BUTLER_REPO": "LATISS",
            "RUN_OPTIONS": "-i LATISS/defaults {config}",
            "OUTPUT_GLOB": "{output_dataset_types}",
            "DATA_QUERY": "{data_query}",
        },
    },
}
SLEEP = {
    "name": "sleep",
    "description": "Takes a while, and ends as it is told.",
    "parameters": {
        "type": "object",
        "properties": {
            "duration": {"type": "number", "default": 0},
            "fail": {"type": "string", "default": ""},
            "value": {"type": "string", "default": "7"},
        },
    },
    "api_server": {"command": "run"},
}


@contextmanager
def dead_url() -> Iterator[str]:
    """A URL at which nobody listens, and nobody else can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


MAX_HEARTBEAT_GAP = 5.0
"""More than a busy machine makes of the second between two heartbeats (s); the deployed CSC made 8 s to 12 s
of it while its back end was slow."""


class Pulse:
    """The heartbeats that a Remote hears."""

    def __init__(self, remote: Remote) -> None:
        # The listener comes late; what was before does not count.
        self._stamps = [current_tai()]
        self._beat = asyncio.Event()
        remote.evt_heartbeat.callback = self._hear

    async def _hear(self, data: Any) -> None:
        self._stamps.append(data.private_sndStamp)
        self._beat.set()

    async def goes_on(self, beats: int = 1) -> None:
        """Wait for so many more of them; none of all has come late."""
        wanted = len(self._stamps) + beats
        async with asyncio.timeout(TIMEOUT):
            while len(self._stamps) < wanted:
                self._beat.clear()
                await self._beat.wait()
        self.check()

    def check(self) -> None:
        """None has come late, and the next one is not late either."""
        gaps = [later - earlier for earlier, later in itertools.pairwise([*self._stamps, current_tai()])]
        assert max(gaps) < MAX_HEARTBEAT_GAP


async def start(remote: Remote, command: str = "run", **fields: Any) -> Any:
    """Send a command; its first acknowledgement, whatever it is."""
    topic = getattr(remote, f"cmd_{command}")
    try:
        return await topic.set_start(wait_done=False, timeout=TIMEOUT, **fields)
    except AckError as error:
        return error.ackcmd


@dataclass
class Served:
    """A CSC that is ENABLED, and somebody who listens."""

    csc: OcpsCsc
    remote: Remote
    spy: Spy
    pulse: Pulse
    run_ids: list[str] = field(default_factory=list)

    async def sleep(self, **parameters: Any) -> Any:
        """Run the payload ``sleep``; the first acknowledgement."""
        return await start(self.remote, payload="sleep", parameters=json.dumps(parameters))

    async def end(self, ack: Any, command: str = "run") -> Any:
        """The final acknowledgement."""
        return await final_ack(self.remote, command, ack)


@dataclass
class ServedBench(CscBench):
    """CSCs one after another, with the back ends of their configuration."""

    @override
    async def open_backend(self, name: str, settings: AnyBackendSettings | None) -> Backend:
        assert settings is not None
        return await open_backend(name, settings)

    def configure(
        self, kind: str, url: str, *, required: bool = False, poll_interval: float = 0.05, **values: Any
    ) -> None:
        """Name one back end, ``served``; more ``values`` are keys of the configuration."""
        backend: dict[str, Any] = {"kind": kind, "url": url, "required": required, "call_timeout": 10}
        if kind == "api_server":
            backend["poll_interval"] = poll_interval
        target = write_configuration(
            self.config_dir.parents[1],
            backends={"served": backend},
            default_backend="served",
            execute_payload="pipetask",
            **values,
        )
        for definition in (SLEEP, PIPETASK):
            file = target / f"../../payloads/{definition['name']}.yaml"
            file.resolve().write_text(yaml.safe_dump(definition, sort_keys=False))

    def be_patient(self, **times: float) -> None:
        """Change times of the CSC."""
        self.patience = replace(self.patience, **times)

    @asynccontextmanager
    async def serve(self, kind: str) -> AsyncIterator[UwsServer | ApiServerDouble]:
        """A server of this kind, and a configuration that names it."""
        async with UwsServer() if kind == "uws" else ApiServerDouble() as server:
            self.configure(kind, url_of(server))
            yield server

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Served]:
        """A CSC that is ENABLED, and whose heartbeats never stop, whatever happens to it."""
        async with self.csc() as csc, self.remote() as remote:
            served = Served(csc, remote, Spy(remote), Pulse(remote))
            yield served
            served.pulse.check()


def url_of(server: UwsServer | ApiServerDouble) -> str:
    """What a configuration says."""
    return server.base if isinstance(server, ApiServerDouble) else server.url


@pytest.fixture
def served_bench(memory_bench: BrokerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedBench:
    """A bench on a broker and registry inside this process."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    for name, value in environment_of(memory_bench.settings, state_dir).items():
        monkeypatch.setenv(name, value)
    patience: Patience = replace(QUICK, lookup=1.0, probe=0.3)
    return ServedBench(write_configuration(tmp_path / "config"), state_dir, patience=patience)
