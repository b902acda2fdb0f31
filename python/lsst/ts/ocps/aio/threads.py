"""Blocking calls that may hang: each in a thread that nothing waits for, not even the end of the process."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

__all__ = ["run_in_thread"]

T = TypeVar("T")


async def run_in_thread(call: Callable[[], T], *, name: str) -> T:
    """Do a blocking call in a daemon thread of its own.

    `asyncio.to_thread` shares a few threads with everything else: some calls that hang on a dead file system
    or server would stop all others, and the end of the process would wait for them. The caller limits how
    many of these there are at a time.

    Parameters
    ----------
    call
        What to do. If the waiting is cancelled, it goes on unheard.
    name
        Name of the thread.

    Raises
    ------
    Exception
        What the call raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(act: Callable[[], None]) -> None:
        if not future.done():
            act()

    def work() -> None:
        act: Callable[[], None]
        try:
            act = partial(future.set_result, call())
        except BaseException as error:  # noqa: BLE001 (it is raised where the call is awaited)
            act = partial(future.set_exception, error)
        # The loop is closed if nobody waits any more.
        with contextlib.suppress(RuntimeError):
            _ = loop.call_soon_threadsafe(deliver, act)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future
