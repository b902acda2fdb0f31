"""Help for the tests of CSCs on a broker of each kind, and executables as a CSC author tests them."""

import asyncio
import os
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps import salobj
from lsst.ts.ocps.sal import names
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench, started
from support.sal_fixtures import WAIT, CscCase, make_environment, until

pytestmark = pytest.mark.asyncio


async def test_mock_topics_keep_what_is_written(memory_environment: SalSettings) -> None:
    attr_names = ["evt_scalars", "tel_scalars"]
    async with salobj.make_mock_write_topics("Test", attr_names) as topics:
        assert sorted(vars(topics)) == attr_names
        await topics.evt_scalars.set_write(int0=1)
        await topics.evt_scalars.set_write(int0=1)
        await topics.tel_scalars.set_write(int0=1)
        await topics.tel_scalars.set_write(int0=1)
        assert [data.int0 for data in topics.evt_scalars.data_list] == [1]
        assert [data.private_seqNum for data in topics.tel_scalars.data_list] == [1, 2]
        assert topics.evt_scalars.data_list[0].salIndex == 0
        with pytest.raises(TypeError):
            await topics.evt_scalars.set_write(string0=5)
        assert len(topics.evt_scalars.data_list) == 1
    async with salobj.make_mock_write_topics("Test", attr_names, index=7) as topics:
        assert (await topics.evt_scalars.write()).salIndex == 7
    with pytest.raises(RuntimeError, match=r"Failed to create topic Test\.evt_nosuch"):
        async with salobj.make_mock_write_topics("Test", ["evt_nosuch"]):
            pass


async def test_the_topics_of_a_test_are_deleted_and_no_others(
    api_settings: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = "lsst.{}.Test.logevent_scalars"
    other = f"{api_settings.topic_subname}_other"
    for subname in (api_settings.topic_subname, other):
        monkeypatch.setenv("LSST_TOPIC_SUBNAME", subname)
        async with salobj.Controller("Test", 1) as controller:
            await controller.evt_scalars.write()
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", api_settings.topic_subname)
    await salobj.delete_kafka_topics()
    await salobj.delete_kafka_topics()
    async with started(api_settings) as broker:
        assert await broker.partitions([topic.format(other)])
        with pytest.raises(Exception, match="logevent_scalars"):
            await asyncio.wait_for(broker.partitions([topic.format(api_settings.topic_subname)]), WAIT)
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "sal")
    with pytest.raises(ValueError, match="never deleted"):
        await salobj.delete_kafka_topics()


async def test_the_executable_of_a_csc_is_checked(
    noida_bench: BrokerBench, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in make_environment(noida_bench.settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TS_CONFIG_OCS_DIR", str(csc_config_dir.parents[1]))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    case = CscCase(csc_config_dir)
    await case.check_bin_script(
        name="Test",
        index=case.next_index(),
        exe_name="run_test_csc",
        initial_state=salobj.State.DISABLED,
        override="over.yaml",
    )


async def test_the_commander_of_the_test_csc_takes_arrays(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.ENABLED):
        commander = salobj.TestCscCommander(index=api_case.csc.salinfo.index)
        commander.testing = True
        async with commander:
            await commander.run_command("setArrays int0=1,2 boolean0=t,f,1")
            data = await api_case.assert_next_sample(api_case.remote.evt_arrays)
            assert data.int0 == [1, 2, 0, 0, 0]
            assert data.boolean0 == [True, False, True, False, False]
            for line in (
                "setArrays int0",
                "setArrays nosuch=1",
                "setArrays int0=1,2,3,4,5,6",
                "setArrays int0=x",
            ):
                with pytest.raises(ValueError, match=r"int0|nosuch|literal"):
                    await commander.run_command(line)
            assert "setArrays field1=" in commander.get_commands_help()


@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_a_stream_is_read_line_by_line(tmp_path: Path, kind: str) -> None:
    text = b"one\n\ntwo\nexit\nthree\n"
    if kind == "file":
        (tmp_path / "lines").write_bytes(text)
        stream = await asyncio.to_thread((tmp_path / "lines").open)
    else:
        read_end, write_end = os.pipe()
        os.write(write_end, text)
        os.close(write_end)
        stream = os.fdopen(read_end)
    with stream:
        async with aclosing(salobj.stream_as_generator(stream, exit_str="exit")) as lines:
            assert [line async for line in lines] == ["one\n", "\n", "two\n"]


class ExternallyCommandableCsc(salobj.TestCsc):
    """Begins in OFFLINE, and stays alive there."""

    default_initial_state = salobj.State.OFFLINE

    async def do_enterControl(self, data: Any) -> None:  # noqa: N802 (SAL's spelling)
        await self._do_change_state(data, "enterControl")

    @override
    async def do_exitControl(self, data: Any) -> None:
        await self._do_change_state(data, "exitControl")


async def test_an_externally_commandable_csc_enters_and_leaves_control(
    memory_environment: SalSettings, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_interface_with_enter_control(tmp_path)
    monkeypatch.setattr(names, "load_component", lambda name: load_component(name, tmp_path))
    csc = ExternallyCommandableCsc(1, config_dir=csc_config_dir, initial_state=salobj.State.OFFLINE)
    async with csc, salobj.Remote(csc.domain, "Test", 1) as remote:
        for goal in (salobj.State.ENABLED, salobj.State.OFFLINE, salobj.State.STANDBY):
            passed = await salobj.set_summary_state(remote, goal, timeout=WAIT)
            assert passed[-1] == goal
            await until(partial(has_state, remote, goal))
        assert csc.isopen


def has_state(remote: salobj.Remote, state: salobj.State) -> bool:
    data = remote.evt_summaryState.get()
    return data is not None and bool(data.summaryState == state)


def make_interface_with_enter_control(directory: Path) -> None:
    source = Path(sys.modules[load_component.__module__].__file__ or "").parents[1] / "interfaces"
    for path in source.glob("*.xml"):
        text = path.read_text(encoding="utf-8")
        if path.name == "SALSubsystems.xml":
            text = text.replace("csc, configurable</", "csc, configurable, command_enterControl</")
        (directory / path.name).write_text(text, encoding="utf-8")
