"""TAI: the table of leap seconds, and when the system's TAI clock is believed."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.sal import tai

LEAP = datetime(2017, 1, 1, tzinfo=UTC).timestamp()
TODAY = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("year", "month", "offset"),
    [(1972, 1, 10), (1972, 7, 11), (1980, 1, 19), (1999, 1, 32), (2015, 7, 36), (2017, 1, 37), (2026, 1, 37)],
)
def test_offset_on_known_days(year: int, month: int, offset: int) -> None:
    utc = datetime(year, month, 1, tzinfo=UTC).timestamp()
    assert tai.tai_from_utc_unix(utc) == utc + offset
    assert tai.utc_from_tai_unix(utc + offset) == utc


def test_a_leap_second_is_smeared_over_the_day_before() -> None:
    assert tai.tai_from_utc_unix(LEAP - 86400) == LEAP - 86400 + 36
    assert tai.tai_from_utc_unix(LEAP - 43200) == LEAP - 43200 + 36.5
    assert tai.tai_from_utc_unix(LEAP) == LEAP + 37


def test_the_way_back_is_an_integer_step() -> None:
    assert tai.utc_from_tai_unix(LEAP + 36.75) == LEAP + 0.75
    assert tai.utc_from_tai_unix(LEAP + 37) == LEAP


@given(st.floats(min_value=63072000, max_value=4e9))
def test_tai_grows_with_utc_and_comes_back_within_a_second(utc: float) -> None:
    assert tai.tai_from_utc_unix(utc + 1) > tai.tai_from_utc_unix(utc)
    assert abs(tai.utc_from_tai_unix(tai.tai_from_utc_unix(utc)) - utc) <= 1 + 1e-6


def test_times_before_1972_are_refused() -> None:
    with pytest.raises(ValueError, match="before 1972"):
        tai.tai_from_utc_unix(0)
    with pytest.raises(ValueError, match="before 1972"):
        tai.utc_from_tai_unix(0)


@pytest.mark.parametrize("error", [0.0, 1.0, -1.0])
def test_a_tai_clock_that_agrees_is_believed(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: TODAY)
    monkeypatch.setattr(tai, "_read_tai_clock", lambda: TODAY + 37 + error)
    assert tai.current_tai() == TODAY + 37 + error


@pytest.mark.parametrize("clock", [TODAY, TODAY + 38.2, None])
def test_a_tai_clock_that_was_never_set_is_not_believed(
    clock: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: TODAY)
    monkeypatch.setattr(tai, "_read_tai_clock", lambda: clock)
    assert tai.current_tai() == TODAY + 37


def test_now_is_ahead_of_utc_by_the_leap_seconds() -> None:
    assert 30 < tai.current_tai() - time.time() < 45
