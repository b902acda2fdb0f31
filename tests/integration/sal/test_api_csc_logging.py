"""Log records and log level of a CSC, on a broker of each kind."""

import pytest

from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from support.sal_fixtures import CscCase, own_messages

pytestmark = pytest.mark.asyncio


async def test_records_from_before_the_start_are_published_after_it(case: CscCase) -> None:
    csc = case.basic_make_csc(State.STANDBY, None, 0, index=8)
    for n in range(20):
        csc.log.warning("early %d", n)
    csc.delay_start_event.clear()
    async with Remote(csc.domain, "Test", 8) as remote:
        csc.delay_start_event.set()
        async with csc:
            seen = await own_messages(remote, 20)
    assert [data.message for data in seen] == [f"early {n}" for n in range(20)]
