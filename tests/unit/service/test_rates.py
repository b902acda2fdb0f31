"""Token buckets."""

from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.service import rates
from lsst.ts.ocps.service.rates import Buckets, Places


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_burst_is_followed_by_a_steady_rate() -> None:
    clock = Clock()
    buckets = Buckets(2.0, 3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.delay("a") == 0.5
    clock.time += 0.5
    assert buckets.delay("a") == 0
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5


def test_keys_do_not_share() -> None:
    buckets = Buckets(1.0, 1, clock=Clock())
    assert [buckets.take(key) for key in ("a", "b", "a")] == [0, 0, 1]


def test_looking_takes_nothing() -> None:
    buckets = Buckets(1.0, 1, clock=Clock())
    assert buckets.delay("a") == buckets.delay("a") == 0
    assert buckets.take("a") == 0


def test_a_flood_of_keys_does_not_fill_the_memory() -> None:
    clock = Clock()
    buckets = Buckets(1.0, 1, clock=clock)
    buckets.take("first")
    for number in range(rates._MAX_KEYS):
        buckets.take(str(number))
    assert len(buckets._levels) == rates._MAX_KEYS
    assert buckets.delay("1") > 0
    assert buckets.delay("first") == 0


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.1, 5), st.integers(1, 5))
def test_no_more_is_ever_granted_than_burst_and_rate_allow(
    pauses: list[float], rate: float, burst: int
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock=clock)
    start, granted = clock.time, 0
    for pause in pauses:
        clock.time += pause
        granted += buckets.take("a") == 0
        assert granted <= burst + rate * (clock.time - start) + 1e-6


def test_a_place_is_free_again_when_somebody_leaves() -> None:
    places = Places()
    assert [places.take("a", 2) for _ in range(3)] == [True, True, False]
    assert places.take("b", 1)
    places.leave("a")
    assert [places.take("a", 2) for _ in range(2)] == [True, False]
    assert all(places.take("a", None) for _ in range(5))
    for _ in range(7):
        places.leave("a")
    places.leave("b")
    # Nothing is kept of those who have gone.
    assert places._taken == {}
