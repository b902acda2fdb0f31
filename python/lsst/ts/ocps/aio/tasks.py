"""Tasks with a name, an owner and an end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["TaskSupervisor"]


class TaskSupervisor:
    """Own the background tasks of one component.

    Parameters
    ----------
    name
        Name of the owner; it prefixes the names of the tasks.
    on_death
        Called with a task's name and its exception when a task ends by an exception that nobody else
        awaits. The death of a task is an event: without a callback it is logged as an error.
    log
        Logger of the owner.
    """

    def __init__(
        self,
        name: str,
        *,
        on_death: Callable[[str, BaseException], None] | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.name = name
        self._on_death = on_death
        self._log = log or logging.getLogger(__name__)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, coro: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start a task that this supervisor owns.

        Parameters
        ----------
        coro
            What to run.
        name
            Name of the task, unique enough to be understood in a log.

        Raises
        ------
        RuntimeError
            If the supervisor is closed.
        """
        if self._closed:
            coro.close()
            raise RuntimeError(f"{self.name} is closed; cannot start {name}")
        task = asyncio.create_task(coro, name=f"{self.name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks that have not ended."""
        return frozenset(self._tasks)

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if self._on_death is not None:
            self._on_death(task.get_name(), error)
        else:
            self._log.error("task %s died", task.get_name(), exc_info=error)

    async def aclose(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 (a limit, not a cancellation)
        """Cancel every task and wait for their ends.

        Parameters
        ----------
        timeout
            Longest wait (s); tasks that outlive it are named in an error log.
        """
        self._closed = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=timeout)
        if pending:
            names = ", ".join(sorted(task.get_name() for task in pending))
            self._log.error("tasks did not end within %s s: %s", timeout, names)
