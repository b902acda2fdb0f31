"""How long the CSC goes on asking for a job of which it hears nothing good."""

import asyncio
import time
from collections.abc import Callable

import pytest

from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import OutcomeKind
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.mortal_csc import STORED, CoreLife, World
from support.runs import make_run
from support.virtual_time import run_in_virtual_time

GIVE_UP, DURATION = 600.0, 60
LIMIT = GIVE_UP + DURATION


def silence(world: World) -> None:
    world.service.is_available = False


def lose_sight(world: World) -> None:
    (url,) = world.service.jobs()
    world.service.force(url, ExecutionPhase.UNKNOWN)


def recover(world: World) -> None:
    world.service.is_available = True
    (url,) = world.service.jobs()
    world.service.force(url, ExecutionPhase.EXECUTING)


async def play(spoil: Callable[[World], None], words: str) -> None:
    world = World(creates_pending=True)
    world.service.script = Script(duration=float("inf"))
    life = CoreLife(world, None, Patience(give_up=GIVE_UP))
    await life.start()
    run = make_run(backend=STORED, accepted_at=time.time(), execution_duration=DURATION)
    await life.obey(run)
    await asyncio.sleep(60)
    for _ in range(2):
        # News in between begin it anew.
        spoil(world)
        await asyncio.sleep(0.9 * LIMIT)
        assert world.has_unfinished
        recover(world)
        await asyncio.sleep(60)
    spoil(world)
    await asyncio.sleep(LIMIT - 60)
    assert world.has_unfinished
    await asyncio.sleep(180)
    (record,) = await world.records()
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.LOST
    assert words in record.outcome.message
    assert len(world.results_of(run.run_id)) == 1
    assert world.deaths == []
    await life.aclose()
    await world.aclose()


@pytest.mark.parametrize(
    ("spoil", "words"), [(silence, "the fake service is down"), (lose_sight, "its phase is UNKNOWN")]
)
def test_without_good_news_for_a_day_longer_than_it_may_run_a_run_is_lost(
    spoil: Callable[[World], None], words: str
) -> None:
    assert Patience().give_up == 86400.0
    run_in_virtual_time(play(spoil, words))
