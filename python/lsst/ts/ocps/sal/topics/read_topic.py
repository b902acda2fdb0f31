"""Topics that are read: queue, newest sample, waiters and callback (salobj-api section 7)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.errors import ExpectedError
from lsst.ts.ocps.sal.interface import TopicKind
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.skips import SkipReason

from .base import BaseTopic
from .callbacks import CallbackRunner, check_callback
from .waiters import SampleWaiters

__all__ = ["DEFAULT_QUEUE_LEN", "MIN_QUEUE_LEN", "CallbackType", "ReadTopic"]

DEFAULT_QUEUE_LEN = 100
"""Length of the queue of a topic."""

MIN_QUEUE_LEN = 10
"""A queue must be longer than this."""

CALLBACK_QUEUE_LEN = 10_000
"""So many events may wait for their callback: a burst must not lose any."""

CallbackType = Callable[[Any], Awaitable[Any] | Any]
"""A coroutine function (or, deprecated, a plain one) that takes a sample."""


class ReadTopic(BaseTopic):
    """A topic that is read.

    Parameters
    ----------
    salinfo
        The component and index.
    attr_name
        Name of the topic with its prefix.
    max_history
        0: no old samples; 1 or more: the newest old sample of each index is delivered at the start.
    queue_len
        Length of the queue; when it is full the oldest sample is dropped.

    Raises
    ------
    ValueError
        If ``max_history`` or ``queue_len`` is out of range, or the topic already has a reader.
    RuntimeError
        If the component has no such topic, or the SalInfo has been started.
    """

    def __init__(
        self,
        salinfo: SalInfo,
        attr_name: str,
        max_history: int,
        queue_len: int = DEFAULT_QUEUE_LEN,
    ) -> None:
        super().__init__(salinfo, attr_name)
        if max_history < 0:
            raise ValueError(f"max_history={max_history} must be >= 0")
        if max_history > 1 and salinfo.indexed and salinfo.index == 0:
            raise ValueError(f"max_history={max_history} must be 0 or 1 for index 0 of an indexed component")
        if queue_len <= MIN_QUEUE_LEN:
            raise ValueError(f"queue_len={queue_len} must be > {MIN_QUEUE_LEN}")
        if max_history > queue_len:
            raise ValueError(f"max_history={max_history} must be <= queue_len={queue_len}")
        self.max_history = max_history
        self.queue_len = queue_len
        self.allow_multiple_callbacks = False
        self.num_dropped = 0
        """Number of samples that a full queue has lost."""

        self._queue: deque[BaseMsgType] = deque()
        self._newest: BaseMsgType | None = None
        self._next_waiters = SampleWaiters()
        self._aget_waiters = SampleWaiters()
        self._callback: CallbackType | None = None
        self._runner: CallbackRunner | None = None
        self._is_full = False
        salinfo.add_reader(self)

    async def _read_before_start(self, since: int) -> list[BaseMsgType]:
        """See `~lsst.ts.ocps.sal.reader.TopicReader.read_before_start`."""
        self.salinfo.assert_running()
        assert self.salinfo.reader is not None  # noqa: S101 (a started SalInfo with a topic to read reads)
        kafka_name = self.topic_info.kafka_name(self.salinfo.settings.topic_subname)
        return await self.salinfo.reader.read_before_start(kafka_name, since)

    # For the reader

    @property
    def history_window(self) -> int:
        """How far back the history is read (offsets); 0 = none."""
        return self.salinfo.history_window(self.max_history)

    @property
    def is_ordered(self) -> bool:
        """Whether a sample older than the one before is dropped."""
        return self.salinfo.discards_out_of_order(self.topic_info.kind)

    def accept(self, data: BaseMsgType, offset: int | None = None) -> SkipReason | None:
        """Take the next sample from the reader.

        Parameters
        ----------
        data
            The sample.
        offset
            Of its record; None for one of the history.

        Returns
        -------
        ~lsst.ts.ocps.sal.skips.SkipReason or None
            Why the sample is not wanted, if it is not.
        """
        del offset
        self._newest = data
        self._aget_waiters.resolve(data)
        if self._callback is None and self._next_waiters.resolve(data):
            return None
        self._enqueue(data)
        if self._runner is not None:
            self._runner.wake()
        return None

    def _enqueue(self, data: BaseMsgType) -> None:
        limit = self.queue_len
        if self._callback is not None and self.topic_info.kind is TopicKind.EVENT:
            limit = max(limit, CALLBACK_QUEUE_LEN)
        if len(self._queue) >= limit:
            self._queue.popleft()
            self.num_dropped += 1
            if not self._is_full:
                self._is_full = True
                self.log.warning("queue of %s is full (%d); dropping old samples", self.attr_name, limit)
        else:
            self._is_full = False
        self._queue.append(data)

    def basic_close(self) -> None:
        """End waits and callbacks."""
        self._next_waiters.cancel()
        self._aget_waiters.cancel()
        if self._runner is not None:
            self._runner.stop()

    async def close(self) -> None:
        """End waits and callbacks, and wait for the callbacks' ends."""
        self.basic_close()
        if self._runner is not None and not await self._runner.wait_stopped():
            self.log.error("a callback of %s goes on although it was cancelled", self.attr_name)

    # For the user

    @property
    def has_data(self) -> bool:
        """Whether a sample has ever been seen.

        Raises
        ------
        RuntimeError
            If not started.
        """
        self.salinfo.assert_started()
        return self._newest is not None

    @property
    def nqueued(self) -> int:
        """Length of the queue; 0 if there is a callback."""
        return 0 if self._callback is not None else len(self._queue)

    @property
    def has_callback(self) -> bool:
        """Whether there is a callback."""
        return self._callback is not None

    @property
    def callback(self) -> CallbackType | None:
        """The function that gets every sample, or None.

        Setting it cancels the running one and empties the queue (commands excepted, which must not get
        lost).

        Raises
        ------
        TypeError
            If it is neither callable nor None; the old one stays.
        """
        return self._callback

    @callback.setter
    def callback(self, callback: CallbackType | None) -> None:
        if callback is not None:
            check_callback(callback)
        if self._runner is not None:
            self._runner.stop()
            self._runner = None
        self._callback = callback
        if callback is None:
            return
        if self.topic_info.kind is not TopicKind.COMMAND:
            self._queue.clear()
        self._runner = CallbackRunner(
            name=f"{self.salinfo.name_index}.{self.attr_name}",
            take=self._take,
            run=self._run_callback,
            is_parallel=lambda: self.allow_multiple_callbacks,
        )
        self._runner.wake()

    def get(self) -> BaseMsgType | None:
        """The newest sample ever seen, or None; takes nothing from the queue.

        Raises
        ------
        RuntimeError
            If not started.
        """
        self.salinfo.assert_started()
        return self._newest

    async def aget(self, timeout: float | None = None) -> BaseMsgType:  # noqa: ASYNC109 (the API)
        """The newest sample ever seen; waits for the first one.

        Parameters
        ----------
        timeout
            Longest wait (s); None: no limit.

        Raises
        ------
        TimeoutError
            If no sample came in time.
        RuntimeError
            If not started, or there is a callback.
        """
        self.salinfo.assert_started()
        self._assert_no_callback()
        if self._newest is not None:
            return self._newest
        async with asyncio.timeout(timeout):
            return await self._aget_waiters.wait()

    def get_oldest(self) -> BaseMsgType | None:
        """Take the oldest sample from the queue, or return None.

        Raises
        ------
        RuntimeError
            If not started, or there is a callback.
        """
        self.salinfo.assert_started()
        self._assert_no_callback()
        return self._queue.popleft() if self._queue else None

    async def next(self, *, flush: bool, timeout: float | None = None) -> BaseMsgType:  # noqa: ASYNC109 (the API)
        """Take the oldest sample from the queue; waits if it is empty.

        Everybody who waits gets the same object.

        Parameters
        ----------
        flush
            Empty the queue first, and so wait for a new sample.
        timeout
            Longest wait (s); None: no limit.

        Raises
        ------
        TimeoutError
            If no sample came in time.
        RuntimeError
            If not started, or there is a callback.
        """
        self.salinfo.assert_started()
        self._assert_no_callback()
        if flush:
            self.flush()
        if self._queue:
            return self._queue.popleft()
        async with asyncio.timeout(timeout):
            return await self._next_waiters.wait(give_back=self._queue.appendleft)

    def flush(self) -> None:
        """Empty the queue; what `get` and `aget` return stays.

        Raises
        ------
        RuntimeError
            If there is a callback.
        """
        self._assert_no_callback()
        self._queue.clear()

    def _assert_no_callback(self) -> None:
        if self._callback is not None:
            raise RuntimeError("Not allowed because there is a callback function")

    # Callbacks

    def _take(self) -> BaseMsgType | None:
        return self._queue.popleft() if self._queue else None

    async def _run_callback(self, data: BaseMsgType) -> None:
        """Run the callback for one sample; overridden where its outcome is told to somebody."""
        await self._call_and_report(data)

    async def _call(self, data: BaseMsgType) -> Any:
        assert self._callback is not None  # noqa: S101 (the runner exists only with a callback)
        outcome = self._callback(data)
        if isinstance(outcome, Awaitable):
            return await outcome
        return outcome

    async def _call_and_report(self, data: BaseMsgType) -> None:
        try:
            await self._call(data)
        except ExpectedError:
            pass
        except Exception:
            self.log.exception("the callback of %s failed", self.attr_name)
