"""Run the callback of a topic, sample by sample or for all samples at once (salobj-api section 7)."""

import asyncio
import functools
import inspect
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

from lsst.ts.ocps.sal.data_type import BaseMsgType

__all__ = ["STOP_TIMEOUT", "CallbackRunner", "check_callback"]

STOP_TIMEOUT = 5.0
"""Longest wait for callbacks that have been cancelled (s)."""


def check_callback(callback: object) -> None:
    """Refuse what cannot be called, and warn about plain functions.

    Raises
    ------
    TypeError
        If it is not callable.

    Warns
    -----
    DeprecationWarning
        If it is a plain function; it works nevertheless.
    """
    if not callable(callback):
        raise TypeError(f"callback={callback!r} is not callable")
    if isinstance(callback, functools.partial) or asyncio.iscoroutinefunction(callback):
        return
    if inspect.iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004 (its kind is asked)
        return
    warnings.warn(f"callback={callback!r} should be a coroutine function", DeprecationWarning, stacklevel=3)


class CallbackRunner:
    """Takes samples and runs the callback, each run in a task of its own.

    A run that is cancelled or fails never ends the loop.

    Parameters
    ----------
    name
        For the names of the tasks.
    take
        Returns the next sample, or None if there is none now.
    run
        Deals with one sample; reports its failures itself.
    is_parallel
        Whether the next run may begin before the last has ended.
    """

    def __init__(
        self,
        *,
        name: str,
        take: Callable[[], BaseMsgType | None],
        run: Callable[[BaseMsgType], Coroutine[Any, Any, None]],
        is_parallel: Callable[[], bool],
    ) -> None:
        self._name = name
        self._take = take
        self._run = run
        self._is_parallel = is_parallel
        self._news = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._loop_task = asyncio.create_task(self._loop(), name=f"{name}:callbacks")

    def wake(self) -> None:
        """There is something to take."""
        self._news.set()

    def stop(self) -> None:
        """Take nothing more and cancel what runs; a task that stops its own runner goes on to its end."""
        self._loop_task.cancel()
        current = asyncio.current_task()
        for task in self._running:
            if task is not current:
                task.cancel()

    async def wait_stopped(self, *, limit: float = STOP_TIMEOUT) -> bool:
        """Wait for the ends of the loop and of the runs, except for the task that waits.

        Parameters
        ----------
        limit
            Longest wait (s).

        Returns
        -------
        bool
            Whether all have ended.
        """
        current = asyncio.current_task()
        tasks = {task for task in {self._loop_task, *self._running} if task is not current}
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=limit)
        return not pending

    async def wait_idle(self) -> None:
        """Wait until nothing runs, except for the task that waits."""
        current = asyncio.current_task()
        while tasks := {task for task in self._running if task is not current}:
            await asyncio.wait(tasks)

    async def _loop(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while (data := self._take()) is not None:
                task = asyncio.create_task(self._run(data), name=f"{self._name}:callback")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                if not self._is_parallel():
                    await asyncio.wait([task])
