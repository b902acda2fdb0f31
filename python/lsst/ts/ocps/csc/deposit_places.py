"""What is remembered of the places where results go: a dead one costs each run little, and others nothing.

::

                     begin fails                        a deposit's timeout after that
    in reach ───────────────────────▶ out of reach ─────────────────────────────────────▶ given up
       ▲   the run tries until its timeout  │ the run tries until the end of that time      │ the run tries
       │                                    │                                               │ for BRIEF
       └──── begin succeeds, or nobody has tried for MEMORY ◀───────────────────────────────┘
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from .errors import DepositError

__all__ = ["BRIEF", "MAX_AT_ONCE", "MEMORY", "Place"]

T = TypeVar("T")

MAX_AT_ONCE = 4
"""So many runs are deposited at one place at a time: each has a file and a thread."""

BRIEF = 10.0
"""How long a run tries to reach a place that has been out of reach for a whole timeout (s).

An attempt without an answer for so long counts as failed, though it goes on: clients of S3 try some times by
themselves, half a minute where connections are refused.
"""

MEMORY = 600.0
"""After so much time without an attempt nothing is known of a place any more (s)."""


class Place:
    """One root below which runs are deposited: a folder, a bucket, an instance of the annex.

    Only the beginning of a deposit, which moves no results, tells whether a place can be reached: a large
    result may take its time anywhere.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._down_since: float | None = None
        self._last_failure = 0.0
        self._last_error: DepositError | None = None

    @property
    def last_error(self) -> DepositError | None:
        """What was said when the place was tried last, while it is out of reach; None: nothing."""
        return None if self._outage() is None else self._last_error

    @property
    def trouble(self) -> str:
        """Since when the place is out of reach, as the end of a sentence; "" if it is not."""
        if (began := self._outage()) is None:
            return ""
        since = time.time() - (time.monotonic() - began)
        return f"; out of reach since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(since))}"

    def time_to_begin(self, limit: float) -> float:
        """How long a run may try to reach the place (s).

        Parameters
        ----------
        limit
            How long its deposit may take in all (s).
        """
        if (began := self._outage()) is None:
            return limit
        return min(limit, max(BRIEF, began + limit - time.monotonic()))

    @asynccontextmanager
    async def turn(self, limit: float) -> AsyncIterator[None]:
        """Wait until there is room for one more run.

        Parameters
        ----------
        limit
            How long its deposit may take in all (s).

        Raises
        ------
        DepositError
            If others have meanwhile tried to reach the place, and have given it up.
        """
        asked_at = time.monotonic()
        async with self._turns:
            if self._last_failure > asked_at and self.time_to_begin(limit) <= BRIEF < limit:
                raise DepositError("others could not be deposited there just now either", transient=True)
            yield

    async def reach(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Try once to begin a deposit, and remember how that went.

        Raises
        ------
        DepositError
            What ``begin`` raises.
        """
        began = time.monotonic()
        slow = asyncio.get_running_loop().call_later(BRIEF, self._note_failure, began)
        try:
            answer = await begin()
        except DepositError as error:
            self._last_error = error
            if error.transient:
                self._note_failure(began)
            else:
                # It cannot be used, and has said so at once.
                self._down_since = None
            raise
        except asyncio.CancelledError:
            # Its time was up.
            self._note_failure(began)
            raise
        finally:
            slow.cancel()
        self._down_since = self._last_error = None
        return answer

    def _note_failure(self, began: float) -> None:
        if self._outage() is None:
            self._down_since = began
        self._last_failure = time.monotonic()

    def _outage(self) -> float | None:
        """When the place went out of reach, as far as that is still of interest."""
        is_recent = time.monotonic() - self._last_failure < MEMORY
        return self._down_since if is_recent else None
