import asyncio
import json
from typing import Any

import pytest

from lsst.ts.ocps.observer.errors import NoCscError, StateChangeError
from lsst.ts.ocps.observer.payloads import parameter_schema
from lsst.ts.ocps.observer.state import change_state, read_state
from lsst.ts.ocps.salobj import ExpectedError, State
from support.observer import Pair

pytestmark = pytest.mark.asyncio


async def tell(pair: Pair, state: State) -> None:
    await pair.csc.evt_summaryState.set_write(summaryState=state)
    data = await pair.remote.evt_summaryState.next(flush=False, timeout=10)
    assert data.summaryState == state


async def test_a_csc_that_never_told_a_state_is_named(pair: Pair) -> None:
    with pytest.raises(NoCscError, match="OCPS:1 tells no summaryState"):
        await read_state(pair.remote)
    with pytest.raises(NoCscError):
        await change_state(pair.remote, State.ENABLED, on_state=lambda _: None)


async def test_the_report_holds_what_the_csc_tells_and_whether_it_lives(pair: Pair) -> None:
    await tell(pair, State.FAULT)
    await pair.csc.evt_errorCode.set_write(errorCode=3, errorReport="the ledger is full")
    await pair.csc.evt_softwareVersions.set_write(cscVersion="1.2")
    await pair.csc.evt_payloads.set_write(names="a,b", definitions="{}")
    reading = asyncio.create_task(read_state(pair.remote))
    while not reading.done():
        await pair.csc.evt_heartbeat.set_write(force_output=True)
        await asyncio.sleep(0.02)
    report = await reading
    assert (report.state, report.is_alive, report.version) == ("FAULT", True, "1.2")
    assert (report.error_code, report.error_report) == (3, "the ledger is full")
    assert report.payloads == ("a", "b")


async def test_a_csc_without_heartbeats_is_reported_as_not_alive(pair: Pair) -> None:
    await tell(pair, State.ENABLED)
    report = await read_state(pair.remote)
    assert (report.state, report.is_alive) == ("ENABLED", False)


async def test_each_state_on_the_way_is_told_when_it_is_reached(pair: Pair) -> None:
    async def start(data: Any) -> None:
        await pair.csc.evt_summaryState.set_write(summaryState=State.DISABLED)

    async def enable(data: Any) -> None:
        await pair.csc.evt_summaryState.set_write(summaryState=State.ENABLED)

    pair.csc.cmd_start.callback = start
    pair.csc.cmd_enable.callback = enable
    await tell(pair, State.STANDBY)
    seen: list[str] = []
    await change_state(pair.remote, State.ENABLED, on_state=seen.append)
    assert seen == ["STANDBY", "DISABLED", "ENABLED"]


async def test_a_transition_that_fails_tells_what_the_csc_said(pair: Pair) -> None:
    async def start(data: Any) -> None:
        raise ExpectedError(f"no such override: {data.configurationOverride}")

    pair.csc.cmd_start.callback = start
    await tell(pair, State.STANDBY)
    with pytest.raises(StateChangeError, match=r"no such override: x\.yaml"):
        await change_state(pair.remote, State.ENABLED, override="x.yaml", on_state=lambda _: None)


async def test_the_schema_of_a_payload_is_what_the_csc_tells(pair: Pair) -> None:
    assert await parameter_schema(pair.remote, "nap", timeout=0.1) is None
    definitions = {"nap": {"description": "x", "parameters": {"type": "object"}}, "big": {}}
    await pair.csc.evt_payloads.set_write(names="big,nap", definitions=json.dumps(definitions))
    assert await parameter_schema(pair.remote, "nap", timeout=10) == {"type": "object"}
    assert await parameter_schema(pair.remote, "big", timeout=10) is None
    assert await parameter_schema(pair.remote, "other", timeout=10) is None


async def test_who_has_a_callback_is_not_made_to_wait_for_what_was_never_told(pair: Pair) -> None:
    async def take(_data: Any) -> None:
        pass

    pair.remote.evt_payloads.callback = take
    assert await parameter_schema(pair.remote, "nap") is None
