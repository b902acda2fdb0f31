"""A script as its executable runs it (salobj-api section 14)."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import AckError, BaseScript, Domain, ExpectedError, Remote, ScriptState, TestScript
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, make_environment
from support.scripts import FINAL

pytestmark = pytest.mark.asyncio

TESTS = Path(__file__).parents[2]
INDEX = 5

Conduct = Callable[[Remote], Coroutine[Any, Any, None]]


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_arguments(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["script", *arguments])

    return set_arguments


async def wait_for(remote: Remote, *states: ScriptState) -> ScriptState:
    async with asyncio.timeout(WAIT):
        while True:
            state = ScriptState((await remote.evt_state.next(flush=False)).state)
            if state in states:
                return state


async def run_it(remote: Remote, config: str = "") -> None:
    await wait_for(remote, ScriptState.UNCONFIGURED)
    await remote.cmd_configure.set_start(config=config, timeout=WAIT)
    await remote.cmd_setGroupId.set_start(groupId="g", timeout=WAIT)
    await remote.cmd_run.set_start(timeout=WAIT)


async def do_it(remote: Remote) -> None:
    await run_it(remote)


async def stop_it(remote: Remote) -> None:
    await wait_for(remote, ScriptState.UNCONFIGURED)
    await remote.cmd_stop.set_start(timeout=WAIT)


async def let_it_fail(remote: Remote) -> None:
    await run_it(remote, "fail_run: true")


async def misconfigure_it(remote: Remote) -> None:
    await wait_for(remote, ScriptState.UNCONFIGURED)
    with pytest.raises(AckError):
        await remote.cmd_configure.set_start(config="nosuch: 1", timeout=WAIT)


ENDS: dict[ScriptState, tuple[Conduct, int]] = {
    ScriptState.DONE: (do_it, 0),
    ScriptState.STOPPED: (stop_it, 0),
    ScriptState.FAILED: (let_it_fail, 1),
    ScriptState.CONFIGURE_FAILED: (misconfigure_it, 1),
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
async def test_the_exit_status_tells_the_end(
    end: ScriptState, memory_environment: SalSettings, command_line: Callable[..., None]
) -> None:
    conduct, status = ENDS[end]
    command_line(str(INDEX))
    async with Domain() as domain, Remote(domain, "Script", INDEX) as remote:
        conducting = asyncio.create_task(conduct(remote))
        if status:
            with pytest.raises(SystemExit) as caught:
                await TestScript.amain()
            assert caught.value.code == status
        else:
            await TestScript.amain(descr="from the command line")
        await conducting
        assert await wait_for(remote, *FINAL) is end


async def test_a_failing_cleanup_is_raised(
    memory_environment: SalSettings, command_line: Callable[..., None]
) -> None:
    command_line(str(INDEX))
    async with Domain() as domain, Remote(domain, "Script", INDEX) as remote:
        conducting = asyncio.create_task(run_it(remote, "fail_cleanup: true"))
        with pytest.raises(ExpectedError, match="fail_cleanup"):
            await TestScript.amain()
        await conducting


async def test_a_start_that_fails_is_raised(
    memory_environment: SalSettings, command_line: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_script: BaseScript) -> None:
        raise ExpectedError("no start")

    monkeypatch.setattr(TestScript, "start", fail)
    command_line(str(INDEX))
    with pytest.raises(ExpectedError, match="no start"):
        await TestScript.amain()


@pytest.mark.parametrize("arguments", [("--schema",), ("--schema", "5")])
async def test_the_schema_can_be_asked_for(
    arguments: tuple[str, ...], command_line: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command_line(*arguments)
    assert TestScript.make_from_cmd_line() is None
    assert yaml.safe_load(capsys.readouterr().out) == TestScript.get_schema()
    await TestScript.amain()


async def test_a_script_without_a_schema_prints_none(
    command_line: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TestScript, "get_schema", lambda: None)
    command_line("--schema")
    assert TestScript.make_from_cmd_line() is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [(), ("0",), ("one",)])
async def test_an_index_is_needed(
    arguments: tuple[str, ...], command_line: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command_line(*arguments)
    with pytest.raises(SystemExit) as caught:
        TestScript.make_from_cmd_line()
    assert caught.value.code == 2
    assert "index" in capsys.readouterr().err


async def test_a_script_is_a_process(noida_bench: BrokerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make_environment(noida_bench.settings)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with Domain() as domain, Remote(domain, "Script", INDEX) as remote:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.run_test_script", str(INDEX)),
            env={"PATH": os.defpath, **environment, "PYTHONPATH": str(TESTS)},
        )
        try:
            await run_it(remote, "fail_run: true")
            assert await asyncio.wait_for(process.wait(), WAIT) == 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
