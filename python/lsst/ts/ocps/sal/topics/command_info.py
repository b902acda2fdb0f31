"""What a Remote knows of a command that it has sent (salobj-api section 7)."""

import asyncio
import time
from collections import deque

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckError, AckTimeoutError

__all__ = ["FAILED_ACKS", "FINAL_ACKS", "CommandInfo"]

FAILED_ACKS = frozenset(
    {
        SalRetCode.CMD_STALLED,
        SalRetCode.CMD_NOPERM,
        SalRetCode.CMD_NOACK,
        SalRetCode.CMD_FAILED,
        SalRetCode.CMD_ABORTED,
        SalRetCode.CMD_TIMEOUT,
    }
)
"""Codes that end a command as failed."""

FINAL_ACKS = FAILED_ACKS | {SalRetCode.CMD_COMPLETE}
"""Codes that end a command."""


class CommandInfo:
    """One command: its acknowledgements until they are collected.

    Parameters
    ----------
    seq_num
        Its sequence number.
    no_ack
        What to put into the error if nothing comes in time.
    """

    def __init__(self, seq_num: int, no_ack: BaseMsgType) -> None:
        self.seq_num = seq_num
        self.is_ended = False
        """Whether the final acknowledgement has come, collected or not."""

        self._last = no_ack
        self._unread: deque[BaseMsgType] = deque()
        self._news = asyncio.Event()
        self._is_aborted = False

    def take(self, ackcmd: BaseMsgType) -> None:
        """Take an acknowledgement; what comes after the final one is ignored."""
        if self.is_ended:
            return
        self._unread.append(ackcmd)
        self.is_ended = ackcmd.ack in FINAL_ACKS
        self._news.set()

    def abort(self) -> None:
        """End every wait with CancelledError."""
        self._is_aborted = True
        self._news.set()

    async def wait(self, *, timeout: float, wait_done: bool) -> BaseMsgType:  # noqa: ASYNC109 (moves)
        """Wait for the final acknowledgement, or for the next one of any kind.

        Parameters
        ----------
        timeout
            Longest wait (s); with ``wait_done`` each CMD_INPROGRESS adds its own timeout.
        wait_done
            Whether to wait for the final one.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.AckError
            If the command failed.
        ~lsst.ts.ocps.sal.errors.AckTimeoutError
            If the time is over.
        RuntimeError
            If the final acknowledgement has been collected by somebody else.
        """
        deadline = time.monotonic() + timeout
        while True:
            ackcmd = await self._next(deadline)
            if ackcmd.ack in FAILED_ACKS:
                raise AckError("Command failed", ackcmd)
            if ackcmd.ack in FINAL_ACKS or not wait_done:
                return ackcmd
            if ackcmd.ack == SalRetCode.CMD_INPROGRESS:
                deadline += ackcmd.timeout

    async def _next(self, deadline: float) -> BaseMsgType:
        while not self._unread:
            if self._is_aborted:
                raise asyncio.CancelledError
            if self.is_ended:
                raise RuntimeError(f"Command private_seqNum={self.seq_num} is unknown or finished")
            self._news.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._news.wait()
            except TimeoutError:
                message = "Timed out waiting for command acknowledgement"
                raise AckTimeoutError(message, self._last) from None
        self._last = self._unread.popleft()
        return self._last
