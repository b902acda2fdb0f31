"""Whether a server blocks is measured."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.waiting import WaitMeter
from lsst.ts.ocps.uws.phases import WAITABLE, ExecutionPhase
from support.uws_bench import ServerBench, server_bench
from support.uws_server import Reply, Request, drop, status

P = ExecutionPhase


def note(meter: WaitMeter, took: float, *, asked: float = 30, phase: P = P.EXECUTING) -> None:
    meter.note(asked=asked, took=took, before=phase, after=phase)


def test_nothing_is_known_at_first() -> None:
    assert WaitMeter().verdict is None


@pytest.mark.parametrize("took", [30.0, 31.0, 16.0, 5.5])
def test_an_answer_that_was_held_back_means_blocking(took: float) -> None:
    meter = WaitMeter()
    note(meter, took)
    assert meter.verdict is True


def test_early_unchanged_answers_mean_no_blocking_but_one_is_chance() -> None:
    meter = WaitMeter()
    note(meter, 0.01)
    assert meter.verdict is None
    note(meter, 0.01)
    assert meter.verdict is False


def test_one_early_answer_of_a_server_under_load_changes_nothing() -> None:
    meter = WaitMeter()
    for took in (30, 0.01, 30, 0.01, 30):
        note(meter, took)
        assert meter.verdict is True


def test_answers_that_are_right_to_be_early_teach_nothing() -> None:
    meter = WaitMeter()
    for phase in P:
        if phase not in WAITABLE:
            note(meter, 0.01, phase=phase)
            note(meter, 0.01, phase=phase)
    meter.note(asked=30, took=0.01, before=P.QUEUED, after=P.EXECUTING)
    meter.note(asked=30, took=0.01, before=P.EXECUTING, after=P.COMPLETED)
    assert meter.verdict is None


def test_a_short_wait_is_judged_by_its_own_length() -> None:
    meter = WaitMeter()
    note(meter, 1.0, asked=1)
    assert meter.verdict is True
    note(meter, 0.1, asked=1)
    note(meter, 0.1, asked=1)
    assert meter.verdict is False


def test_the_verdict_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = WaitMeter()
    note(meter, 0)
    note(meter, 0)
    assert meter.verdict is False
    monkeypatch.setattr("lsst.ts.ocps.client.waiting._VALID", -1)
    assert meter.verdict is None
    note(meter, 0)
    assert meter.verdict is None  # it takes two again
    note(meter, 30)
    assert meter.verdict is True


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[ServerBench]:
    async with server_bench() as bench:
        yield bench


@pytest.mark.asyncio
async def test_a_server_that_blocks_is_found_out(bench: ServerBench) -> None:
    created = await bench.create()
    assert bench.backend.wait_blocks is None
    await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)
    assert bench.backend.wait_blocks is True


@pytest.mark.asyncio
async def test_a_server_that_does_not_block_is_found_out(bench: ServerBench) -> None:
    bench.server.blocks = False
    created = await bench.create()
    for _ in range(2):
        assert (await bench.backend.wait(created.url, phase=P.PENDING, seconds=30)).phase is P.PENDING
    assert bench.backend.wait_blocks is False


@pytest.mark.asyncio
async def test_a_server_that_refuses_to_wait_is_read_plainly(bench: ServerBench) -> None:
    created = await bench.create()
    for _ in range(2):
        bench.server.misbehave("GET", "/async/1", status(400, "UsageError: what is WAIT?"))
        assert await bench.backend.wait(created.url, phase=P.PENDING, seconds=30) == created.job
    assert bench.backend.wait_blocks is False


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("seconds", "sent"), [(0.0, "1"), (0.3, "1"), (1.5, "2"), (30, "7"), (math.inf, "7")]
)
async def test_the_time_is_whole_seconds_and_bounded(seconds: float, sent: str) -> None:
    async with server_bench(max_wait=7) as bench:
        created = await bench.create()
        bench.server.blocks = False
        await bench.backend.wait(created.url, phase=P.PENDING, seconds=seconds)
        assert bench.server.requests[-1].query == {"WAIT": sent, "PHASE": "PENDING"}


@pytest.mark.asyncio
async def test_an_answer_may_come_later_than_the_time_asked_for() -> None:
    async with server_bench(call_timeout=10, max_wait=1) as bench:
        created = await bench.create()

        async def late(_: Request) -> Reply | None:
            await asyncio.sleep(1.5)
            return None

        bench.server.misbehave("GET", "/async/1", late)
        assert (await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)).phase is P.PENDING


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_given_up() -> None:
    async with server_bench(call_timeout=1, max_wait=1) as bench:
        created = await bench.create()

        async def never(_: Request) -> None:
            await asyncio.sleep(60)

        bench.server.misbehave("GET", "/async/1", never)
        with pytest.raises(BackendUnavailableError, match=r"no answer in 2 s"):
            await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)


@pytest.mark.asyncio
async def test_a_connection_that_breaks_while_waiting_is_tried_again_once(bench: ServerBench) -> None:
    created = await bench.create()
    bench.server.misbehave("GET", "/async/1", drop())
    assert (await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)).phase is P.PENDING
    bench.server.misbehave("GET", "/async/1", drop(), drop())
    with pytest.raises(BackendUnavailableError, match="connection broke"):
        await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)
