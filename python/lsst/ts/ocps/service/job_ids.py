"""Ids of jobs."""

import re
import secrets
import time
from collections.abc import Callable

__all__ = ["JobIds", "is_job_id"]

# Without the letters that are taken for digits.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_JOB_ID = re.compile(f"[0-9][{_DIGITS}]{{16}}")


def is_job_id(name: str) -> bool:
    """Whether something has the form of our ids."""
    return _JOB_ID.fullmatch(name) is not None


class JobIds:
    """Makes job ids: unique, sorted by the time they were made, of ``[0-9a-z]``, beginning with a digit.

    The digit is for old clients that strip the letters of ``http`` from the left. An id has 9 characters of
    time (ms) and 8 random ones (40 bits).

    Parameters
    ----------
    clock
        Time since 1970 (s).
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """Make an id, later in order than all before, also when the clock steps back."""
        self._last = max(int(self._clock() * 1000), self._last + 1)
        stamp = "".join(_DIGITS[(self._last >> shift) & 31] for shift in range(40, -1, -5))
        return stamp + "".join(secrets.choice(_DIGITS) for _ in range(8))
