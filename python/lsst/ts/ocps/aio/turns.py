"""Many tasks that become ready at once take turns, so that the event loop always gets round soon."""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

from .deadline import Deadline

__all__ = ["take_turn"]

_PER_ROUND = 4
"""Turns in one round of the event loop; what a task does in its turn takes about a millisecond."""


class _Turns:
    """The turns of one event loop: whoever asks first goes first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = _PER_ROUND
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_renewing = False

    async def take(self) -> None:
        if self._left > 0 and not self._waiting:
            self._left -= 1
            self._renew_later()
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        self._renew_later()
        await future

    def _renew_later(self) -> None:
        if not self._is_renewing:
            self._is_renewing = True
            _ = self._loop.call_soon(self._renew)

    def _renew(self) -> None:
        self._is_renewing = False
        self._left = _PER_ROUND
        while self._waiting and self._left > 0:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._left -= 1
        if self._left < _PER_ROUND:
            self._renew_later()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def take_turn(deadline: Deadline | None = None) -> None:
    """Go on at once, unless several others did in this round of the event loop; then wait for one's turn.

    To be called where one event makes many tasks ready: a write to the disk, or to the broker, that has done
    for two hundred of them. Without it they all go on in one round, and nothing else gets to run meanwhile,
    neither a heartbeat nor the answer to somebody else.

    Parameters
    ----------
    deadline
        Is given the time that this takes: it is not the fault of whoever is to keep it.
    """
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = _Turns(loop)
    began = loop.time()
    await turns.take()
    if deadline is not None:
        deadline.extend(loop.time() - began)
