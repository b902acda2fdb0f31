"""How often somebody may do something (token buckets), and how much of it at a time."""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Buckets", "Places"]

_MAX_KEYS = 10_000
"""So many buckets are kept; the one that was used longest ago makes room, as if it were full again."""


class Buckets:
    """A bucket of permissions for each key, which fills at a steady rate.

    Parameters
    ----------
    rate
        Permissions that come in (1/s).
    burst
        Permissions in a full bucket.
    clock
        The time (s).
    """

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def delay(self, key: str) -> float:
        """How long until there is a permission (s); 0: there is one. None is taken."""
        return max(0.0, (1.0 - self._level(key)) / self._rate)

    def take(self, key: str) -> float:
        """Take a permission.

        Returns
        -------
        float
            0, or how long until there is one to take (s).
        """
        level = self._level(key)
        if level < 1.0:
            return (1.0 - level) / self._rate
        self._levels[key] = (level - 1.0, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > _MAX_KEYS:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, key: str) -> float:
        level, since = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - since) * self._rate)


class Places:
    """So many things at a time for each key."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, key: str, limit: int | None) -> bool:
        """Take one of so many places, as long as there is one; None: there are as many as are wanted."""
        taken = self._taken.get(key, 0)
        if limit is not None and taken >= limit:
            return False
        self._taken[key] = taken + 1
        return True

    def leave(self, key: str) -> None:
        """Give a place back that was taken."""
        taken = self._taken.pop(key) - 1
        if taken:
            self._taken[key] = taken
