"""The late-joiner rule (sal-on-kafka section 8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.sal.broker.base import OffsetRange
from lsst.ts.ocps.sal.history import HistoryReplay

Log = list[tuple[int, str | None]]


def replay(
    log: Log, *, begin: int = 0, window: int = 500, index: int = 0
) -> tuple[list[str], HistoryReplay[str]]:
    """Feed a log from the start offset on; what was delivered."""
    history = HistoryReplay[str](OffsetRange(begin, begin + len(log)), window=window, index=index)
    delivered: list[str] = []
    for n, (sal_index, sample) in enumerate(log):
        if begin + n >= history.start_offset:
            delivered += history.feed(begin + n, sal_index, sample)
    return delivered, history


def test_an_empty_log_has_no_history() -> None:
    history = HistoryReplay[str](OffsetRange(0, 0), window=500, index=0)
    assert history.is_complete
    assert history.start_offset == 0
    assert history.feed(0, 1, "live") == ["live"]


def test_a_log_emptied_by_retention_has_no_history() -> None:
    history = HistoryReplay[str](OffsetRange(40, 40), window=500, index=0)
    assert history.is_complete
    assert history.start_offset == 40


def test_a_reader_without_history_starts_at_the_end() -> None:
    history = HistoryReplay[str](OffsetRange(0, 7), window=0, index=0)
    assert history.is_complete
    assert history.start_offset == 7
    assert history.feed(7, 1, "live") == ["live"]


def test_nothing_is_delivered_before_the_last_offset() -> None:
    history = HistoryReplay[str](OffsetRange(0, 3), window=500, index=0)
    assert history.feed(0, 1, "a") == []
    assert history.feed(1, 1, "b") == []
    assert not history.is_complete
    assert history.feed(2, 1, "c") == ["c"]
    assert history.is_complete


def test_the_newest_of_each_index_comes_in_the_order_of_first_appearance() -> None:
    delivered, _ = replay([(2, "a2"), (1, "a1"), (2, "b2"), (3, "a3"), (1, "b1")])
    assert delivered == ["b2", "b1", "a3"]


def test_a_reader_of_one_index_gets_only_that_one() -> None:
    delivered, _ = replay([(2, "a2"), (1, "a1"), (2, "b2"), (3, "a3")], index=1)
    assert delivered == ["a1"]


def test_the_last_record_of_another_index_completes_the_history_too() -> None:
    delivered, history = replay([(1, "a1"), (2, "a2")], index=1)
    assert delivered == ["a1"]
    assert history.is_complete


def test_newest_is_by_offset() -> None:
    delivered, _ = replay([(1, "stamped later"), (1, "written later")])
    assert delivered == ["written later"]


@pytest.mark.parametrize(("age", "is_found"), [(450, True), (500, True), (501, False), (600, False)])
def test_a_value_further_back_than_the_window_is_not_found(age: int, is_found: bool) -> None:
    log: Log = [(1, "old"), *((2, f"other {n}") for n in range(age - 1))]
    delivered, _ = replay(log, index=1)
    assert delivered == (["old"] if is_found else [])


def test_the_window_ends_at_the_begin_of_the_log() -> None:
    assert HistoryReplay[str](OffsetRange(90, 100), window=500, index=0).start_offset == 90
    assert HistoryReplay[str](OffsetRange(0, 1000), window=500, index=0).start_offset == 500


def test_an_unindexed_component_reads_one_record() -> None:
    delivered, history = replay([(0, "a"), (0, "b"), (0, "c")], window=1)
    assert history.start_offset == 2
    assert delivered == ["c"]


def test_an_undecodable_last_record_counts_as_reached() -> None:
    delivered, history = replay([(1, "a"), (0, None)])
    assert delivered == ["a"]
    assert history.is_complete


def test_a_missing_last_record_counts_as_reached_when_a_live_one_comes() -> None:
    history = HistoryReplay[str](OffsetRange(0, 3), window=500, index=0)
    assert history.feed(1, 1, "kept") == []
    assert history.feed(3, 2, "live") == ["kept", "live"]
    assert history.is_complete


def test_a_missing_last_record_counts_as_reached_when_the_reader_gives_up() -> None:
    history = HistoryReplay[str](OffsetRange(0, 3), window=500, index=0)
    assert history.feed(1, 1, "kept") == []
    assert history.finish() == ["kept"]
    assert history.is_complete
    assert history.finish() == []


def test_live_records_pass_through_filtered_by_index() -> None:
    _, history = replay([(1, "a")], index=1)
    assert history.feed(1, 1, "b") == ["b"]
    assert history.feed(2, 2, "c") == []
    assert history.feed(3, 0, None) == []


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window=-1"):
        HistoryReplay[str](OffsetRange(0, 1), window=-1, index=0)


@given(
    log=st.lists(st.tuples(st.integers(1, 4), st.none() | st.just("x")), max_size=40),
    begin=st.integers(0, 5),
    window=st.integers(0, 45),
    index=st.integers(0, 4),
)
def test_delivers_what_the_rule_says_for_any_log(
    log: list[tuple[int, str | None]], begin: int, window: int, index: int
) -> None:
    named = [(i, None if s is None else f"{i}@{begin + n}") for n, (i, s) in enumerate(log)]
    delivered, history = replay(named, begin=begin, window=window, index=index)
    inside = named[max(0, len(named) - window) :]
    wanted = [(i, s) for i, s in inside if s is not None and index in {0, i}]
    assert delivered == list(dict(wanted).values())
    assert history.is_complete
