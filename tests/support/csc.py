"""An `OcpsCsc` and a Remote to talk to it, on the in-memory broker or any other."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.settings import AnyBackendSettings, UwsSettings
from lsst.ts.ocps.client.testing import FakeBackend, FakeService, Script
from lsst.ts.ocps.csc.backends import to_stored_settings
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.broker_kinds import CSC_KINDS, parametrize_kinds
from support.brokers import BrokerBench
from support.environment import make_environment

__all__ = [
    "QUICK",
    "CscBench",
    "Spy",
    "check_pairs",
    "environment_of",
    "eventually",
    "final_ack",
    "write_configuration",
]

TIMEOUT = 20.0
"""Longest wait for anything that a test expects (s)."""

QUICK = Patience(create=1.0, trouble=0.5, missing=0.2, abort=1.0, doubtful_start=0.1, between_reads=0.1)
"""Times of a patient CSC, shortened where a test would have to wait for them."""

EXECUTE_PARAMETERS = ("pipeline", "version", "config", "data_query", "output_dataset_types")

PAYLOADS: dict[str, dict[str, Any]] = {
    "echo": {
        "description": "Says what it was told.",
        "parameters": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "default": "hello"},
                "count": {"type": "integer", "minimum": 1, "default": 1},
                "secret": {"type": "string", "writeOnly": True},
            },
            "additionalProperties": False,
        },
        "expected_duration": 30,
        "execution_duration": 300,
    },
    "narrow": {"description": "One at a time, the others wait.", "max_active": 1},
    "exclusive": {
        "description": "One at a time, the others are refused.",
        "max_active": 1,
        "when_busy": "reject",
    },
    "short": {"description": "Says that it takes half a second.", "expected_duration": 0.5},
    "execute": {
        "description": "What the deployed command runs.",
        "parameters": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in EXECUTE_PARAMETERS},
            "additionalProperties": False,
        },
    },
}


def environment_of(settings: SalSettings, state_dir: Path) -> dict[str, str]:
    """The environment variables of a CSC that uses a broker."""
    return make_environment(settings) | {"OCPS_STATE_DIR": str(state_dir)}


def write_configuration(folder: Path, **values: Any) -> Path:
    """Write a configuration and payload definitions; returns the folder of the configuration files."""
    target, payloads = folder / "OCPS" / "v5", folder / "payloads"
    target.mkdir(parents=True, exist_ok=True)
    payloads.mkdir(exist_ok=True)
    config = {
        "backends": {"fake": {"kind": "uws", "url": "http://fake.invalid", "required": True}},
        "default_backend": "fake",
        "payload_directories": ["../../payloads"],
        "execute_payload": "execute",
    }
    (target / "_init.yaml").write_text(yaml.safe_dump(config | values))
    for name, definition in PAYLOADS.items():
        (payloads / f"{name}.yaml").write_text(yaml.safe_dump({"name": name} | definition))
    return target


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 (what is waited for is outside of what is tested)
            await asyncio.sleep(0.01)


class Spy:
    """Everything that a Remote hears of the job events and acknowledgements, in the order of arrival."""

    EVENTS = ("job_id", "job_phase", "job_output", "job_metric", "job_result", "active_jobs")

    def __init__(self, remote: Remote) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._changed = asyncio.Event()
        for name in self.EVENTS:
            getattr(remote, f"evt_{name}").callback = self._listen_to(name)

    def _listen_to(self, name: str) -> Any:
        async def hear(data: Any) -> None:
            self.heard.append((name, data))
            self._changed.set()

        return hear

    def names(self) -> list[str]:
        """What was heard, active jobs aside, in the order in which it was written: callbacks of different
        topics do not wait for each other."""
        written = sorted(self.heard, key=lambda item: item[1].private_sndStamp)
        return [name for name, _ in written if name != "active_jobs"]

    def of(self, name: str) -> list[Any]:
        """All that was heard of one event."""
        return [data for heard, data in self.heard if heard == name]

    async def wait_for(self, name: str, count: int = 1) -> list[Any]:
        """Wait until so many of one event were heard."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.of(name)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(name)

    def phases(self, run_id: str | None = None) -> list[str]:
        """The phases heard, of one run or of all."""
        return [data.phase for data in self.of("job_phase") if run_id in {None, data.run_id}]


