"""The functions of ts_utils that programs for SAL use most (salobj-api section 13)."""

import asyncio
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .functions import MAX_SAL_INDEX
from .tai import tai_from_utc_unix

if TYPE_CHECKING:
    import astropy.time

__all__ = [
    "MJD_MINUS_UNIX_SECONDS",
    "SECONDS_PER_DAY",
    "astropy_time_from_tai_unix",
    "index_generator",
    "make_done_future",
    "modify_environ",
    "tai_from_utc",
]

SECONDS_PER_DAY = 86400.0
"""Length of a day without leap second (s)."""

MJD_MINUS_UNIX_SECONDS = -40587.0 * SECONDS_PER_DAY
"""A Modified Julian Date in seconds = a time in Unix seconds minus this number (s)."""


def index_generator(imin: int = 1, imax: int = MAX_SAL_INDEX, i0: int | None = None) -> Iterator[int]:
    """Count for ever, from ``imax`` back to ``imin``.

    Parameters
    ----------
    imin, imax
        Smallest and largest number.
    i0
        First number; None: ``imin``.

    Raises
    ------
    ValueError
        At the call, if ``imax`` is not larger than ``imin``, or ``i0`` is not between the two.
    """
    first = imin if i0 is None else i0
    if imax <= imin:
        raise ValueError(f"imin={imin} must be less than imax={imax}")
    if not imin <= first <= imax:
        raise ValueError(f"i0={i0} must be >= imin={imin} and <= imax={imax}")
    return _count(imin, imax, first)


def _count(smallest: int, largest: int, first: int) -> Generator[int, None, None]:
    number = first
    while True:
        yield number
        number = smallest if number == largest else number + 1


def make_done_future() -> asyncio.Future[None]:
    """A future that is done; its result is None.

    Raises
    ------
    RuntimeError
        If no event loop is running.
    """
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


@contextmanager
def modify_environ(**kwargs: Any) -> Iterator[None]:
    """Change environment variables for the time of a block; for tests.

    Parameters
    ----------
    **kwargs
        New values by name; None: the variable is deleted.

    Raises
    ------
    RuntimeError
        If a value is neither a text nor None; nothing is changed then.
    """
    wrong = [f"{name}={value!r}" for name, value in kwargs.items() if not isinstance(value, str | None)]
    if wrong:
        raise RuntimeError(f"{', '.join(wrong)}: environment variables are texts")
    environment = os.environ  # noqa: TID251 (that is what it is for)
    old = {name: environment.get(name) for name in kwargs}
    _set_variables(kwargs)
    try:
        yield
    finally:
        _set_variables(old)


def _set_variables(values: dict[str, str | None]) -> None:
    environment = os.environ  # noqa: TID251 (see modify_environ)
    for name, value in values.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value


def tai_from_utc(utc: "float | str | astropy.time.Time", format: str | None = "unix") -> float:  # noqa: A002 (the API)
    """TAI (Unix s) from UTC.

    Parameters
    ----------
    utc
        A number or text in the given format, or a Time of any scale and format.
    format
        Of ``utc``: "unix" (Unix s), "iso" or "isot" are known without astropy; others are astropy's.

    Raises
    ------
    ValueError
        If the time is before 1972, or not of that format.
    """
    if isinstance(utc, int | float) and format == "unix":
        return tai_from_utc_unix(float(utc))
    if isinstance(utc, str) and format in {"iso", "isot"}:
        return tai_from_utc_unix(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp())
    from astropy.time import Time  # noqa: PLC0415 (heavy, and rarely needed)

    moment = utc if isinstance(utc, Time) else Time(utc, scale="utc", format=format)
    return float(moment.unix_tai)


def astropy_time_from_tai_unix(tai_unix: float) -> "astropy.time.Time":
    """A time of astropy: scale TAI, format MJD. Needs astropy.

    Parameters
    ----------
    tai_unix
        TAI (Unix s).
    """
    from astropy.time import Time  # noqa: PLC0415 (heavy, and rarely needed)

    # Two numbers, because one would round to a microsecond.
    days, seconds = divmod(tai_unix - MJD_MINUS_UNIX_SECONDS, SECONDS_PER_DAY)
    return Time(days, seconds / SECONDS_PER_DAY, format="mjd", scale="tai")
