"""When garbage is looked for."""

import asyncio
import gc

import pytest

from lsst.ts.ocps.csc import garbage
from support.virtual_time import run_in_virtual_time


class Collections:
    """Counts them instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: list[float] = []
        monkeypatch.setattr(gc, "collect", self._collect)

    def _collect(self) -> int:
        self.times.append(asyncio.get_running_loop().time())
        return 0


async def play(collections: Collections) -> None:
    is_busy = False
    began = asyncio.get_running_loop().time()
    collecting = asyncio.ensure_future(garbage.collect_garbage(lambda: is_busy))
    await asyncio.sleep(35)
    assert [round(when - began) for when in collections.times] == [10, 20, 30]
    is_busy = True
    collections.times.clear()
    await asyncio.sleep(500)
    assert collections.times == []
    is_busy = False
    await asyncio.sleep(2)
    assert len(collections.times) == 1
    is_busy = True
    await asyncio.sleep(1300)
    assert len(collections.times) == 3
    collecting.cancel()


def test_the_program_takes_it_over_from_the_interpreter() -> None:
    before = gc.get_threshold()
    assert not garbage.are_collections_postponed()
    try:
        garbage.postpone_collections()
        assert garbage.are_collections_postponed()
        assert gc.get_threshold()[:2] == before[:2]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_garbage_is_looked_for_when_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    run_in_virtual_time(play(Collections(monkeypatch)))
