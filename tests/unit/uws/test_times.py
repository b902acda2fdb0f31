from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.uws.times import format_time, parse_time

NOON = datetime(2031, 2, 3, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2031-02-03T12:00:00Z", NOON),
        ("2031-02-03T12:00:00", NOON),
        ("2031-02-03T12:00Z", NOON),
        (" 2031-02-03T12:00:00z\n", NOON),
        ("2031-02-03 12:00:00", NOON),
        ("2031-02-03T12:00:00 Z", NOON),
        ("2031-02-03T12:00:00+00:00", NOON),
        ("2031-02-03T14:00:00+0200", NOON),
        ("2031-02-03T14:00:00+02", NOON),
        ("2031-02-03T07:00:00-05:00", NOON),
        ("2031-02-03T17:30:00+05:30", NOON),
        ("2031-02-03T12:00:00.5Z", NOON + timedelta(milliseconds=500)),
        ("2031-02-03T12:00:00,25Z", NOON + timedelta(milliseconds=250)),
        ("2031-02-03T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
        ("2031-02-03T12:00:00.0000019999Z", NOON + timedelta(microseconds=1)),
        ("2031-02-03", NOON - timedelta(hours=12)),
        ("2031-02-03Z", NOON - timedelta(hours=12)),
        ("2031-02-03T24:00:00Z", NOON + timedelta(hours=12)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2031-01-01T00:30:00+01:00", datetime(2030, 12, 31, 23, 30, tzinfo=UTC)),
    ],
)
def test_times_in_every_form_that_is_met(text: str, time: datetime) -> None:
    read = parse_time(text)
    assert read == time
    assert read.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2031",
        "2031-02",
        "20310203T120000Z",
        "2031-02-30T12:00:00Z",
        "2031-13-01",
        "2031-02-03T25:00:00Z",
        "2031-02-03T24:00:01Z",
        "2031-02-03T12:60:00Z",
        "2031-02-03T12:00:61Z",
        "2031-02-03T12:00:00+99:00",
        "2031-02-03T12:00:00 UTC",
        "0000-01-01",
        "9999-12-31T23:59:59-05:00",
        "\uff12\uff10\uff13\uff11-02-03",
        "x" * 1000,
    ],
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a") as caught:
        parse_time(text)
    assert text[:50] in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (NOON, "2031-02-03T12:00:00.000Z"),
        (NOON + timedelta(microseconds=999_999), "2031-02-03T12:00:00.999Z"),
        (NOON.astimezone(timezone(timedelta(hours=-3))), "2031-02-03T12:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_with_three_digits_and_z(time: datetime, text: str) -> None:
    assert format_time(time) == text


def test_a_naive_time_is_not_written() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2031, 2, 3))  # noqa: DTZ001 (that is the point)


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001 (hypothesis wants naive bounds)
def test_a_time_is_read_as_it_was_written_to_the_millisecond(time: datetime) -> None:
    read = parse_time(format_time(time))
    assert timedelta(0) <= time - read < timedelta(milliseconds=1)
    assert format_time(read) == format_time(time)
