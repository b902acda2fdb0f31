"""Blocking work in a thread of its own; whatever waits for it at a time is done together."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["BatchThread"]

T = TypeVar("T")
Tool = TypeVar("Tool")

_MAX_BATCH = 256
"""So many calls at most are done together, so that none waits long for the others."""

_PER_ROUND = 8
"""So many outcomes are told in one round of the event loop: whoever waited for one goes on at once, and
everything else gets to run between them."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    call: Callable[[Any], Any]
    future: "asyncio.Future[Any]"


class BatchThread(Generic[Tool]):
    """Does calls in the order in which they were asked for, several at a time if they have come meanwhile.

    A database writes to the disk once for all changes of one transaction: fifty changes that wait at the
    same time then cost hardly more than one.

    Parameters
    ----------
    name
        Name of the thread.
    work
        Does some calls, in the thread, and gives their outcomes in the same order: values, and exceptions
        that are raised where the call is awaited.
    finish
        Done in the thread when it ends.
    make_closed_error
        Makes the error for a call after the end.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Callable[[Tool], Any]]], Sequence[object]],
        *,
        finish: Callable[[], None],
        make_closed_error: Callable[[], Exception],
    ) -> None:
        self._work = work
        self._finish = finish
        self._make_closed_error = make_closed_error
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], object]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[Tool], T]) -> "asyncio.Future[T]":
        """Have something done.

        Parameters
        ----------
        call
            Called in the thread, with what ``work`` gives it.

        Returns
        -------
        asyncio.Future
            Its outcome. Whoever cancels it loses the outcome; the call is done all the same.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(self._make_closed_error())
        else:
            self._waiting.put(_Waiting(call, future))
        return future

    async def aclose(self) -> None:
        """Finish what was asked for, then end."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _deliver(self, outcomes: Sequence[tuple[asyncio.Future[Any], object]]) -> None:
        is_first = not self._done
        self._done.extend(outcomes)
        if is_first:
            self._tell()

    def _tell(self) -> None:
        for _ in range(min(_PER_ROUND, len(self._done))):
            future, outcome = self._done.popleft()
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if self._done:
            _ = self._loop.call_soon(self._tell)

    # What follows runs in the thread.

    def _run(self) -> None:
        goes_on = True
        try:
            while goes_on and (first := self._waiting.get()) is not None:
                batch, goes_on = self._collect(first)
                outcomes = self._do([waiting.call for waiting in batch])
                delivery = [(each.future, outcome) for each, outcome in zip(batch, outcomes, strict=True)]
                self._loop.call_soon_threadsafe(self._deliver, delivery)
        finally:
            self._finish()

    def _collect(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """What waits now, and whether more may come."""
        batch = [first]
        while len(batch) < _MAX_BATCH:
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
        return batch, True

    def _do(self, calls: Sequence[Callable[[Tool], Any]]) -> Sequence[object]:
        try:
            return self._work(calls)
        except Exception as error:  # noqa: BLE001 (it is raised where each call is awaited)
            return [error] * len(calls)
