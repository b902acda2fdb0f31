"""The start of a configurable CSC, good and failed, on a broker of each kind."""

import asyncio
import logging

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.remote import Remote
from support.ports import free_port
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase
from support.sal_log import read_samples

pytestmark = pytest.mark.asyncio


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
        assert stamps[2] - stamps[0] > 0.5


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
