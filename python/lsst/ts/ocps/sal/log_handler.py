"""Log records as the event logMessage (salobj-api section 9)."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .errors import SalError

if TYPE_CHECKING:
    from .controller import Controller

__all__ = ["MAX_WAITING_RECORDS", "SalLogHandler"]

MAX_WAITING_RECORDS = 1000
"""So many records wait for the start, or for the broker; beyond that the newest are dropped and counted."""

MAX_TEXT = 60_000
"""Longest message or traceback (byte of UTF-8)."""

FLUSH_TIMEOUT = 1.0
"""Longest time for writing what is left at the end (s)."""


def _encode(text: str) -> bytes:
    """The text in UTF-8; halves of surrogate pairs become question marks."""
    return text.encode(errors="replace")


class SalLogHandler(logging.Handler):
    """Publishes every log record of a component, from any thread, without waiting.

    Parameters
    ----------
    controller
        The component.
    """

    def __init__(self, controller: "Controller") -> None:
        super().__init__()
        salinfo = controller.salinfo
        self._salinfo = salinfo
        self._event = controller.evt_logMessage
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._num_dropped = 0
        self._news = asyncio.Event()
        self._is_closing = False
        self._task = asyncio.create_task(self._publish(), name=f"{salinfo.name_index}:logMessage")

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = self._make_fields(record)
            self._loop.call_soon_threadsafe(self._put, fields)
        except Exception:  # noqa: BLE001 (reported on standard error, as logging does)
            self.handleError(record)

    def _make_fields(self, record: logging.LogRecord) -> Mapping[str, Any]:
        traceback = ""
        if record.exc_info is not None and record.exc_info[0] is not None:
            traceback = logging.Formatter().formatException(record.exc_info)
        return {
            "name": record.name,
            "level": record.levelno,
            "message": _encode(record.getMessage())[:MAX_TEXT].decode(errors="ignore"),
            "traceback": _encode(traceback)[-MAX_TEXT:].decode(errors="ignore"),
            "filePath": record.pathname,
            "functionName": record.funcName or "",
            "lineNumber": record.lineno,
            "process": record.process or 0,
        }

    def _put(self, fields: Mapping[str, Any]) -> None:
        if len(self._waiting) >= MAX_WAITING_RECORDS:
            self._num_dropped += 1
            return
        self._waiting.append(fields)
        self._news.set()

    async def _publish(self) -> None:
        """Write what waits, once the component has been started."""
        await asyncio.wait([self._salinfo.start_task])
        while self._waiting or not self._is_closing:
            await self._news.wait()
            while self._waiting and self._salinfo.running:
                await self._publish_one(self._waiting.popleft())
            if not self._is_closing:
                self._news.clear()

    async def _publish_one(self, fields: Mapping[str, Any]) -> None:
        try:
            if self._num_dropped:
                # The loss is told where the records are missing.
                count, self._num_dropped = self._num_dropped, 0
                await self._event.set_write(
                    force_output=True,
                    **{**fields, "message": f"{count} log records were dropped", "traceback": ""},
                )
            await self._event.set_write(force_output=True, **fields)
        except (SalError, RuntimeError, ValueError, TypeError) as error:
            # Logging this would come back here.
            text = f"could not publish a log record: {error}: {fields['message']}"
            print(text, file=sys.stderr)  # noqa: T201 (the last resort)

    async def aclose(self) -> None:
        """Write what is left, for a short time at most, and stop."""
        self.close()
        # What other threads have logged is on its way through the loop.
        await asyncio.sleep(0)
        self._is_closing = True
        self._news.set()
        if self._salinfo.running:
            await asyncio.wait([self._task], timeout=FLUSH_TIMEOUT)
        self._task.cancel()
        await asyncio.wait([self._task])
