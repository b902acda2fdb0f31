"""TAI and UTC as Unix seconds (sal-on-kafka section 6)."""

import bisect
import time
from datetime import UTC, datetime

__all__ = ["current_tai", "tai_from_utc_unix", "utc_from_tai_unix"]

_DAY = 86400.0

_CLOCK_TOLERANCE = 1.1
"""The system's TAI clock is believed within this distance from UTC + table (s): a leap second that is newer
than the table passes, a kernel that was never told the offset does not."""

_FIRST_OFFSET = 10
"""TAI - UTC at the beginning of 1972 (s)."""

_LEAP_DAYS = (
    # The days that began after a leap second. Source: IERS Bulletin C as distributed in leap-seconds.list
    # of 6 July 2026, valid until 28 June 2027. A later leap second comes from the system's TAI clock.
    *((1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1), (1979, 1), (1980, 1)),
    *((1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7), (1993, 7)),
    *((1994, 7), (1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1)),
)

_BEGIN = datetime(1972, 1, 1, tzinfo=UTC).timestamp()
_STEPS_UTC = tuple(datetime(year, month, 1, tzinfo=UTC).timestamp() for year, month in _LEAP_DAYS)
"""UTC Unix seconds at which the offset grew by one."""

_STEPS_TAI = tuple(step + _FIRST_OFFSET + n + 1 for n, step in enumerate(_STEPS_UTC))
"""The same instants in TAI Unix seconds."""


def current_tai() -> float:
    """TAI now (Unix s): the system's TAI clock if it agrees with UTC and the table of leap seconds."""
    from_table = tai_from_utc_unix(time.time())
    from_clock = _read_tai_clock()
    if from_clock is not None and abs(from_clock - from_table) < _CLOCK_TOLERANCE:
        return from_clock
    return from_table


def _read_tai_clock() -> float | None:
    clock = getattr(time, "CLOCK_TAI", None)
    return None if clock is None else time.clock_gettime(clock)


def tai_from_utc_unix(utc_unix: float) -> float:
    """TAI Unix seconds from UTC Unix seconds; a leap second is smeared over the day before it.

    Parameters
    ----------
    utc_unix
        UTC (Unix s).

    Raises
    ------
    ValueError
        If the time is before 1972, when UTC had no whole-second offset.
    """
    if utc_unix < _BEGIN:
        raise ValueError(f"utc_unix={utc_unix!r}: there are no whole leap seconds before 1972")
    n = bisect.bisect_right(_STEPS_UTC, utc_unix)
    tai = utc_unix + _FIRST_OFFSET + n
    if n < len(_STEPS_UTC):
        tai += max(0.0, (utc_unix - (_STEPS_UTC[n] - _DAY)) / _DAY)
    return tai


def utc_from_tai_unix(tai_unix: float) -> float:
    """UTC Unix seconds from TAI Unix seconds, by the integer step in force then (37 s since 2017).

    Parameters
    ----------
    tai_unix
        TAI (Unix s).

    Raises
    ------
    ValueError
        If the time is before 1972.
    """
    if tai_unix < _BEGIN + _FIRST_OFFSET:
        raise ValueError(f"tai_unix={tai_unix!r}: there are no whole leap seconds before 1972")
    return tai_unix - _FIRST_OFFSET - bisect.bisect_right(_STEPS_TAI, tai_unix)
