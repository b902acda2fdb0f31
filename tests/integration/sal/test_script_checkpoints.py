"""Scripts are paused, resumed and stopped (salobj-api section 14)."""

import asyncio
import logging

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import AckError, ExpectedError, SalRetCode, ScriptState, TestScript
from support.sal_fixtures import WAIT
from support.scripts import Stage, get_states, open_stage

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("script_environment")]

LONG = f"wait_time: {10 * WAIT}"


@pytest.fixture
def script_environment(memory_environment: SalSettings) -> SalSettings:
    logging.getLogger("Script").setLevel(logging.NOTSET)
    return memory_environment


class Tidy(TestScript):
    """Notes in which state it tidies up."""

    def __init__(self, index: int) -> None:
        self.states_in_cleanup: list[str] = []
        super().__init__(index)

    @override
    async def cleanup(self) -> None:
        self.states_in_cleanup.append(self.state_name)


async def assert_stopped(stage: Stage) -> None:
    samples = await stage.wait_for_end()
    assert get_states(samples)[-2:] == [ScriptState.STOPPING, ScriptState.STOPPED]
    assert isinstance(stage.script, Tidy)
    assert stage.script.states_in_cleanup == ["STOPPING"]
    assert stage.script.done_task.result() is None


async def test_it_pauses_at_a_checkpoint_until_it_is_resumed() -> None:
    async with open_stage(TestScript) as stage:
        await stage.make_ready(pauseCheckpoint="sta.*")
        assert stage.script.checkpoints.pause == "sta.*"
        run = asyncio.create_task(stage.command("run"))
        paused = (await stage.wait_for(ScriptState.PAUSED))[-1]
        assert (paused.lastCheckpoint, paused.numCheckpoints) == ("start", 1)
        with pytest.raises(ExpectedError, match="run not allowed in state PAUSED"):
            # Of the same topic, so directly: the command under way comes first.
            await stage.script.do_run(None)  # type: ignore[arg-type]
        await stage.command("resume")
        assert (await run).ack == SalRetCode.CMD_COMPLETE
        assert get_states(await stage.wait_for_end()) == [
            *(ScriptState.RUNNING, ScriptState.ENDING, ScriptState.DONE),
        ]
        assert stage.script.num_checkpoints == 2


async def test_it_stops_at_a_checkpoint() -> None:
    async with open_stage(Tidy) as stage:
        await stage.make_ready(stopCheckpoint="end")
        assert (await stage.command("run")).ack == SalRetCode.CMD_COMPLETE
        await assert_stopped(stage)
        assert stage.script.state.lastCheckpoint == "end"
        assert "checkpoint 'end'" in stage.script.state.reason


async def test_an_expression_has_to_match_the_whole_name() -> None:
    async with open_stage(TestScript) as stage:
        await stage.make_ready(pauseCheckpoint="star", stopCheckpoint="nd")
        await stage.command("run")
        assert get_states(await stage.wait_for_end())[-1] == ScriptState.DONE


async def test_checkpoints_can_be_set_at_any_time() -> None:
    async with open_stage(Tidy) as stage:
        await stage.make_ready(pauseCheckpoint="start")
        run = asyncio.create_task(stage.command("run"))
        await stage.wait_for(ScriptState.PAUSED)
        with pytest.raises(AckError, match="not a regular expression"):
            await stage.command("setCheckpoints", pause="(", stop="end")
        assert stage.script.checkpoints.pause == "start"
        await stage.command("setCheckpoints", pause="", stop=".*")
        event = await stage.remote.evt_checkpoints.aget(timeout=WAIT)
        assert (event.pause, event.stop) == ("", ".*")
        await stage.command("resume")
        await run
        await assert_stopped(stage)


async def test_stop_ends_a_run_at_once() -> None:
    async with open_stage(Tidy) as stage:
        await stage.make_ready(LONG)
        run = asyncio.create_task(stage.command("run"))
        await stage.wait_for(ScriptState.RUNNING)
        assert (await stage.command("stop")).ack == SalRetCode.CMD_COMPLETE
        assert (await run).ack == SalRetCode.CMD_COMPLETE
        await assert_stopped(stage)


async def test_stop_ends_a_pause() -> None:
    async with open_stage(Tidy) as stage:
        await stage.make_ready(pauseCheckpoint=".*")
        run = asyncio.create_task(stage.command("run"))
        await stage.wait_for(ScriptState.PAUSED)
        await stage.command("stop")
        await run
        await assert_stopped(stage)


@pytest.mark.parametrize("is_ready", [False, True])
async def test_a_script_can_be_stopped_before_it_runs(is_ready: bool) -> None:
    async with open_stage(Tidy) as stage:
        await stage.wait_for(ScriptState.UNCONFIGURED)
        if is_ready:
            await stage.make_ready()
        await stage.command("stop")
        await assert_stopped(stage)


async def test_stop_ends_a_configure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def configure(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Tidy, "configure", configure)
    async with open_stage(Tidy) as stage:
        configuring = asyncio.create_task(stage.command("configure"))
        await begun.wait()
        await stage.command("stop")
        with pytest.raises(AckError, match="stopped meanwhile"):
            await configuring
        await assert_stopped(stage)


async def test_methods_of_commands_may_be_called_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    async def run(_script: Tidy) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("the run has ended")

    async def cleanup(_script: Tidy) -> None:
        events.append("cleanup")

    monkeypatch.setattr(Tidy, "run", run)
    monkeypatch.setattr(Tidy, "cleanup", cleanup)
    async with open_stage(Tidy) as stage:
        await stage.make_ready()
        running = asyncio.create_task(stage.script.do_run(stage.script.cmd_run.DataType()))
        await stage.wait_for(ScriptState.RUNNING)
        await stage.script.do_stop(stage.script.cmd_stop.DataType())
        await running
        await stage.wait_for_end()
        assert events == ["the run has ended", "cleanup"]
        assert stage.script.state_name == "STOPPED"


async def test_stop_changes_nothing_in_a_script_that_is_ending() -> None:
    async with open_stage(TestScript) as stage:
        await stage.make_ready()
        await stage.command("run")
        await stage.wait_for_end()
        await stage.script.do_stop(None)  # type: ignore[arg-type]
        assert stage.script.state_name == "DONE"


async def test_whoever_ignores_the_stop_meets_it_at_the_next_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(script: Tidy) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await script.checkpoint("once more")

    monkeypatch.setattr(Tidy, "run", run)
    async with open_stage(Tidy) as stage:
        await stage.make_ready()
        running = asyncio.create_task(stage.command("run"))
        await stage.wait_for(ScriptState.RUNNING)
        await stage.command("stop")
        await running
        await assert_stopped(stage)


async def test_there_is_no_checkpoint_outside_a_run() -> None:
    async with open_stage(TestScript) as stage:
        with pytest.raises(RuntimeError, match="checkpoint 'x' in state UNCONFIGURED, not RUNNING"):
            await stage.script.checkpoint("x")
