"""Of two CSCs with one name and index only one stays, on a broker of each kind."""

import asyncio
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from support.brokers import BrokerBench
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, until
from support.sal_log import read_samples

pytestmark = pytest.mark.asyncio


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
