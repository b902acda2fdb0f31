"""When ``job_counts`` is told: on every change, and every 5 s."""

import asyncio
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from lsst.ts.ocps.csc.counts import Counts
from support.virtual_time import run_in_virtual_time


@dataclass
class World:
    """Tracker, ledger and reporter in one: so many runs wait, and what has been told of them, and when."""

    count: int = 0
    told: list[tuple[float, int]] = field(default_factory=list)

    @property
    def active(self) -> list[Any]:
        runs = (SimpleNamespace(run_id=f"r{number}", accepted_at=0.0) for number in range(self.count))
        return [SimpleNamespace(run=run) for run in runs]

    @property
    def waiting(self) -> frozenset[str]:
        return frozenset(record.run.run_id for record in self.active)

    async def count_outcomes(self, _since: float) -> dict[str, int]:
        return {}

    async def publish_counts(self, fields: dict[str, Any]) -> None:
        self.told.append((time.monotonic(), fields["waiting"]))


async def watch(seconds: float, changes: dict[float, int]) -> list[tuple[float, int]]:
    """What is told in so many seconds, while the number of runs changes at moments."""
    problems: list[BaseException] = []
    world: Any = World()
    counts = Counts(
        world,
        world,
        world,
        on_ledger_error=problems.append,
        on_death=lambda _name, error: problems.append(error),
    )
    counts.start()
    for moment, count in changes.items():
        await asyncio.sleep(moment - time.monotonic())
        world.count = count
    await asyncio.sleep(seconds - time.monotonic())
    await counts.aclose()
    assert problems == []
    told: list[tuple[float, int]] = world.told
    return told


def test_counts_are_told_every_5_s_though_nothing_changes() -> None:
    assert run_in_virtual_time(watch(21.0, {})) == [(0.0, 0), (5.0, 0), (10.0, 0), (15.0, 0), (20.0, 0)]


def test_counts_are_told_at_the_next_look_after_a_change_and_5_s_after_that() -> None:
    told = run_in_virtual_time(watch(14.0, {6.2: 2, 7.9: 1}))
    assert told == [(0.0, 0), (5.0, 0), (6.5, 2), (8.0, 1), (13.0, 1)]
