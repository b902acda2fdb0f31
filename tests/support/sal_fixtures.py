"""CSCs, Controllers and Remotes of component Test for tests, and the environment that they need."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import BaseCscTestCase
from support.brokers import BrokerBench
from support.environment import make_environment
from support.sal_csc import SalTestCsc

__all__ = [
    "WAIT",
    "CscCase",
    "drain_states",
    "forget_start",
    "make_environment",
    "open_pair",
    "own_messages",
    "until",
]

WAIT = 20.0
"""Longest wait for anything that has to come (s)."""


class CscCase(BaseCscTestCase):
    """Makes a `SalTestCsc` and a Remote of it, in that order of events that BaseCscTestCase promises."""

    csc: SalTestCsc

    def __init__(self, config_dir: Path) -> None:
        self.config_dir = config_dir

    @override
    def basic_make_csc(
        self,
        initial_state: State | int | None,
        config_dir: str | Path | None,
        simulation_mode: int,
        **kwargs: Any,
    ) -> SalTestCsc:
        return SalTestCsc(
            index=kwargs.pop("index", None) or self.next_index(),
            config_dir=config_dir or self.config_dir,
            initial_state=initial_state,
            simulation_mode=simulation_mode,
            **kwargs,
        )


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that no event tells."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 (nobody sets an event for it)
            await asyncio.sleep(0.01)


def drain_states(remote: Remote) -> list[State]:
    """Take the states that have come and that nobody has taken, the oldest first."""
    states = []
    while (data := remote.evt_summaryState.get_oldest()) is not None:
        states.append(State(data.summaryState))
    return states


async def own_messages(remote: Remote, count: int) -> list[Any]:
    """Wait for so many published log records of a test; the runtime warns meanwhile of what is slow."""
    seen: list[Any] = []
    while len(seen) < count:
        data = await remote.evt_logMessage.next(flush=False, timeout=WAIT)
        if "/lsst/ts/ocps/sal/" not in data.filePath:
            seen.append(data)
    return seen


async def forget_start(case: BaseCscTestCase) -> None:
    """Take away what the CSC has published at its start, once all of it has come."""
    state, error = case.remote.evt_summaryState, case.remote.evt_errorCode

    def has_come() -> bool:
        newest = state.get()
        return newest is not None and newest.summaryState == case.csc.summary_state and error.has_data

    await until(has_come)
    state.flush()
    error.flush()


@asynccontextmanager
async def open_pair(index: int = 1, **kwargs: Any) -> AsyncIterator[tuple[Controller, Remote]]:
    """A bare Controller of component Test and a Remote of it, both started; kwargs are the Remote's."""
    async with Controller("Test", index) as controller:
        if controller.done_task.done():
            controller.done_task.result()
        async with Remote(controller.domain, "Test", index, **kwargs) as remote:
            yield controller, remote


@pytest.fixture
def test_logger() -> Iterator[logging.Logger]:
    """The logger of component Test, as if nobody had touched it; put back at the end."""
    logger = logging.getLogger("Test")
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def sal_environment(
    sal_settings: SalSettings, monkeypatch: pytest.MonkeyPatch, test_logger: logging.Logger
) -> SalSettings:
    """Settings for a broker of each kind, put into the environment."""
    for name, value in make_environment(sal_settings).items():
        monkeypatch.setenv(name, value)
    return sal_settings


@pytest.fixture
def memory_environment(
    memory_settings: SalSettings, monkeypatch: pytest.MonkeyPatch, test_logger: logging.Logger
) -> SalSettings:
    """Settings for a broker inside this process, put into the environment."""
    for name, value in make_environment(memory_settings).items():
        monkeypatch.setenv(name, value)
    return memory_settings


@pytest.fixture
def kafka_environment(
    kafka_bench: BrokerBench, monkeypatch: pytest.MonkeyPatch, test_logger: logging.Logger
) -> SalSettings:
    """Settings for a real broker of each kind, put into the environment."""
    for name, value in make_environment(kafka_bench.settings).items():
        monkeypatch.setenv(name, value)
    return kafka_bench.settings


@pytest.fixture
def bench(broker_bench: BrokerBench, sal_environment: SalSettings) -> BrokerBench:
    """A broker of each kind whose settings are in the environment."""
    return broker_bench


@pytest.fixture
def csc_config_dir(tmp_path: Path) -> Path:
    """A folder with good and bad configuration files for `SalTestCsc`."""
    directory = tmp_path / "Test" / "v1"
    directory.mkdir(parents=True)
    files = {
        "_init.yaml": "string0: initial\nint0: 1\nnested: {a: 1, b: {c: 2}}\nmetadata: {who: me}\n",
        "_test.yaml": "string0: site\nnested: {b: {d: 3}}\n",
        "_other.yaml": "string0: other site\n",
        "over.yaml": "int0: 5\nnested: {b: {c: 7}}\n",
        "empty.yaml": "",
        "list.yaml": "[1]\n",
        "broken.yaml": "int0: [1\n",
        "bad_type.yaml": "int0: not an int\n",
        "bad_name.yaml": "no_such_key: 1\n",
        "scalar_over_mapping.yaml": "nested: 3\n",
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
def case(sal_environment: SalSettings, csc_config_dir: Path) -> CscCase:
    """Makes CSCs on a broker of each kind."""
    return CscCase(csc_config_dir)


@pytest.fixture
def memory_case(memory_environment: SalSettings, csc_config_dir: Path) -> CscCase:
    """Makes CSCs on a broker inside this process."""
    return CscCase(csc_config_dir)
