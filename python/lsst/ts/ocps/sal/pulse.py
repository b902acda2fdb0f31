"""Heartbeats (salobj-api sections 6 and 14)."""

import logging
from collections.abc import Sequence

from .errors import BrokerError
from .topics.controller_topics import ControllerEvent

__all__ = ["MISSED_REPORT", "Pulse"]

MISSED_REPORT = 30
"""While heartbeats fail, one in so many is reported."""


class Pulse:
    """Writes heartbeats, and with them the states that the broker has not taken before.

    Parameters
    ----------
    heartbeat
        The event heartbeat.
    states
        Events of which the world has to know the last value.
    log
        Told of heartbeats that fail.
    """

    def __init__(
        self, heartbeat: ControllerEvent, states: Sequence[ControllerEvent], log: logging.Logger
    ) -> None:
        self._heartbeat = heartbeat
        self._states = states
        self._log = log
        self._num_missed = 0

    async def beat(self) -> None:
        """Write one heartbeat; a failure is logged, and raises nothing."""
        try:
            await self._heartbeat.set_write(heartbeat=False, force_output=True)
            for event in self._states:
                if event.is_owed:
                    await event.write()
        except BrokerError as error:
            if self._num_missed % MISSED_REPORT == 0:
                self._log.warning("no heartbeat: %s", error)
            self._num_missed += 1
        else:
            self._num_missed = 0
