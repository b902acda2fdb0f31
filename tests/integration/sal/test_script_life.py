"""The life of a script from its start to its end (salobj-api section 14)."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.sal import script_states
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import (
    AckError,
    BaseMsgType,
    BaseScript,
    DefaultingValidator,
    ExpectedError,
    Remote,
    SalRetCode,
    ScriptState,
    TestScript,
    current_tai,
)
from support.sal_fixtures import WAIT, until
from support.scripts import get_states, open_stage

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("script_environment")]

Work = Callable[["FreeScript"], Awaitable[None]]


@pytest.fixture
def script_environment(memory_environment: SalSettings) -> SalSettings:
    logging.getLogger("Script").setLevel(logging.NOTSET)
    return memory_environment


async def do_nothing(script: "FreeScript") -> None:
    del script


class FreeScript(BaseScript):
    """Without a schema; its work is that of the test."""

    def __init__(self, index: int, work: Work = do_nothing) -> None:
        self.work = work
        self.states_in_cleanup: list[str] = []
        super().__init__(index, "free", help="whatever")

    @classmethod
    @override
    def get_schema(cls) -> None:
        return None

    @override
    async def configure(self, config: SimpleNamespace) -> None:
        assert vars(config) == {}

    @override
    def set_metadata(self, metadata: BaseMsgType) -> None:
        metadata.duration = 7
        metadata.instrument = "LATISS"

    @override
    async def run(self) -> None:
        await self.work(self)

    @override
    async def cleanup(self) -> None:
        self.states_in_cleanup.append(self.state_name)


async def test_a_script_has_an_index() -> None:
    with pytest.raises(ValueError, match="index must not be 0"):
        TestScript(0)


async def test_a_script_is_made_of_its_abstract_methods() -> None:
    text = "configure.*get_schema.*run.*set_metadata"
    with pytest.raises(TypeError, match=text):
        BaseScript(1, "abstract")  # type: ignore[abstract]


async def test_configure_group_id_run_and_then_it_closes_itself() -> None:
    begin = current_tai()
    async with open_stage(TestScript) as stage:
        description = await stage.remote.evt_description.aget(timeout=WAIT)
        assert (description.classname, description.description) == ("TestScript", "A script to test with")
        assert description.help.startswith("Waits")
        await stage.make_ready("wait_time: 0", blockId="BL1")
        assert stage.script.obs_id == "BL1"
        assert stage.script.group_id == "g"
        metadata = await stage.remote.evt_metadata.aget(timeout=WAIT)
        assert metadata.totalCheckpoints == 2
        ack = await stage.command("run")
        assert (ack.ack, ack.result) == (SalRetCode.CMD_COMPLETE, "Done")
        samples = await stage.wait_for_end()
        assert get_states(samples) == [
            *(ScriptState.UNCONFIGURED, ScriptState.CONFIGURED, ScriptState.RUNNING),
            *(ScriptState.ENDING, ScriptState.DONE),
        ]
        assert [(each.lastCheckpoint, each.numCheckpoints) for each in samples[-4:]] == [
            *(("start", 1), ("end", 2), ("end", 2), ("end", 2)),
        ]
        assert {each.groupId for each in samples[2:]} == {"g"}
        assert stage.script.done_task.result() is None
        assert stage.script.num_checkpoints == 2
        stamps = list(stage.script.timestamps.items())
        assert [state for state, _ in stamps] == get_states(samples)
        assert begin <= stamps[0][1] <= stamps[-1][1] <= current_tai()
    # Nothing is left behind, in spite of what closes the script being a task of its own.
    await until(lambda: not [each for each in asyncio.all_tasks() if "Script:5" in each.get_name()])


async def test_the_configuration_is_yaml_with_defaults_filled_in() -> None:
    async with open_stage(TestScript) as stage:
        assert isinstance(stage.script.config_validator, DefaultingValidator)
        await stage.command("configure", config="wait_time: 2.5")
        assert isinstance(stage.script, TestScript)
        assert stage.script.config is not None
        assert vars(stage.script.config) == {"wait_time": 2.5, "fail_run": False, "fail_cleanup": False}


BAD_CONFIGURATIONS = {
    "not YAML": ("a: [", "is not YAML"),
    "no mapping": ("[1]", "is not a mapping"),
    "not valid": ("wait_time: -1", "-1 is less than the minimum"),
    "unknown key": ("nosuch: 1", "nosuch"),
}


@pytest.mark.parametrize(("config", "text"), BAD_CONFIGURATIONS.values(), ids=BAD_CONFIGURATIONS)
async def test_a_failing_configure_is_acknowledged_as_failed_and_is_the_end(config: str, text: str) -> None:
    async with open_stage(TestScript) as stage:
        with pytest.raises(AckError) as caught:
            await stage.command("configure", config=config)
        assert caught.value.ackcmd.ack == SalRetCode.CMD_FAILED
        assert text in caught.value.ackcmd.result
        last = (await stage.wait_for_end())[-1]
        assert last.state == ScriptState.CONFIGURE_FAILED
        assert text in last.reason
        assert stage.script.done_task.result() is None


async def test_bad_checkpoints_and_failing_code_fail_a_configure_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(FreeScript) as stage:
        with pytest.raises(AckError, match="not a regular expression"):
            await stage.command("configure", stopCheckpoint="(")
        assert get_states(await stage.wait_for_end())[-1] == ScriptState.CONFIGURE_FAILED
    monkeypatch.setattr(FreeScript, "set_metadata", lambda *_: 1 / 0)
    async with open_stage(FreeScript, 6) as stage:
        with pytest.raises(AckError, match="division by zero"):
            await stage.command("configure")
        assert get_states(await stage.wait_for_end())[-1] == ScriptState.CONFIGURE_FAILED


async def test_without_a_schema_there_is_nothing_to_configure() -> None:
    async with open_stage(FreeScript) as stage:
        await stage.command("configure", config="")
        metadata = await stage.remote.evt_metadata.aget(timeout=WAIT)
        assert (metadata.duration, metadata.instrument) == (7, "LATISS")
    async with open_stage(FreeScript, 6) as stage:
        with pytest.raises(AckError, match="nothing to configure"):
            await stage.command("configure", config="a: 1")


async def test_commands_in_the_wrong_state_are_refused() -> None:
    async with open_stage(TestScript) as stage:
        for name in ("run", "setGroupId", "resume"):
            with pytest.raises(AckError, match=f"{name} not allowed in state UNCONFIGURED"):
                await stage.command(name)
        await stage.command("configure")
        with pytest.raises(AckError, match="configure not allowed in state CONFIGURED; allowed in UNCONF"):
            await stage.command("configure")
        with pytest.raises(AckError, match="without a group id"):
            await stage.command("run")
        await stage.command("setGroupId", groupId="g")
        await stage.command("setGroupId", groupId="")
        assert stage.script.group_id == ""
        with pytest.raises(AckError, match="without a group id"):
            await stage.command("run")
        assert stage.script.state_name == "CONFIGURED"
        with pytest.raises(ExpectedError, match="fly not allowed in state CONFIGURED; allowed in RUNNING"):
            stage.script.assert_state("fly", [ScriptState.RUNNING])


async def test_the_group_id_is_supplemented_with_a_number() -> None:
    async with open_stage(TestScript) as stage:
        with pytest.raises(RuntimeError, match="no group id"):
            stage.script.next_supplemented_group_id()
        await stage.make_ready()
        assert [stage.script.next_supplemented_group_id() for _ in range(2)] == ["g#1", "g#2"]
        await stage.command("setGroupId", groupId="h")
        assert stage.script.next_supplemented_group_id() == "h#1"


async def test_a_failing_run_is_acknowledged_as_complete_and_tells_the_failure_by_its_state() -> None:
    async with open_stage(TestScript) as stage:
        await stage.make_ready("fail_run: true")
        assert (await stage.command("run")).ack == SalRetCode.CMD_COMPLETE
        samples = await stage.wait_for_end()
        assert get_states(samples)[-2:] == [ScriptState.FAILING, ScriptState.FAILED]
        assert samples[-1].reason == samples[-2].reason == "run failed: failed as fail_run says"
        assert stage.script.done_task.result() is None


async def test_a_run_that_is_broken_is_logged_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def break_down(_script: FreeScript) -> None:
        raise KeyError("k")

    async with open_stage(lambda index: FreeScript(index, break_down)) as stage:
        await stage.make_ready()
        await stage.command("run")
        await stage.wait_for_end()
        assert isinstance(stage.script, FreeScript)
        assert stage.script.states_in_cleanup == ["FAILING"]
    assert any(record.exc_info and "run failed" in record.message for record in caplog.records)


async def test_a_run_that_is_cancelled_from_inside_has_failed() -> None:
    async def cancel_itself(_script: FreeScript) -> None:
        raise asyncio.CancelledError

    async with open_stage(lambda index: FreeScript(index, cancel_itself)) as stage:
        await stage.make_ready()
        await stage.command("run")
        last = (await stage.wait_for_end())[-1]
        assert last.state == ScriptState.FAILED
        assert "nobody had said stop" in last.reason


async def test_a_failing_cleanup_ends_in_done_task() -> None:
    async with open_stage(TestScript) as stage:
        await stage.make_ready("fail_cleanup: true")
        assert (await stage.command("run")).ack == SalRetCode.CMD_COMPLETE
        samples = await stage.wait_for_end()
        assert get_states(samples)[-2:] == [ScriptState.ENDING, ScriptState.FAILED]
        assert "cleanup failed: failed as fail_cleanup says" in samples[-1].reason
        with pytest.raises(ExpectedError, match="fail_cleanup"):
            stage.script.done_task.result()


async def test_heartbeats_come_every_five_seconds_and_the_first_after_one_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paces: list[tuple[float, float]] = []
    gate = asyncio.Event()

    async def run_at_once(
        call: Callable[[], Awaitable[object]], *, interval: float, first_delay: float
    ) -> None:
        paces.append((interval, first_delay))
        await gate.wait()
        await run_periodically(call, interval=0.01)

    monkeypatch.setattr(script_states, "run_periodically", run_at_once)
    async with open_stage(TestScript) as stage:
        await stage.wait_for(ScriptState.UNCONFIGURED)
        assert paces == [(5, 5)]
        assert not stage.remote.evt_heartbeat.has_data
        gate.set()
        for _ in range(2):
            await stage.remote.evt_heartbeat.next(flush=False, timeout=WAIT)


async def test_a_state_that_the_broker_does_not_take_comes_with_a_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(index: int) -> TestScript:
        script = TestScript(index)
        script.heartbeat_interval = 0.05
        return script

    async def refuse(*_: object) -> None:
        raise BrokerError("away")

    async with open_stage(make) as stage:
        await stage.wait_for(ScriptState.UNCONFIGURED)
        with monkeypatch.context() as patch:
            patch.setattr(stage.script.evt_state, "_send", refuse)
            await stage.script.set_state(ScriptState.CONFIGURED)
        await stage.wait_for(ScriptState.CONFIGURED)


async def test_the_log_level_comes_with_the_configuration() -> None:
    async with open_stage(TestScript) as stage:
        await stage.command("configure", logLevel=logging.DEBUG)
        assert stage.script.log.level == logging.DEBUG
        levels: list[Any] = []
        while not levels or levels[-1] != logging.DEBUG:
            levels.append((await stage.remote.evt_logLevel.next(flush=False, timeout=WAIT)).level)


async def test_the_description_names_the_components_that_it_uses() -> None:
    class Operator(FreeScript):
        def __init__(self, index: int) -> None:
            super().__init__(index)
            self.test = Remote(self.domain, "Test", 3, include=[])

    async with open_stage(Operator) as stage:
        description = await stage.remote.evt_description.aget(timeout=WAIT)
        assert description.remotes == "Test:3"
        assert stage.script.test.start_task.done()


async def test_the_reason_may_be_added_to() -> None:
    async with open_stage(TestScript) as stage:
        await stage.script.set_state(reason="one")
        await stage.script.set_state(reason="two", keep_old_reason=True)
        assert stage.script.state.reason == "one; two"
        await stage.script.set_state()
        assert stage.script.state.reason == ""
        assert re.fullmatch("UNCONFIGURED", stage.script.state_name)


async def test_a_script_that_is_closed_from_outside_leaves_its_work() -> None:
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def wait_for_ever(_script: FreeScript) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with open_stage(lambda index: FreeScript(index, wait_for_ever)) as stage:
        await stage.make_ready()
        run = asyncio.create_task(stage.command("run"))
        await begun.wait()
        await stage.script.close()
        assert ended.is_set()
        with pytest.raises(AckError, match="Aborted"):
            await run
