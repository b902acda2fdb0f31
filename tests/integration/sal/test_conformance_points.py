"""What a compatible runtime must keep, point by point (salobj-api section 16; 3 to 5 are in the outcomes)."""

import asyncio
import os
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from typing_extensions import override

from lsst.ts.ocps import salobj
from lsst.ts.ocps.sal.settings import SalSettings
from support.golden import load_golden
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, forget_start, until

pytestmark = pytest.mark.asyncio


@contextmanager
def raises_not_started() -> Iterator[None]:
    with pytest.raises(RuntimeError, match="Not started"):
        yield


async def test_1_records_are_plain_dataclasses_with_fresh_lists(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        csc, remote = api_case.csc, api_case.remote
        salinfo = remote.salinfo
        for names in (salinfo.command_names, salinfo.event_names, salinfo.telemetry_names):
            assert isinstance(names, tuple)
            assert list(names) == sorted(names)
        assert "start" in salinfo.command_names
        assert "summaryState" in salinfo.event_names + salinfo.telemetry_names
        assert repr(remote) == f"Remote(name=Test, index={csc.salinfo.index})"
        assert repr(salinfo) == f"SalInfo(Test, {csc.salinfo.index})"
        assert repr(remote.evt_scalars) == f"RemoteEvent(Test, {csc.salinfo.index}, evt_scalars)"
        record_type = remote.evt_arrays.DataType
        assert record_type is csc.evt_arrays.DataType
        first, second = record_type(), record_type()
        assert first == second
        first.int0[1] = 4
        assert (first.int0, second.int0) == ([0, 4, 0, 0, 0], [0] * 5)
        assert list(vars(first)) == list(remote.evt_arrays.topic_info.fields)
        with pytest.raises(TypeError):
            record_type(nosuch=1)
        with pytest.raises(TypeError):
            hash(first)


async def test_2_rev_codes_and_units_are_those_of_the_interface(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        remote = api_case.remote
        expected = load_golden("misc")["Test:0"]["rev_codes"]
        for name in ("evt_summaryState", "evt_heartbeat"):
            topic = getattr(remote, name)
            data = await topic.aget(timeout=WAIT)
            assert data.private_revCode == topic.rev_code == expected[name]
        units = {name: info.units for name, info in remote.evt_logMessage.topic_info.fields.items()}
        assert units["timestamp"] == units["private_sndStamp"] == "second"
        for name in units:
            assert hasattr(remote.evt_logMessage.DataType(), name)


async def test_5_objects_can_be_used_right_after_construction(api_case: CscCase) -> None:
    csc = api_case.basic_make_csc(salobj.State.STANDBY, None, 1)
    csc.cmd_wait.allow_multiple_callbacks = False
    csc.evt_softwareVersions.set(subsystemVersions="mine")
    assert csc.simulation_mode == 1
    assert csc.domain.default_identity == csc.salinfo.name_index
    assert csc.salinfo.index > 0
    with raises_not_started():
        await csc.evt_scalars.write()
    async with csc, salobj.Remote(csc.domain, "Test", csc.salinfo.index) as remote:
        versions = await remote.evt_softwareVersions.aget(timeout=WAIT)
        assert versions.subsystemVersions == "mine"
        assert versions.cscVersion == csc.version
        assert (await remote.evt_simulationMode.aget(timeout=WAIT)).mode == 1


async def test_6_events_are_written_on_change_and_telemetry_always(api_settings: SalSettings) -> None:
    async with salobj.Controller("Test", 1) as controller:
        event, telemetry = controller.evt_scalars, controller.tel_scalars
        first = await event.set_write(int0=1.7, float0=2, string0="a", boolean0=5)
        assert (first.did_change, first.was_written) == (True, True)
        again = await event.set_write(int0=1.7, float0=2.0, string0=None)
        assert (again.did_change, again.was_written) == (False, False)
        forced = await event.set_write(force_output=True)
        assert (forced.did_change, forced.was_written) == (False, True)
        assert forced.data.private_seqNum == first.data.private_seqNum + 1
        assert (await event.set_write(double0=float("nan"))).was_written
        assert not (await event.set_write(double0=float("nan"))).was_written
        assert (await telemetry.set_write(int0=0)).was_written
        assert (await telemetry.set_write(int0=0)).was_written
        assert not (await telemetry.set_write(force_output=False)).was_written
        with pytest.raises(AttributeError, match=r"evt_scalars has no fields \['nosuch'\]"):
            event.set(int0=77, nosuch=1)
        assert event.data.int0 != 77
        with pytest.raises(TypeError):
            await event.set_write(string0=5)
        event.set(string0="a")
        async with salobj.Remote(controller.domain, "Test", 1) as remote:
            await event.set_write(int0=salobj.State.FAULT, force_output=True)
            await until(lambda: remote.evt_scalars.get().int0 == 3)
            data = remote.evt_scalars.get()
            assert (data.float0, data.boolean0, data.string0) == (2.0, True, "a")
            assert all(type(value) in {int, float, bool, str} for value in vars(data).values())


async def test_7_reading_follows_the_table(api_settings: SalSettings) -> None:
    async with salobj.Controller("Test", 1) as controller:
        await controller.evt_scalars.set_write(int0=1)
        remote = salobj.Remote(controller.domain, "Test", 1, start=False)
        event = remote.evt_scalars
        for call in (event.get, event.get_oldest):
            with raises_not_started():
                call()
        for read in (event.aget(), event.next(flush=False)):
            with raises_not_started():
                await read
        event.flush()
        await remote.start()
        # The last value from before is there when the start ends.
        assert event.get().int0 == 1
        assert await event.aget(timeout=0) is event.get()
        assert (await event.next(flush=False, timeout=0)).int0 == 1
        assert event.get_oldest() is None
        with pytest.raises(TimeoutError):
            await event.next(flush=False, timeout=0.01)
        with pytest.raises(TypeError, match="flush"):
            await event.next()
        waiters = [asyncio.create_task(event.next(flush=True, timeout=WAIT)) for _ in range(2)]
        await asyncio.sleep(0)
        await controller.evt_scalars.set_write(int0=2)
        first, second = await asyncio.gather(*waiters)
        assert first is second
        assert first.int0 == 2
        await controller.evt_scalars.set_write(int0=3)
        await until(lambda: event.nqueued)
        await check_callbacks(controller, event)
        await remote.close()
        await remote.close()
        assert event.get().int0 == 5


async def check_callbacks(controller: Any, event: Any) -> None:
    """Callbacks of each kind; a failing one never stops reading."""
    callback = AsyncMock(side_effect=[ValueError("sorry"), salobj.ExpectedError("sorry")])
    event.callback = callback
    assert (event.nqueued, event.has_callback) == (0, True)
    with pytest.raises(TypeError):
        event.callback = 5
    for call in (event.get_oldest, event.flush):
        with pytest.raises(RuntimeError, match="Not allowed because there is a callback function"):
            call()
    with pytest.raises(RuntimeError, match="Not allowed because there is a callback function"):
        await event.aget()
    for number in (4, 5):
        await controller.evt_scalars.set_write(int0=number)
    await until(lambda: callback.await_count == 2)
    assert [call.args[0].int0 for call in callback.await_args_list] == [4, 5]
    seen: list[Any] = []
    with pytest.warns(DeprecationWarning, match="callback"):
        event.callback = seen.append
    await controller.evt_scalars.write()
    await until(lambda: seen)
    event.callback = None
    assert not event.has_callback


async def test_8_commands_are_lazy_fresh_and_repeatable(api_settings: SalSettings) -> None:
    async with (
        salobj.Controller("Test", 1) as controller,
        salobj.Remote(controller.domain, "Test", 1, include=[]) as remote,
        salobj.Remote(controller.domain, "Test", 1, readonly=True, include=["scalars"]) as readonly,
        salobj.Remote(controller.domain, "Test", 0, include=[]) as everybody,
    ):
        received: list[Any] = []

        async def take(data: Any) -> None:
            received.append(data)

        controller.cmd_setScalars.callback = take
        command = remote.cmd_setScalars
        # Nothing happens before they are awaited, and parallel ones do not mix.
        lazy = [command.set_start(int0=number, timeout=WAIT) for number in range(5)]
        assert command.data.int0 == 0
        await asyncio.gather(*lazy)
        assert sorted(data.int0 for data in received) == list(range(5))
        assert command.set(string0="x")
        assert not command.set(int0=0)
        command.set(int0=8)
        await command.start(timeout=WAIT)
        await command.start(timeout=WAIT)
        assert [(data.int0, data.string0) for data in received[5:]] == [(8, "")] * 2
        data = command.DataType()
        data.int0 = 9
        await command.start(data=data, timeout=WAIT)
        assert command.data is data
        assert received[-1].int0 == 9
        assert received[-1].private_identity == remote.salinfo.identity == controller.salinfo.name_index
        with pytest.raises(TypeError):
            await command.start(data=remote.cmd_wait.DataType())
        with pytest.raises(NotImplementedError):
            await command.write()
        assert hasattr(readonly, "evt_scalars")
        assert hasattr(readonly, "tel_scalars")
        assert not hasattr(readonly, "cmd_setScalars")
        assert not hasattr(remote, "evt_scalars")
        await everybody.cmd_setScalars.set_start(salIndex=1, int0=10, timeout=WAIT)
        assert (received[-1].int0, received[-1].salIndex) == (10, 1)
        with pytest.raises(ValueError, match="include"):
            salobj.Remote(controller.domain, "Test", 1, include=["a"], exclude=["b"])
    for closed in (remote, readonly, everybody):
        assert not closed.salinfo.isopen
    with pytest.raises(RuntimeError, match="No longer open"):
        await command.start(timeout=WAIT)


async def test_9_a_csc_is_made_from_the_command_line_with_keywords(
    api_settings: SalSettings, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run_test_csc", "7", "--configdir", str(csc_config_dir), "--state", "disabled"]
    monkeypatch.setattr(sys, "argv", arguments)
    expected = await asyncio.to_thread(csc_config_dir.resolve)
    csc = SalTestCsc.make_from_cmd_line(index=True)
    async with csc:
        assert (csc.salinfo.index, csc.simulation_mode, csc.check_if_duplicate) == (7, 0, False)
        assert csc.config_dir == expected
        await until(lambda: csc.summary_state == salobj.State.DISABLED)
    assert csc.done_task.done()


async def test_9_a_failed_start_shows_in_done_task_and_comes_out_of_amain(
    api_settings: SalSettings, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(SalTestCsc):
        @override
        async def start(self) -> None:
            await super().start()
            raise RuntimeError("cannot start")

    async with Failing(7, config_dir=csc_config_dir) as csc:
        assert not csc.isopen
        assert await csc.start_task is None  # type: ignore[func-returns-value]
        with pytest.raises(RuntimeError, match="cannot start"):
            await csc.done_task
    monkeypatch.setattr(sys, "argv", ["run_test_csc", "--configdir", str(csc_config_dir)])
    with pytest.raises(RuntimeError, match="cannot start"):
        await Failing.amain(index=8)


async def test_10_everything_from_the_beginning_is_queued(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.ENABLED):
        remote = api_case.remote
        await api_case.assert_next_summary_state(salobj.State.ENABLED)
        await api_case.assert_next_sample(remote.evt_softwareVersions, subsystemVersions="")
        await api_case.assert_next_sample(remote.evt_configurationApplied, schemaVersion="v1")
        await forget_start(api_case)
        csc = api_case.csc
        scalars = csc.make_random_scalars_dict()
        await remote.cmd_setScalars.set_start(**scalars, timeout=WAIT)
        event = await api_case.assert_next_sample(remote.evt_scalars, **scalars)
        csc.assert_scalars_equal(event, remote.cmd_setScalars.data)
        arrays = csc.make_random_arrays_dict()
        await remote.cmd_setArrays.set_start(**arrays, timeout=WAIT)
        telemetry = await api_case.assert_next_sample(remote.tel_arrays)
        csc.assert_arrays_equal(telemetry, remote.cmd_setArrays.data)
        event.int0 += 1
        with pytest.raises(AssertionError, match="int0"):
            csc.assert_scalars_equal(event, remote.cmd_setScalars.data)


async def test_10_a_test_case_of_a_csc_author_works(
    api_settings: SalSettings, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[Any] = []

    class AuthorsCase(salobj.BaseCscTestCase, unittest.IsolatedAsyncioTestCase):
        @override
        def basic_make_csc(
            self, initial_state: Any, config_dir: Any, simulation_mode: int, **kwargs: Any
        ) -> salobj.TestCsc:
            return salobj.TestCsc(
                index=self.next_index(), config_dir=csc_config_dir, initial_state=initial_state, **kwargs
            )

        async def test_transitions(self) -> None:
            async with self.make_csc(initial_state=salobj.State.STANDBY, timeout=WAIT):
                await self.check_standard_state_transitions(
                    enabled_commands=("setScalars", "setArrays", "wait"), skip_commands=("fault",)
                )
                states.append(self.csc.summary_state)

        async def test_failure(self) -> None:
            async with self.make_csc(initial_state=salobj.State.STANDBY, timeout=WAIT):
                await self.assert_next_summary_state(salobj.State.FAULT)

    # The class sets these two; afterwards they are as they were.
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "before")
    monkeypatch.setenv("LSST_SITE", "before")

    def run(name: str) -> unittest.TestResult:
        result = AuthorsCase(name).run(unittest.TestResult())
        assert result is not None
        return result

    good = await asyncio.to_thread(run, "test_transitions")
    assert (good.errors, good.failures, states) == ([], [], [salobj.State.OFFLINE])
    assert os.environ["LSST_TOPIC_SUBNAME"].startswith("test_")  # noqa: TID251 (what is tested)
    bad = await asyncio.to_thread(run, "test_failure")
    assert bad.errors == []
    assert "summaryState" in bad.failures[0][1]
