"""Commands as a Controller receives them (salobj-api section 7, sal-on-kafka section 7)."""

import asyncio
from collections import OrderedDict
from typing import Any, NamedTuple

from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import BrokerError, ExpectedError
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.sequence import command_type
from lsst.ts.ocps.sal.skips import SkipReason

from .ackcmd import AckCmdWriter
from .read_topic import ReadTopic

__all__ = ["ACK_PATIENCE", "MAX_QUEUED_COMMANDS", "ControllerCommand"]

MAX_QUEUED_COMMANDS = 10_000
"""A command beyond so many waiting ones is refused with a failed acknowledgement."""

MAX_REMEMBERED = 10_000
"""So many commands are remembered to recognise a record that is delivered twice."""

MAX_ANSWERED = 1000
"""The last acknowledgements of so many commands are kept for such a record: results may be long."""

ACK_PATIENCE = 120.0
"""How long to try to write the acknowledgement of a command (s)."""

CLOSE_PATIENCE = 3.0
"""How long to wait at the end for commands that were aborted, and for their acknowledgements (s)."""

_LAST_MOMENT = 0.5


class _CommandKey(NamedTuple):
    """What makes a command record unique."""

    identity: str
    origin: int
    seq_num: int
    stamp: float

    @classmethod
    def from_data(cls, data: BaseMsgType) -> "_CommandKey":
        return cls(data.private_identity, data.private_origin, data.private_seqNum, data.private_sndStamp)