@dataclass
class CscBench:
    """What a test needs to run CSCs one after another on one broker, one ledger and one fake service."""

    config_dir: Path
    state_dir: Path
    service: FakeService = field(default_factory=FakeService)
    patience: Patience = QUICK

    @property
    def stored_backend(self) -> dict[str, Any]:
        """The settings of the fake back end as runs keep them."""
        return to_stored_settings("fake", UwsSettings(url="http://fake.invalid", required=True))

    async def open_backend(self, name: str, _settings: AnyBackendSettings | None) -> Backend:
        return FakeBackend(name, self.service)

    @asynccontextmanager
    async def csc(self, state: State = State.ENABLED) -> AsyncIterator[OcpsCsc]:
        """A CSC in a state; what the fake service does goes on when it is closed."""
        csc = OcpsCsc(
            index=1,
            config_dir=self.config_dir,
            initial_state=state,
            opener=self.open_backend,
            patience=self.patience,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                await csc.start_task
            assert csc.isopen, csc.done_task.exception()
            assert csc.summary_state is state
            yield csc
        finally:
            await csc.close()

    @asynccontextmanager
    async def remote(self, **kwargs: Any) -> AsyncIterator[Remote]:
        """A Remote as another process has one."""
        async with Domain() as domain, Remote(domain, "OCPS", 1, **kwargs) as remote:
            yield remote

    def on_end(self, phase: ExecutionPhase = ExecutionPhase.COMPLETED, **script: Any) -> None:
        """What the jobs of the fake service do from now on."""
        self.service.script = Script(outcome=phase, **script)


async def final_ack(remote: Remote, command: str, ack: Any) -> Any:
    """The final acknowledgement of a command whose first one has come; errors are returned, not raised."""
    topic = getattr(remote, f"cmd_{command}")
    try:
        return await topic.next_ackcmd(ack, timeout=TIMEOUT)
    except Exception as error:
        if hasattr(error, "ackcmd"):
            return error.ackcmd
        raise


def check_pairs(results: Sequence[Any], finals: Mapping[str, Any]) -> None:
    """Each ``job_result`` is followed by the final acknowledgement of its job, and by nothing of another one.

    Parameters
    ----------
    results
        The records of ``job_result``.
    finals
        The final acknowledgements, by job id.
    """
    told = [(data.private_sndStamp, f"job_result {data.job_id}") for data in results]
    told += [(ack.private_sndStamp, f"ack {job_id}") for job_id, ack in finals.items()]
    written = [what for _, what in sorted(told)]
    assert len(written) == 2 * len(finals)
    assert written[1::2] == [what.replace("job_result", "ack") for what in written[::2]], written


def parameters(**values: Any) -> str:
    return json.dumps(values)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the CSC in memory and on Apache Kafka with TLS and logins."""
    parametrize_kinds(metafunc, "csc_broker", CSC_KINDS)


def _make_bench(broker_bench: BrokerBench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> CscBench:
    state_dir = folder / "state"
    state_dir.mkdir()
    for name, value in environment_of(broker_bench.settings, state_dir).items():
        monkeypatch.setenv(name, value)
    return CscBench(write_configuration(folder / "config"), state_dir)


@pytest.fixture
def csc_bench(
    csc_broker: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CscBench:
    """A bench on a broker and registry inside this process, and, as system test, on Apache Kafka."""
    broker_bench = request.getfixturevalue(f"{csc_broker}_bench")
    assert isinstance(broker_bench, BrokerBench)
    return _make_bench(broker_bench, tmp_path, monkeypatch)


@pytest.fixture
def memory_csc(memory_bench: BrokerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CscBench:
    """A bench inside this process only, for what another broker shows no better."""
    return _make_bench(memory_bench, tmp_path, monkeypatch)
