"""An event loop whose time passes only when there is nothing else to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

from typing_extensions import override

__all__ = ["run_in_virtual_time"]

T = TypeVar("T")
_BEGIN = 1_800_000_000.0
"""Where ``time.time`` begins (Unix, s)."""


class _Clock:
    """What ``time.time`` and ``time.monotonic`` give."""

    def __init__(self) -> None:
        # Small, for the loop takes a nanosecond for the resolution of its clock.
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return _BEGIN + self.now


class _Selector(selectors.DefaultSelector):
    """Does not wait: the clock goes on instead."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    @override
    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits for something that never happens")
            self._clock.now += max(0.0, timeout)
        return ready


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; neither threads nor sockets may be needed for its progress.

    Raises
    ------
    RuntimeError
        If all tasks wait for something that never happens.
    """
    clock = _Clock()
    with (
        mock.patch("time.time", clock.unix),
        mock.patch("time.monotonic", clock.monotonic),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(clock))) as runner,
    ):
        return runner.run(main)
