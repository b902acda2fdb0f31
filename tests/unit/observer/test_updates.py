from types import SimpleNamespace

import pytest

from lsst.ts.ocps.observer.updates import Update, UpdateFeed, UpdateKind

pytestmark = pytest.mark.asyncio


def make_update(stamp: float) -> Update:
    return Update(UpdateKind.PHASE, SimpleNamespace(private_sndStamp=stamp))


async def test_news_that_overtook_each_other_are_put_in_order() -> None:
    feed = UpdateFeed()
    for stamp in (2.0, 1.0, 3.0):
        feed.put(make_update(stamp))
    feed.end()
    assert [update.stamp async for update in feed.read()] == [1.0, 2.0, 3.0]


async def test_the_feed_ends_when_it_is_told_so() -> None:
    feed = UpdateFeed()
    feed.end()
    assert [update async for update in feed.read()] == []
