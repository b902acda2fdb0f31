"""Tasks that wait for the next sample of a topic (salobj-api section 7)."""

import asyncio
from collections.abc import Callable

from lsst.ts.ocps.sal.data_type import BaseMsgType

__all__ = ["SampleWaiters"]


class _Delivery:
    """One sample on its way to those who waited for it."""

    def __init__(self, data: BaseMsgType, num_waiters: int) -> None:
        self.data = data
        self.num_waiters = num_waiters
        self.is_taken = False


class SampleWaiters:
    """Those who wait: all get the same sample, and one who gives up does not disturb the others."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[_Delivery]] = set()

    def resolve(self, data: BaseMsgType) -> bool:
        """Give everybody the sample; False if nobody was waiting."""
        if not self._futures:
            return False
        waiting = [future for future in self._futures if not future.done()]
        self._futures.clear()
        delivery = _Delivery(data, len(waiting))
        for future in waiting:
            future.set_result(delivery)
        return bool(waiting)

    async def wait(self, give_back: Callable[[BaseMsgType], None] | None = None) -> BaseMsgType:
        """Wait for the next sample.

        Parameters
        ----------
        give_back
            Called with the sample if all who waited for it were cancelled after it had come, so that
            it is not lost.
        """
        future: asyncio.Future[_Delivery] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            delivery = await future
        except asyncio.CancelledError:
            self._futures.discard(future)
            if future.done() and not future.cancelled():
                self._decline(future.result(), give_back)
            raise
        delivery.is_taken = True
        return delivery.data

    @staticmethod
    def _decline(delivery: _Delivery, give_back: Callable[[BaseMsgType], None] | None) -> None:
        delivery.num_waiters -= 1
        if delivery.num_waiters == 0 and not delivery.is_taken and give_back is not None:
            give_back(delivery.data)

    def cancel(self) -> None:
        """End every wait with CancelledError."""
        futures, self._futures = self._futures, set()
        for future in futures:
            future.cancel()
