"""Find out whether a server blocks when it is asked to (UWS 1.1 section 2.2.1.1)."""

import time

from lsst.ts.ocps.uws.phases import WAITABLE, ExecutionPhase

__all__ = ["WaitMeter"]

_EARLY = 0.5
"""An unchanged answer that came before this part of the time asked for came early …"""

_LONG = 5.0
"""… unless the server held it back this long anyway (s): it may cap the time."""

_EARLY_LIMIT = 2
"""A server may skip blocking once under load; so many early answers in a row are a habit."""

_VALID = 600.0
"""How long the verdict "does not block" holds (s); servers are replaced, and load goes."""


class WaitMeter:
    """The verdict on one server, from the answers that it gave."""

    def __init__(self) -> None:
        self._early = 0
        self._blocks: bool | None = None
        self._since = 0.0

    @property
    def verdict(self) -> bool | None:
        """True: it blocks; False: it answers at once; None: not known (any more)."""
        if self._blocks is False and time.monotonic() - self._since > _VALID:
            self._blocks, self._early = None, 0
        return self._blocks

    def note(self, *, asked: float, took: float, before: ExecutionPhase, after: ExecutionPhase) -> None:
        """Learn from one answer.

        Parameters
        ----------
        asked, took
            Time asked for and time until the answer (s).
        before, after
            The phase asked to be left, and the phase in the answer.
        """
        if before != after or before not in WAITABLE:
            return  # an immediate answer is right here
        if took < min(_EARLY * asked, _LONG):
            self._early += 1
            if self._early >= _EARLY_LIMIT:
                self._blocks, self._since = False, time.monotonic()
        else:
            self._early = 0
            self._blocks = True
