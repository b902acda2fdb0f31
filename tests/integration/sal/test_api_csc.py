"""A configurable CSC: start, states, faults, configuration, logging, on a broker of each kind."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.base_csc import BaseCsc
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.errors import AckError, BrokerError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.states import make_state_transition_dict, set_summary_state
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.brokers import BrokerBench
from support.ports import free_port
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, until
from support.sal_log import read_samples

pytestmark = pytest.mark.asyncio

BAD_TYPE = "<ValidationError: \"'not an int' is not of type 'integer'\">"

STATE_COMMANDS = ("start", "enable", "disable", "standby", "exitControl")


async def go_to(case: CscCase, state: State) -> None:
    await set_summary_state(case.remote, state, timeout=WAIT)


def has_state(remote: Remote, state: State) -> bool:
    data = remote.evt_summaryState.get()
    return data is not None and data.summaryState == state


def drain_states(remote: Remote) -> list[State]:
    states = []
    while (data := remote.evt_summaryState.get_oldest()) is not None:
        states.append(State(data.summaryState))
    return states


# Start


async def test_the_records_of_a_start_come_in_the_order_of_the_protocol(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote = case.remote
        names = (
            "logLevel",
            "simulationMode",
            "softwareVersions",
            "summaryState",
            "errorCode",
            "configurationsAvailable",
        )
        samples = [await getattr(remote, f"evt_{name}").next(flush=False, timeout=WAIT) for name in names]
        stamps = [data.private_sndStamp for data in samples]
        assert stamps == sorted(stamps)
        heartbeat = await remote.evt_heartbeat.next(flush=False, timeout=WAIT)
        assert stamps[0] < heartbeat.private_sndStamp < stamps[2]
        assert heartbeat.heartbeat is False
        level, mode, versions, state, error, available = samples
        assert level.level == logging.INFO
        assert mode.mode == 0
        assert (versions.cscVersion, versions.salVersion, versions.subsystemVersions) == ("1.2.3", "", "")
        assert versions.xmlVersion == case.csc.salinfo.component_info.xml_version
        assert state.summaryState == State.STANDBY
        assert (error.errorCode, error.errorReport, error.traceback) == (0, "", "")
        assert available.overrides.startswith("bad_name.yaml,bad_type.yaml,broken.yaml")
        assert (available.schemaVersion, available.version) == ("v1", "")
        assert available.url == case.csc.config_dir.as_uri()


async def test_heartbeats_go_on_in_every_state(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        case.csc.heartbeat_interval = 0.1  # the loop has begun with one second
        stamps = [
            (await case.remote.evt_heartbeat.next(flush=False, timeout=WAIT)).private_sndStamp
            for _ in range(3)
        ]
        assert stamps[2] - stamps[0] == pytest.approx(2.0, abs=1.5)


async def test_an_initial_state_is_reached_by_the_usual_transitions(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.ENABLED, override="over.yaml"):
        assert case.csc.summary_state is State.ENABLED
        await case.assert_next_summary_state(State.ENABLED)
        applied = await case.remote.evt_configurationApplied.next(flush=False, timeout=WAIT)
        assert applied.configurations == "_init.yaml,_test.yaml,over.yaml"
    samples = await read_samples(case.csc.salinfo.settings, "Test", "evt_summaryState", count=3)
    states = [sample["summaryState"] for sample in samples]
    assert states == [State.STANDBY, State.DISABLED, State.ENABLED]


async def test_an_initial_state_that_cannot_be_reached_leaves_the_csc_up(memory_case: CscCase) -> None:
    csc = memory_case.basic_make_csc(State.ENABLED, None, 0, override="nosuch.yaml")
    async with csc:
        assert csc.isopen
        assert csc.summary_state is State.STANDBY


async def test_the_standard_states_and_nothing_else(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        await case.check_standard_state_transitions(
            enabled_commands=("setScalars", "setArrays", "wait"), skip_commands=("fault",)
        )
        await asyncio.wait_for(asyncio.shield(case.csc.done_task), WAIT)
        assert not case.csc.isopen


async def test_a_failed_start_closes_the_csc_and_shows_in_its_done_task(memory_case: CscCase) -> None:
    class Failing(SalTestCsc):
        @override
        async def start(self) -> None:
            await super().start()
            raise ValueError("not today")

    csc = Failing(1, config_dir=memory_case.config_dir)
    async with csc:
        assert not csc.isopen
    assert csc.start_task.result() is None
    with pytest.raises(ValueError, match="not today"):
        await csc.done_task


async def test_closing_while_the_broker_is_sought_takes_no_time(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("OCPS_CONNECT_TIMEOUT", "60")
    csc = memory_case.basic_make_csc(State.STANDBY, None, 0)
    async with Domain() as domain:
        remote = Remote(domain, "Test", 1)
        await asyncio.sleep(0.2)
        async with asyncio.timeout(WAIT / 2):
            await csc.close()
            assert csc.start_task.result() is None
            await remote.close()
            with pytest.raises(RuntimeError, match="No longer open"):
                await remote.start_task


async def test_an_absent_broker_ends_the_start_and_is_named(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", address)
    monkeypatch.setenv("OCPS_CONNECT_TIMEOUT", "0.3")
    csc = memory_case.basic_make_csc(State.STANDBY, None, 0)
    async with csc:
        with pytest.raises(BrokerError, match=address):
            await csc.done_task


async def test_remotes_made_before_are_started_with_the_csc(case: CscCase) -> None:
    csc = case.basic_make_csc(State.STANDBY, None, 0)
    remote = Remote(csc.domain, "Test", 77)
    idle = Remote(csc.domain, "Test", 78, start=False)
    async with csc:
        assert remote.salinfo.started
        assert not idle.salinfo.started
    assert not remote.salinfo.isopen


# States


async def test_every_way_between_two_states_is_gone(memory_case: CscCase) -> None:
    goals = [State.STANDBY, State.DISABLED, State.ENABLED]
    steps = make_state_transition_dict()
    async with memory_case.make_csc(initial_state=State.STANDBY):
        remote = memory_case.remote
        for begin in (*goals, State.FAULT):
            for goal in goals:
                if begin is State.FAULT:
                    await memory_case.csc.fault(1, "test")
                else:
                    await go_to(memory_case, begin)
                await until(partial(has_state, remote, begin))
                remote.evt_summaryState.flush()
                passed = await set_summary_state(remote, goal, timeout=WAIT)
                expected = [begin, *(state for _, state in steps[begin, goal])]
                assert passed == expected
                await until(partial(has_state, remote, goal))
                assert [begin, *drain_states(remote)] == expected
        await set_summary_state(remote, State.OFFLINE, timeout=WAIT)
        await asyncio.wait_for(asyncio.shield(memory_case.csc.done_task), WAIT)


async def test_the_state_is_published_before_the_acknowledgement(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        case.remote.evt_summaryState.flush()
        for name in STATE_COMMANDS[:4]:
            ackcmd = await getattr(case.remote, f"cmd_{name}").start(timeout=WAIT)
            state = await case.remote.evt_summaryState.next(flush=False, timeout=WAIT)
            assert state.private_sndStamp < ackcmd.private_sndStamp
            assert ackcmd.result == "Done"


async def test_a_command_in_the_wrong_state_is_refused_by_name(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        with assertRaisesAckError(
            ack=SalRetCode.CMD_FAILED,
            result_contains="Failed: enable not allowed in state <State.STANDBY: 5>",
        ):
            await case.remote.cmd_enable.start(timeout=WAIT)
        with assertRaisesAckError(result_contains="Failed: Not allowed in state=<State.STANDBY: 5>"):
            await case.remote.cmd_setScalars.start(timeout=WAIT)


@pytest.mark.parametrize("is_expected", [False, True])
@pytest.mark.parametrize("hook", ["begin_enable", "end_enable", "handle_summary_state"])
async def test_a_failing_hook_leaves_the_old_state_in_force(
    memory_case: CscCase, hook: str, is_expected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ExpectedError("sorry") if is_expected else ValueError("sorry")

    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        remote.evt_summaryState.flush()
        csc.hooks[hook] = fail
        csc.calls.clear()
        caplog.clear()
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="Failed: sorry"):
            await remote.cmd_enable.start(timeout=WAIT)
        assert csc.summary_state is State.DISABLED
        seen = State.DISABLED if hook == "begin_enable" else State.ENABLED
        assert (hook, seen) in csc.calls
        failures = [record for record in caplog.records if record.exc_info and "cmd_enable" in record.message]
        assert bool(failures) is not is_expected
        csc.hooks.clear()
        # The state is truly the old one, and everybody was told only what is true.
        await remote.cmd_enable.start(timeout=WAIT)
        await until(lambda: remote.evt_summaryState.nqueued)
        assert drain_states(remote) == [State.ENABLED]


async def test_hooks_see_the_states_that_the_protocol_tells(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        memory_case.csc.calls.clear()
        await memory_case.remote.cmd_enable.start(timeout=WAIT)
        assert memory_case.csc.calls == [
            ("begin_enable", State.DISABLED),
            ("end_enable", State.ENABLED),
            ("handle_summary_state", State.ENABLED),
        ]


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("hook", ["begin_enable", "end_enable", "handle_summary_state"])
async def test_a_fault_in_a_hook_beats_the_transition(memory_case: CscCase, hook: str, raises: bool) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote

        async def fault() -> None:
            csc.hooks.clear()
            await csc.fault(7, "in a hook")
            if raises:
                raise ValueError("after the fault")

        remote.evt_summaryState.flush()
        csc.hooks[hook] = fault
        expected = "after the fault" if raises else "errorCode=7, errorReport='in a hook'"
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains=expected):
            await remote.cmd_enable.start(timeout=WAIT)
        assert csc.summary_state is State.FAULT
        await until(lambda: remote.evt_summaryState.nqueued)
        assert drain_states(remote) == [State.FAULT]
        assert remote.evt_errorCode.get().errorCode == 7


async def test_a_fault_tells_the_error_then_the_state(
    case: CscCase, caplog: pytest.LogCaptureFixture
) -> None:
    async with case.make_csc(initial_state=State.ENABLED):
        csc, remote = case.csc, case.remote
        for event in (remote.evt_summaryState, remote.evt_errorCode):
            event.flush()
        await remote.cmd_fault.start(timeout=WAIT)
        error = await case.assert_next_sample(
            remote.evt_errorCode, errorCode=1, errorReport="executing the fault command", traceback=""
        )
        state = await case.assert_next_sample(remote.evt_summaryState, summaryState=State.FAULT)
        assert error.private_sndStamp < state.private_sndStamp
        assert "Fault! errorCode=1, errorReport='executing the fault command'" in caplog.text
        with assertRaisesAckError(
            result_contains="Failed: Not allowed in Fault state: errorCode=1, "
            "errorReport='executing the fault command'"
        ):
            await remote.cmd_setScalars.start(timeout=WAIT)
        await csc.fault(2, "again")
        await case.assert_next_sample(remote.evt_errorCode, errorCode=2)
        await remote.cmd_standby.start(timeout=WAIT)
        await case.assert_next_summary_state(State.STANDBY)
        await case.assert_next_sample(remote.evt_errorCode, errorCode=0, errorReport="", traceback="")


async def test_a_fault_inside_a_fault_does_nothing(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.ENABLED):
        csc, remote = memory_case.csc, memory_case.remote
        remote.evt_errorCode.flush()

        async def fault() -> None:
            await csc.fault(9, "nested")

        csc.hooks["handle_summary_state"] = fault
        await csc.fault(8, "outer")
        await until(lambda: remote.evt_errorCode.nqueued)
        assert remote.evt_errorCode.get().errorCode == 8


async def test_assert_enabled_names_the_action(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc = memory_case.csc
        with pytest.raises(Exception, match=r"^run not allowed in state=<State.DISABLED: 1>$"):
            csc.assert_enabled("run")
        await csc.fault(7, "rep")
        with pytest.raises(
            Exception, match=r"^run not allowed in Fault state: errorCode=7, errorReport='rep'$"
        ):
            csc.assert_enabled("run")
        assert not csc.disabled_or_enabled


async def test_a_transition_overtaken_by_another_one_is_given_up(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        is_enabling, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            is_enabling.set()
            await go_on.wait()

        csc.hooks["begin_enable"] = wait
        enabling = asyncio.create_task(remote.cmd_enable.start(timeout=WAIT))
        await asyncio.wait_for(is_enabling.wait(), WAIT)
        await remote.cmd_standby.start(timeout=WAIT)
        go_on.set()
        with assertRaisesAckError(result_contains="given up: the state has become <State.STANDBY: 5>"):
            await enabling
        assert csc.summary_state is State.STANDBY


async def test_a_state_that_could_not_be_published_is_published_with_a_heartbeat(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        broker = csc.salinfo.broker
        real_send = broker.send
        failures = 1

        async def send(topic: str, *, key: bytes, value: bytes) -> Any:
            nonlocal failures
            if topic.endswith("summaryState") and failures:
                failures -= 1
                raise BrokerError("away")
            return await real_send(topic, key=key, value=value)

        monkeypatch.setattr(broker, "send", send)
        remote.evt_summaryState.flush()
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="away"):
            await remote.cmd_enable.start(timeout=WAIT)
        await memory_case.assert_next_summary_state(State.ENABLED)


async def test_set_summary_state_says_what_failed(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote = case.remote
        with pytest.raises(
            RuntimeError, match=r"^Error on cmd=cmd_start, initial_state=5: msg='Command failed'"
        ) as caught:
            await set_summary_state(remote, State.ENABLED, override="nosuch.yaml", timeout=WAIT)
        assert isinstance(caught.value.__cause__, AckError)
        assert remote.cmd_start.data.configurationOverride == ""
        assert await set_summary_state(remote, State.DISABLED, override=None, timeout=WAIT) == [
            State.STANDBY,
            State.DISABLED,
        ]
        with pytest.raises(ValueError, match="FAULT"):
            await set_summary_state(remote, State.FAULT)
        with pytest.raises(ValueError, match="99"):
            await set_summary_state(remote, 99)  # type: ignore[arg-type]
        async with Remote(case.csc.domain, "Test", case.csc.salinfo.index, readonly=True) as readonly:
            with pytest.raises(AttributeError, match="cmd_enable"):
                await set_summary_state(readonly, State.ENABLED, timeout=WAIT)
        async with Remote(case.csc.domain, "Test", 999) as nobody:
            with pytest.raises(RuntimeError, match=r"^Cannot get summaryState from Test$"):
                await set_summary_state(nobody, State.ENABLED, timeout=0.1)


async def test_leaving_control_ends_the_csc_after_the_acknowledgement(case: CscCase) -> None:
    csc = case.basic_make_csc(State.STANDBY, None, 0)
    async with csc, Domain() as domain, Remote(domain, "Test", csc.salinfo.index) as remote:
        ackcmd = await remote.cmd_exitControl.start(timeout=WAIT)
        assert ackcmd.ack == SalRetCode.CMD_COMPLETE
        await asyncio.wait_for(asyncio.shield(csc.done_task), WAIT)
        await until(lambda: remote.evt_summaryState.get().summaryState == State.OFFLINE)


async def test_closing_without_a_command_publishes_no_state(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        case.csc.signal_handler()
        await asyncio.wait_for(asyncio.shield(case.csc.done_task), WAIT)
        case.csc.signal_handler()
    samples = await read_samples(case.csc.salinfo.settings, "Test", "evt_summaryState", count=1)
    assert [sample["summaryState"] for sample in samples] == [State.STANDBY]


# Configuration


async def test_configuration_is_layered_and_reported(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        csc, remote = case.csc, case.remote
        remote.evt_summaryState.flush()
        await remote.cmd_start.set_start(configurationOverride="over.yaml", timeout=WAIT)
        assert csc.config is not None
        assert vars(csc.config) == {
            "string0": "site",
            "int0": 5,
            "nested": {"a": 1, "b": {"c": 7, "d": 3}},
        }
        applied = await case.assert_next_sample(
            remote.evt_configurationApplied,
            configurations="_init.yaml,_test.yaml,over.yaml",
            schemaVersion="v1",
            url=csc.config_dir.as_uri(),
            version="",
            otherInfo="",
        )
        state = await case.assert_next_sample(remote.evt_summaryState, summaryState=State.DISABLED)
        assert applied.private_sndStamp < state.private_sndStamp
        assert ("configure", State.STANDBY) in csc.calls


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("nosuch.yaml", "Failed: Config file '{dir}/nosuch.yaml' does not exist"),
        ("_init.yaml", "Failed: configurationOverride filename='_init.yaml' must not start with '_'"),
        ("bad_type.yaml", f"Failed: Configuration failed validation: {BAD_TYPE}"),
        ("list.yaml", "Failed: list.yaml=[1] is not a dict"),
        ("../x.yaml", "Failed: configurationOverride filename='../x.yaml' must be a name in the directory"),
        ("over.yaml:nosuch", "Failed: Could not read config file {dir}/_init.yaml with git hash nosuch: b'"),
    ],
)
async def test_a_wrong_configuration_fails_the_command_and_keeps_the_state(
    memory_case: CscCase, override: str, text: str
) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY):
        expected = text.format(dir=memory_case.csc.config_dir)
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, error=1, result_contains=expected):
            await memory_case.remote.cmd_start.set_start(configurationOverride=override, timeout=WAIT)
        assert memory_case.csc.summary_state is State.STANDBY
        assert memory_case.csc.config is None


async def test_new_override_files_are_offered_in_standby(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY):
        remote = memory_case.remote
        await remote.evt_configurationsAvailable.next(flush=False, timeout=WAIT)
        (memory_case.csc.config_dir / "a_new_one.yaml").write_text("int0: 3\n")
        available = await remote.evt_configurationsAvailable.next(flush=False, timeout=WAIT)
        assert available.overrides.startswith("a_new_one.yaml,")


# Construction


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"config_dir": "/nosuch"}, ValueError, "config_dir='/nosuch' is not a directory"),
        ({"initial_state": State.FAULT}, ValueError, "FAULT"),
        ({"initial_state": 99}, ValueError, "99"),
        ({"simulation_mode": 5}, ValueError, "simulation_mode=5"),
        ({"index": -1.5}, TypeError, "index=-1.5"),
    ],
)
async def test_wrong_arguments_are_refused(
    memory_case: CscCase, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    make_csc: Callable[..., SalTestCsc] = SalTestCsc
    with pytest.raises(error, match=text):
        make_csc(**({"index": 1, "config_dir": memory_case.config_dir} | arguments))


async def test_a_class_needs_a_version_and_simulation_modes(memory_case: CscCase) -> None:
    class NoVersion(BaseCsc):
        def __init__(self) -> None:
            super().__init__("Test", 1)

    class NoModes(NoVersion):
        version = "1"
        valid_simulation_modes: ClassVar[None] = None

    for make, text in ((NoVersion, "version"), (NoModes, "valid_simulation_modes")):
        with pytest.raises(RuntimeError, match=text):
            make()


async def test_methods_have_to_match_the_commands(memory_case: CscCase) -> None:
    class Wrong(BaseCsc):
        version = "1"

        def __init__(self, **kwargs: Any) -> None:
            super().__init__("Test", 1, **kwargs)

        async def do_nosuch(self, data: Any) -> None:
            pass

        async def do_wait(self, data: Any) -> None:
            pass

    with pytest.raises(TypeError) as caught:
        Wrong()
    assert str(caught.value) == (
        "This class must add do_fault, do_setArrays, do_setScalars methods and must remove do_nosuch methods"
    )
    csc = Wrong(allow_missing_callbacks=True, extra_commands={"nosuch"})
    async with csc, Remote(csc.domain, "Test", 1) as remote:
        with assertRaisesAckError(ack=-302, result_contains="Failed: This command is not supported"):
            await remote.cmd_fault.start(timeout=WAIT)


async def test_controllers_refuse_contradictory_arguments(memory_environment: SalSettings) -> None:
    with pytest.raises(ValueError, match="write_only"):
        Controller("Test", 1, do_callbacks=True, write_only=True)
    with pytest.raises(ValueError, match="allow_missing_callbacks"):
        Controller("Test", 1, allow_missing_callbacks=True)
    with pytest.raises(ValueError, match=r"^No such component Nosuch$"):
        Controller("Nosuch")


async def test_a_write_only_controller_has_no_commands(memory_environment: SalSettings) -> None:
    async with Controller("Test", 1, write_only=True) as controller:
        assert not any(name.startswith("cmd_") for name in vars(controller))
        assert not controller.salinfo.is_reading
        await controller.evt_scalars.set_write(int0=1)


async def test_the_environment_is_checked_by_name(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LSST_TOPIC_SUBNAME")
    with pytest.raises(RuntimeError, match="LSST_TOPIC_SUBNAME"):
        SalTestCsc(1, config_dir=memory_case.config_dir)
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "x")
    monkeypatch.setenv("TS_CONFIG_OCS_DIR", str(tmp_path))
    csc = SalTestCsc(1)
    assert csc.config_dir == (tmp_path / "Test" / "v1").resolve()
    assert csc.simulation_mode == 0
    assert csc.evt_simulationMode.data.mode == 0
    await csc.close()
    monkeypatch.delenv("LSST_SITE")
    with pytest.raises(RuntimeError, match="LSST_SITE"):
        SalTestCsc(1)


async def test_salinfo_tells_names_and_refuses_wrong_indices(memory_environment: SalSettings) -> None:
    async with Domain() as domain:
        salinfo = Remote(domain, "Test", 5, start=False).salinfo
        assert (salinfo.name, salinfo.index, salinfo.indexed, salinfo.name_index) == (
            "Test",
            5,
            True,
            "Test:5",
        )
        assert salinfo.command_names[:3] == ("disable", "enable", "exitControl")
        assert salinfo.telemetry_names == ("arrays", "scalars")
        assert "heartbeat" in salinfo.event_names
        assert salinfo.sal_topic_names == sorted(salinfo.sal_topic_names)
        assert repr(salinfo) == "SalInfo(Test, 5)"
        assert salinfo.identity == domain.user_host
        for method in (salinfo.assert_started, salinfo.assert_running):
            with pytest.raises(RuntimeError, match="Not started"):
                method()
        topic = Remote(domain, "Test", None, start=False).evt_scalars
        assert repr(topic) == "RemoteEvent(Test, 0, evt_scalars)"
        assert topic.topic_info.fields["double0"].units == "unitless"


async def test_remotes_can_leave_topics_out(memory_environment: SalSettings) -> None:
    async with Domain() as domain:
        some = Remote(domain, "Test", 1, include=["scalars", "nosuch"], readonly=True, start=False)
        assert hasattr(some, "evt_scalars")
        assert hasattr(some, "tel_scalars")
        assert not hasattr(some, "evt_arrays")
        assert not hasattr(some, "cmd_start")
        rest = Remote(domain, "Test", 1, exclude=["scalars"], start=False)
        assert not hasattr(rest, "evt_scalars")
        assert hasattr(rest, "evt_arrays")
        only_commands = Remote(domain, "Test", 1, include=[])
        await only_commands.start_task
        assert hasattr(only_commands, "cmd_start")
        assert repr(only_commands) == "Remote(name=Test, index=1)"
        with pytest.raises(RuntimeError, match="Start already called"):
            await only_commands.start()
        with pytest.raises(ValueError, match="include and exclude"):
            Remote(domain, "Test", 1, include=[], exclude=[])
        with pytest.raises(TypeError):
            Remote(domain, "Test", 1, True)  # type: ignore[call-arg]


# Logging


async def test_every_log_record_is_published_even_if_it_is_like_the_last_one(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote, log = case.remote, case.csc.log
        remote.evt_logMessage.flush()
        for _ in range(3):
            log.warning("the same %s", "words")
        log.getChild("child").error("from a child")
        log.debug("too low")
        error = ValueError("with a traceback")
        await asyncio.to_thread(log.error, "from a thread", exc_info=error)
        seen = [await remote.evt_logMessage.next(flush=False, timeout=WAIT) for _ in range(5)]
        assert [(data.name, data.level, data.message) for data in seen] == [
            *[("Test", 30, "the same words")] * 3,
            ("Test.child", 40, "from a child"),
            ("Test", 40, "from a thread"),
        ]
        assert "ValueError: with a traceback" in seen[4].traceback
        assert seen[0].traceback == ""
        assert seen[0].functionName == "test_every_log_record_is_published_even_if_it_is_like_the_last_one"
        assert seen[0].filePath.endswith("test_api_csc.py")
        assert seen[0].lineNumber > 0
        assert seen[0].timestamp == 0


async def test_records_from_before_the_start_are_published_after_it(case: CscCase) -> None:
    csc = case.basic_make_csc(State.STANDBY, None, 0, index=8)
    for n in range(20):
        csc.log.warning("early %d", n)
    csc.delay_start_event.clear()
    async with Remote(csc.domain, "Test", 8) as remote:
        csc.delay_start_event.set()
        async with csc:
            seen = [await remote.evt_logMessage.next(flush=False, timeout=WAIT) for _ in range(20)]
    assert [data.message for data in seen] == [f"early {n}" for n in range(20)]


async def test_the_level_can_be_set_and_is_respected(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote = case.remote
        await case.assert_next_sample(remote.evt_logLevel, level=logging.INFO)
        await remote.cmd_setLogLevel.set_start(level=logging.ERROR, timeout=WAIT)
        await case.assert_next_sample(remote.evt_logLevel, level=logging.ERROR)
        async with Remote(case.csc.domain, "Test", 999):
            # In ts_salobj a new Remote makes the logger verbose again.
            assert case.csc.log.level == logging.ERROR
        remote.evt_logMessage.flush()
        case.csc.log.warning("not published")
        case.csc.log.error("published")
        await case.assert_next_sample(remote.evt_logMessage, message="published")


# Duplicates


async def make_alone(case: CscCase, index: int) -> SalTestCsc:
    return case.basic_make_csc(State.STANDBY, None, 0, index=index, check_if_duplicate=True)


async def test_a_csc_refuses_to_start_while_another_one_is_alive(case: CscCase) -> None:
    async with await make_alone(case, 1) as first:
        second = await make_alone(case, 1)
        other_index = await make_alone(case, 2)
        async with second, other_index:
            assert not second.isopen
            assert other_index.isopen
            with pytest.raises(
                Exception, match=r"^Test:1 with origin=\d+ quitting: found another instance with"
            ):
                await second.done_task
        assert first.isopen


async def test_a_csc_starts_after_one_that_died_a_moment_ago(case: CscCase) -> None:
    async with await make_alone(case, 1) as first:
        assert first.isopen
    async with asyncio.timeout(WAIT), await make_alone(case, 1) as second:
        assert second.isopen


async def test_of_two_that_start_together_exactly_one_stays(case: CscCase) -> None:
    cscs = [await make_alone(case, 1) for _ in range(2)]
    async with cscs[0], cscs[1]:
        done, _ = await asyncio.wait(
            [csc.done_task for csc in cscs], return_when=asyncio.FIRST_COMPLETED, timeout=WAIT
        )
        assert len(done) == 1
        # Longer than the time for which they watch each other.
        await asyncio.sleep(4)
        assert sorted(csc.isopen for csc in cscs) == [False, True]


async def test_commands_wait_for_the_end_of_the_duplicate_check(case: CscCase) -> None:
    async with await make_alone(case, 1) as first, Domain() as domain, Remote(domain, "Test", 1) as remote:
        second = await make_alone(case, 1)
        await until(lambda: second.salinfo.started)
        await remote.cmd_setLogLevel.set_start(level=20, timeout=WAIT)
        async with second:
            assert first.isopen
            assert not second.isopen
    samples = await read_samples(first.salinfo.settings, "Test", "ack_ackcmd", count=1)
    # Only the one that may run has answered.
    assert len(samples) == 1


@pytest.mark.parametrize(("seq_num", "stays"), [(1, True), (7, False)])
async def test_one_whose_heartbeats_began_earlier_is_the_first(
    bench: BrokerBench, csc_config_dir: Path, seq_num: int, stays: bool
) -> None:
    """The other one was silent before the start, so that only the number of its heartbeat tells."""
    async with await make_alone(CscCase(csc_config_dir), 1) as csc:
        event = csc.evt_heartbeat
        fields = {"salIndex": 1, "private_seqNum": seq_num, "private_sndStamp": 5.0, "private_origin": 77}
        value = event.codec.encode(fields, schema_id=event.schema_id)
        topic = event.topic_info.kafka_name(bench.settings.topic_subname)
        await bench.write_raw(topic, key=b"x", value=value)
        assert csc._duplicate_task is not None
        await asyncio.wait([csc._duplicate_task], timeout=WAIT)
        if not stays:
            with pytest.raises(Exception, match=r"found another instance with origin=77\.$"):
                await asyncio.wait_for(asyncio.shield(csc.done_task), WAIT)
        assert csc.done_task.done() is not stays
