"""A CSC as a process of its own, and as the command line makes it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.states import set_summary_state
from lsst.ts.ocps.sal.tai import current_tai
from support.brokers import BrokerBench
from support.ports import free_port
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, make_environment

pytestmark = pytest.mark.asyncio

TESTS = Path(__file__).parents[2]


class SalIndex(IntEnum):
    ONE = 1
    OTHER = 101


@pytest.fixture
def process_environment(noida_bench: BrokerBench, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    environment = make_environment(noida_bench.settings)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return {"PATH": os.defpath, **environment, "PYTHONPATH": str(TESTS)}


@asynccontextmanager
async def run_csc(environment: dict[str, str], *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.run_sal_csc", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_for_state(remote: Remote, state: State, since: float) -> None:
    async with asyncio.timeout(WAIT):
        while True:
            data = await remote.evt_summaryState.next(flush=False)
            if data.summaryState == state and data.private_sndStamp > since:
                return


@asynccontextmanager
async def open_remote(index: int) -> AsyncIterator[Remote]:
    async with Domain() as domain, Remote(domain, "Test", index) as remote:
        yield remote


async def test_a_csc_process_obeys_and_leaves_with_status_0(
    process_environment: dict[str, str], csc_config_dir: Path
) -> None:
    arguments = ("5", "--configdir", str(csc_config_dir), "--state", "disabled", "--override", "over.yaml")
    since = current_tai()
    async with open_remote(5) as remote, run_csc(process_environment, *arguments) as process:
        await wait_for_state(remote, State.DISABLED, since)
        applied = await remote.evt_configurationApplied.aget(timeout=WAIT)
        assert applied.configurations.endswith("over.yaml")
        await set_summary_state(remote, State.ENABLED, timeout=WAIT)
        ackcmd = await remote.cmd_wait.set_start(duration=0.1, timeout=WAIT)
        assert ackcmd.private_origin == process.pid
        await set_summary_state(remote, State.OFFLINE, timeout=WAIT)
        assert await asyncio.wait_for(process.wait(), WAIT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_status_0_and_no_state(
    process_environment: dict[str, str], csc_config_dir: Path, number: signal.Signals
) -> None:
    since = current_tai()
    async with open_remote(5) as remote:
        async with run_csc(process_environment, "5", "--configdir", str(csc_config_dir)) as process:
            await wait_for_state(remote, State.STANDBY, since)
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), WAIT) == 0
        assert remote.evt_summaryState.get_oldest() is None


async def test_a_second_instance_ends_with_status_1_and_says_why(
    process_environment: dict[str, str], csc_config_dir: Path
) -> None:
    arguments = ("5", "--configdir", str(csc_config_dir))
    since = current_tai()
    async with open_remote(5) as remote, run_csc(process_environment, *arguments) as first:
        await wait_for_state(remote, State.STANDBY, since)
        async with run_csc(process_environment, *arguments) as second:
            _, errors = await asyncio.wait_for(second.communicate(), WAIT)
            assert second.returncode == 1
            text = (
                f"Test:5 with origin={second.pid} quitting: found another instance with origin={first.pid}."
            )
            assert text in errors.decode()
        assert first.returncode is None


WRONG_USES: list[tuple[str, tuple[str, ...], int, str]] = [
    ("LSST_TOPIC_SUBNAME", ("5",), 1, "LSST_TOPIC_SUBNAME"),
    ("LSST_SITE", ("5",), 1, "Environment variable $LSST_SITE not defined."),
    ("", (), 2, "index"),
    ("", ("5", "--nosuch"), 2, "nosuch"),
    ("", ("5", "--simulate", "7"), 2, "7"),
    ("", ("--version",), 0, "1.2.3"),
]


@pytest.mark.parametrize("use", WRONG_USES, ids=lambda use: " ".join((use[0], *use[1])))
async def test_wrong_use_ends_it_with_a_status_and_a_reason(
    process_environment: dict[str, str], csc_config_dir: Path, use: tuple[str, tuple[str, ...], int, str]
) -> None:
    removed, arguments, status, text = use
    environment = {name: value for name, value in process_environment.items() if name != removed}
    environment["TS_CONFIG_OCS_DIR"] = str(csc_config_dir.parents[1])
    async with run_csc(environment, *arguments) as process:
        output, errors = await asyncio.wait_for(process.communicate(), WAIT)
        assert process.returncode == status
        assert text in (output + errors).decode()


async def test_an_absent_broker_is_named(process_environment: dict[str, str], csc_config_dir: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = process_environment | {"LSST_KAFKA_BROKER_ADDR": address, "OCPS_CONNECT_TIMEOUT": "0.5"}
    async with run_csc(environment, "5", "--configdir", str(csc_config_dir)) as process:
        _, errors = await asyncio.wait_for(process.communicate(), WAIT)
        assert process.returncode == 1
        assert address in errors.decode()


async def make_with(monkeypatch: pytest.MonkeyPatch, index: Any, *arguments: str) -> dict[str, Any]:
    """What the constructor is called with for a command line."""
    calls: list[dict[str, Any]] = []

    class Recorder(SalTestCsc):
        def __init__(self, **kwargs: Any) -> None:
            calls.append(dict(kwargs))
            super().__init__(kwargs.pop("index", 1), **kwargs)

    monkeypatch.setattr(sys, "argv", ["run_test", *arguments])
    csc = Recorder.make_from_cmd_line(index=index)
    assert not csc.check_if_duplicate
    await csc.close()
    return calls[0]


PLAIN = {"simulation_mode": 0, "override": "", "config_dir": None}

COMMAND_LINES: list[tuple[Any, tuple[str, ...], dict[str, Any]]] = [
    (True, ("7",), PLAIN | {"index": 7}),
    (SalIndex, ("101",), PLAIN | {"index": 101}),
    (3, (), PLAIN | {"index": 3}),
    (None, ("--simulate",), PLAIN | {"simulation_mode": 1}),
    (None, ("--state", "offline"), PLAIN | {"initial_state": State.OFFLINE}),
    (None, ("--override", "x.yaml"), PLAIN | {"override": "x.yaml"}),
]


@pytest.mark.parametrize("line", COMMAND_LINES, ids=lambda line: " ".join((str(line[0]), *line[1])))
async def test_arguments_become_those_of_the_constructor(
    memory_environment: SalSettings,
    csc_config_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[Any, tuple[str, ...], dict[str, Any]],
) -> None:
    index, arguments, expected = line
    monkeypatch.setenv("TS_CONFIG_OCS_DIR", str(csc_config_dir.parents[1]))
    assert await make_with(monkeypatch, index, *arguments) == expected


async def test_an_index_that_is_not_one_of_the_enumeration_is_refused(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        await make_with(monkeypatch, SalIndex, "7")
    assert "101" in capsys.readouterr().err
