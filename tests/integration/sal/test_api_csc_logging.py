"""Log records and log level of a CSC, on a broker of each kind."""

import asyncio
import logging

import pytest

from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from support.sal_fixtures import WAIT, CscCase

pytestmark = pytest.mark.asyncio


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
        assert seen[0].filePath.endswith("test_api_csc_logging.py")
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
