"""Times in UWS documents: UTC, as servers write them and as we write them (UWS 1.1 section 2.1.1)."""

import re
from datetime import UTC, datetime, timedelta, timezone

from .errors import quoted

__all__ = ["format_time", "parse_time"]

_TIME = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)


def parse_time(text: str) -> datetime:
    """Read a time in any of the forms that are met.

    With or without ``Z`` (no zone means UTC), any number of fraction digits (those below 1 µs are cut),
    offsets ``+00:00``, ``+0200`` and ``+02``, a blank for the ``T``, a date alone (midnight), 24:00:00,
    and leap seconds (the first instant of the next minute).

    Parameters
    ----------
    text
        An ISO 8601 time.

    Returns
    -------
    datetime
        The instant, aware, in UTC.

    Raises
    ------
    ValueError
        If the text is no such time; it names the text.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{quoted(text, length=60)} is not an ISO 8601 time")
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    micro = int((match["fraction"] or "")[:6].ljust(6, "0"))
    zone = match["zone"] or "Z"
    if (hour, minute, second, micro) > (24, 0, 0, 0) or minute > 59 or second > 60:
        raise ValueError(f"{quoted(text, length=60)} is not a time: there is no such time of day")
    try:
        day = datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=_zone(zone))
        of_day = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)
        return (day + of_day).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{quoted(text, length=60)} is not a time: {error}") from error


def _zone(text: str) -> timezone:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def format_time(time: datetime) -> str:
    """Write a time in the one form that every known server accepts: ``YYYY-MM-DDThh:mm:ss.sssZ``.

    Parameters
    ----------
    time
        An aware time; parts of a millisecond are cut, so that what is shown is never later than what is
        meant and the order of two times is kept.

    Raises
    ------
    ValueError
        If the time is naive.
    """
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone")
    utc = time.astimezone(UTC)
    return f"{utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
