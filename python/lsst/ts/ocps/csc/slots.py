"""How many runs of a payload, or of all, may be active at once; the others wait in the order of asking."""

import asyncio
from collections import defaultdict, deque
from typing import Literal

from .records import Run

__all__ = ["RunSlots", "Slots"]

_ALL_PAYLOADS = "*"
"""Stands for all payloads together, where one is named."""


class Slots:
    """Who holds a slot of which payload, and who waits for one."""

    def __init__(self) -> None:
        self._holders: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._waiting: defaultdict[str, deque[tuple[str, int, asyncio.Future[None]]]] = defaultdict(deque)

    def occupy(self, payload: str, run_id: str) -> None:
        """Take a slot whether or not one is free: the job runs already."""
        self._holders[payload][run_id] = None

    async def acquire(self, payload: str, run_id: str, limit: int | None) -> None:
        """Wait for a slot.

        Parameters
        ----------
        payload
            Whose slots.
        run_id
            Who asks; one that has a slot gets it again.
        limit
            How many runs may hold one; None: any number.
        """
        holders, waiting = self._holders[payload], self._waiting[payload]
        if run_id in holders:
            return
        if limit is None or (len(holders) < limit and not waiting):
            holders[run_id] = None
            return
        future = asyncio.get_running_loop().create_future()
        place = (run_id, limit, future)
        waiting.append(place)
        try:
            await future
        except asyncio.CancelledError:
            if place in waiting:
                waiting.remove(place)
            else:
                # The slot came at the moment of the cancellation: the next in the line gets it.
                self.release(payload, run_id)
            raise

    def release(self, payload: str, run_id: str) -> None:
        """Give a slot back; harmless for one that holds none."""
        holders, waiting = self._holders[payload], self._waiting[payload]
        holders.pop(run_id, None)
        while waiting:
            next_id, limit, future = waiting[0]
            if len(holders) >= limit:
                break
            waiting.popleft()
            if not future.done():
                holders[next_id] = None
                future.set_result(None)
        if not holders and not waiting:
            del self._holders[payload], self._waiting[payload]


class RunSlots:
    """The two slots of one run: among the runs of its payload, and among all.

    Parameters
    ----------
    slots
        Those of all runs.
    run
        Whose.
    """

    def __init__(self, slots: Slots, run: Run) -> None:
        self._slots = slots
        self._run = run

    def occupy(self) -> None:
        """Take both whether or not they are free: the job runs already."""
        for payload in (self._run.payload, _ALL_PAYLOADS):
            self._slots.occupy(payload, self._run.run_id)

    async def acquire(self) -> Literal[True]:
        """Wait for both."""
        run = self._run
        # Always in this order: whoever has a slot among all waits for nothing more.
        await self._slots.acquire(run.payload, run.run_id, run.max_active)
        await self._slots.acquire(_ALL_PAYLOADS, run.run_id, run.max_active_of_all)
        return True

    def release(self) -> None:
        """Give both back; harmless if the run holds none."""
        for payload in (self._run.payload, _ALL_PAYLOADS):
            self._slots.release(payload, self._run.run_id)
