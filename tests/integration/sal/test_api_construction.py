"""Construction of CSCs, Controllers and Remotes: what is refused and what the parts then tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lsst.ts.ocps.sal.base_csc import BaseCsc
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase

pytestmark = pytest.mark.asyncio


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