class ControllerCommand(ReadTopic):
    """A command that this component obeys.

    Commands run one after another in the order of their arrival, or all at once if
    ``allow_multiple_callbacks`` is set. Every command gets an acknowledgement.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the command, without prefix.
    """

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        super().__init__(salinfo, f"cmd_{name}", max_history=0, queue_len=MAX_QUEUED_COMMANDS)
        self.max_age: float | None = None
        """A command older than this (s, by its stamp) when it arrives is refused; None: no limit."""

        self._ack_writer = AckCmdWriter.of(salinfo)
        self._cmdtype = command_type(salinfo.sal_topic_names, self.sal_name)
        self._seen: OrderedDict[_CommandKey, None] = OrderedDict()
        self._last_acks: OrderedDict[_CommandKey, BaseMsgType] = OrderedDict()
        self._unanswered: OrderedDict[_CommandKey, int] = OrderedDict()
        """Offsets of the commands that have no acknowledgement yet."""

        self._answers: set[asyncio.Task[None]] = set()

    # Receiving

    @override
    def accept(self, data: BaseMsgType, offset: int | None = None) -> SkipReason | None:
        if data.private_seqNum <= 0:
            return SkipReason.BAD_NUMBER
        key = _CommandKey.from_data(data)
        if key in self._seen:
            earlier = self._last_acks.get(key)
            if earlier is not None:
                self._answer(data, earlier)
            return SkipReason.DUPLICATE
        self._remember(key)
        if offset is not None:
            self._unanswered[key] = offset
            _forget_oldest(self._unanswered, MAX_REMEMBERED)
        age = data.private_rcvStamp - data.private_sndStamp
        if self.max_age is not None and age > self.max_age:
            self._answer_refused(data, f"the command is {age:.0f} s old, and {self.max_age:g} s are allowed")
        elif len(self._queue) >= self.queue_len:
            self._answer_refused(data, f"{len(self._queue)} commands are waiting already")
        else:
            _ = super().accept(data)
        return None

    def _remember(self, key: _CommandKey) -> None:
        self._seen[key] = None
        _forget_oldest(self._seen, MAX_REMEMBERED)

    def _answer_refused(self, data: BaseMsgType, reason: str) -> None:
        self.log.error("refused a command: %s", reason)
        self._answer(data, self._make_failure(data, reason))

    def _answer(self, data: BaseMsgType, ackcmd: BaseMsgType) -> None:
        task = asyncio.create_task(self._acknowledge(data, ackcmd), name=f"{self.attr_name}:ack")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    @override
    async def next(self, *, timeout: float | None = None) -> BaseMsgType:  # type: ignore[override]
        """Take the oldest command from the queue; waits if it is empty.

        Parameters
        ----------
        timeout
            Longest wait (s); None: no limit.

        Raises
        ------
        TimeoutError
            If no command came in time.
        RuntimeError
            If not started, or there is a callback.
        """
        return await super().next(flush=False, timeout=timeout)

    # Commands from before the start

    @property
    def kafka_name(self) -> str:
        """The Kafka topic, for whoever wants to remember where he was."""
        return self.topic_info.kafka_name(self.salinfo.settings.topic_subname)

    @property
    def settled_offset(self) -> int | None:
        """Every command before this offset has had an acknowledgement; None before the start.

        A program that remembers it can ask `read_missed` in its next life what came meanwhile.
        """
        if self.salinfo.reader is None or not self.salinfo.started:
            return None
        position = self.salinfo.reader.position(self.kafka_name)
        return min(position, next(iter(self._unanswered.values()), position))

    async def read_missed(self, since: int) -> list[BaseMsgType]:
        """The commands that were written between an offset and the start of this Controller.

        They are never executed; `refuse` tells their senders.

        Parameters
        ----------
        since
            `settled_offset` of an earlier life.

        Raises
        ------
        RuntimeError
            If not started, or closed.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If they could not all be read in time.
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry could not be asked for a schema.
        """
        return [sample for sample in await self._read_before_start(since) if sample.private_seqNum > 0]

    async def refuse(self, data: BaseMsgType, reason: str) -> None:
        """Acknowledge a command with CMD_FAILED, and never execute it.

        Parameters
        ----------
        data
            The command.
        reason
            Why.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take the acknowledgement.
        """
        self._remember(_CommandKey.from_data(data))
        await self.ack(data, self._make_failure(data, reason))

    # Acknowledging

    async def ack(self, data: BaseMsgType, ackcmd: BaseMsgType) -> None:
        """Acknowledge a command and wait until the broker has the acknowledgement.

        Parameters
        ----------
        data
            The command.
        ackcmd
            Made by ``salinfo.make_ackcmd``; of it ack, error, result and timeout are used.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take it.
        """
        if not self.salinfo.running:
            self.log.warning("closed: dropped the acknowledgement of private_seqNum=%d", data.private_seqNum)
            return
        key = _CommandKey.from_data(data)
        if key in self._seen:
            self._last_acks[key] = ackcmd
            self._last_acks.move_to_end(key)
            _forget_oldest(self._last_acks, MAX_ANSWERED)
        await self._ack_writer.write_ack(data, ackcmd, cmdtype=self._cmdtype)
        self._unanswered.pop(key, None)

    async def ack_in_progress(
        self,
        data: BaseMsgType,
        timeout: float,  # noqa: ASYNC109 (a field of the acknowledgement)
        result: str = "",
    ) -> None:
        """Tell the sender that the command needs more time.

        Parameters
        ----------
        data
            The command.
        timeout
            How much more (s).
        result
            What to tell the sender.
        """
        await self.ack(data, self._make(data, SalRetCode.CMD_INPROGRESS, 0, result, timeout))

    def _make(
        self, data: BaseMsgType, ack: SalRetCode, error: int, result: str, timeout: float = 0
    ) -> BaseMsgType:
        return self.salinfo.make_ackcmd(
            private_seqNum=data.private_seqNum, ack=ack, error=error, result=result, timeout=timeout
        )

    def _make_failure(self, data: BaseMsgType, reason: object) -> BaseMsgType:
        return self._make(data, SalRetCode.CMD_FAILED, 1, f"Failed: {reason}")

    # Running

    @override
    async def _run_callback(self, data: BaseMsgType) -> None:
        await self._acknowledge(data, await self._execute(data))

    async def _execute(self, data: BaseMsgType) -> BaseMsgType:  # noqa: PLR0911 (one return per row of the table)
        """Run the callback and turn its outcome into an acknowledgement, whatever it is."""
        try:
            outcome = await self._call(data)
        except asyncio.CancelledError:
            return self._make(data, SalRetCode.CMD_ABORTED, 1, "Aborted")
        except TimeoutError:
            return self._make(data, SalRetCode.CMD_TIMEOUT, 1, "Timeout")
        except ExpectedError as error:
            return self._make_failure(data, error)
        except Exception as error:
            self.log.exception("command %s failed", self.attr_name)
            return self._make_failure(data, error)
        if outcome is None:
            return self._make(data, SalRetCode.CMD_COMPLETE, 0, "Done")
        if isinstance(outcome, self.salinfo.AckCmdType):
            return outcome
        reason = f"the code of {self.attr_name} returned {outcome!r}, neither None nor an ackcmd"
        self.log.error("%s", reason)
        return self._make_failure(data, reason)

    async def _acknowledge(self, data: BaseMsgType, ackcmd: BaseMsgType) -> None:
        """Write an acknowledgement, with patience: a sender may be waiting for it for an hour."""
        try:
            await retry(
                lambda: self.ack(data, ackcmd),
                deadline=Deadline(f"acknowledging private_seqNum={data.private_seqNum}", ACK_PATIENCE),
                is_transient=lambda error: isinstance(error, BrokerError),
                log=self.log,
            )
        except Exception:
            self.log.exception("could not acknowledge private_seqNum=%d", data.private_seqNum)

    # Closing

    async def wait_idle(self) -> None:
        """Wait until no command runs, except for that of the calling task."""
        if self._runner is not None:
            await self._runner.wait_idle()

    @override
    async def close(self) -> None:
        """Abort what runs and what waits, with an acknowledgement each as long as the SalInfo is open.

        Without a callback nothing is acknowledged: the commands were not ours to obey. Nor is anything for
        longer than ``CLOSE_PATIENCE``: the broker may be away.
        """
        deadline = Deadline(f"closing {self.attr_name}", CLOSE_PATIENCE)
        self.basic_close()
        while self._queue and self.has_callback:
            data = self._queue.popleft()
            self._answer(data, self._make(data, SalRetCode.CMD_ABORTED, 1, "Aborted"))
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=deadline.left())
        if self._runner is not None and not await self._runner.wait_stopped(limit=deadline.left()):
            # It may be its acknowledgement that nobody takes.
            self._runner.stop()
            if not await self._runner.wait_stopped(limit=_LAST_MOMENT):
                self.log.error("a callback of %s goes on although it was cancelled", self.attr_name)
        if unsent := set(self._answers):
            self.log.error("%d acknowledgements of %s were not written", len(unsent), self.attr_name)
            for answer in unsent:
                answer.cancel()
            await asyncio.wait(unsent, timeout=_LAST_MOMENT)


def _forget_oldest(remembered: OrderedDict[_CommandKey, Any], most: int) -> None:
    if len(remembered) > most:
        remembered.popitem(last=False)
