"""Topics that are written (salobj-api section 7, sal-on-kafka sections 6 and 9)."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from lsst.ts.ocps.sal.adoption import WriteSchema
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.sequence import SequenceNumbers, StampClock
from lsst.ts.ocps.sal.tai import utc_from_tai_unix
from lsst.ts.ocps.sal.values import check_names, convert_fields, copy_record, is_different, take_value

from .base import BaseTopic

__all__ = ["PERISHABLE_AGE", "SetWriteResult", "WriteTopic"]

PERISHABLE_AGE = 2.0
"""A heartbeat or telemetry record that the broker does not have after this time is dropped (s)."""


@dataclass
class SetWriteResult:
    """What `WriteTopic.set_write` did."""

    did_change: bool
    """Whether a field was given another value, or a value for the first time."""

    was_written: bool
    """Whether a record went out."""

    data: BaseMsgType
    """A copy of that record, or the current data if none went out."""


class WriteTopic(BaseTopic):
    """A topic that is written.

    Writes are stored in the order in which they were begun, and a write returns when the broker has the
    record.

    Parameters
    ----------
    salinfo
        The component and index.
    attr_name
        Name of the topic with its prefix.
    default_force_output
        Whether ``set_write`` writes what has not changed.
    is_perishable
        Whether a record that cannot be delivered at once is worthless.

    Raises
    ------
    ValueError
        If the topic has a writer.
    RuntimeError
        If the component has no such topic, or the SalInfo has been started.
    """

    def __init__(
        self,
        salinfo: SalInfo,
        attr_name: str,
        *,
        default_force_output: bool,
        is_perishable: bool = False,
    ) -> None:
        super().__init__(salinfo, attr_name)
        self.default_force_output = default_force_output
        self.has_data = False
        """Whether ``set`` or ``set_write`` has ever been called."""

        self._data = self.DataType()
        self._is_perishable = is_perishable
        self.is_owed = False
        """Whether a write has failed since the last success, so that the broker may not have the data."""

        self.recent_stamps: deque[float] = deque(maxlen=10)
        """Stamps of the last records."""

        self._num_begun = 0
        self._stalled: asyncio.Task[None] | None = None
        self.schema_id: int | None = None
        """Id of the schema that is written; None before the start."""

        self._kafka_name = self.topic_info.kafka_name(salinfo.settings.topic_subname)
        self._key = self.topic_info.key(int(salinfo.index))
        self._stamps = StampClock()
        self._seq_nums = SequenceNumbers()
        salinfo.add_writer(self)

    def use_schema(self, schema: WriteSchema) -> None:
        """Write under this schema from now on."""
        self.schema_id = schema.schema_id
        self._adopted_rev_code = schema.rev_code

    @property
    def data(self) -> BaseMsgType:
        """The current values.

        Raises
        ------
        TypeError
            When set to anything but a ``DataType``.
        """
        return self._data

    @data.setter
    def data(self, data: BaseMsgType) -> None:
        if not isinstance(data, self.DataType):
            raise TypeError(f"data={data!r} is not an instance of {self.DataType.__name__}")
        self._data = data

    def set(self, **fields: Any) -> bool:
        """Set fields of the current data; nothing is written.

        Parameters
        ----------
        **fields
            New values; None = keep.

        Returns
        -------
        bool
            Whether anything changed, or nothing was ever set before.

        Raises
        ------
        AttributeError
            If a name is no field of this topic; nothing is changed then.
        TypeError
            If a scalar is given for an array; nothing is changed then.
        """
        did_change = not self.has_data
        values = self._take_values(fields)
        for name, value in values.items():
            did_change |= is_different(self.topic_info.fields[name], getattr(self._data, name), value)
        for name, value in values.items():
            setattr(self._data, name, value)
        self.has_data = True
        return did_change

    def _take_values(self, fields: dict[str, Any]) -> dict[str, Any]:
        check_names(self.topic_info, fields)
        infos = self.topic_info.fields
        return {name: take_value(infos[name], value) for name, value in fields.items() if value is not None}

    async def set_write(self, *, force_output: bool | None = None, **fields: Any) -> SetWriteResult:
        """Set fields and write the record if anything changed.

        Parameters
        ----------
        force_output
            Whether to write even if nothing changed; None: as is usual for the kind of topic.
        **fields
            New values; None = keep.

        Raises
        ------
        AttributeError, TypeError, ValueError
            If a field does not exist or a value does not fit.
        RuntimeError
            If not started, or closed.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take the record; the next call writes even if nothing changed.
        """
        did_change = self.set(**fields)
        is_forced = self.default_force_output if force_output is None else force_output
        if did_change or is_forced or self.is_owed:
            return SetWriteResult(did_change=did_change, was_written=True, data=await self.write())
        return SetWriteResult(did_change=did_change, was_written=False, data=self._data)

    async def write(self) -> BaseMsgType:
        """Write the current data and wait until the broker has them.

        Returns
        -------
        BaseMsgType
            A copy of the record.

        Raises
        ------
        TypeError, ValueError
            If a value does not fit its field.
        RuntimeError
            If not started, or closed.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take the record.
        """
        self._num_begun += 1
        number = self._num_begun
        try:
            record = await self._write_record(self._data, self._seq_nums.take())
        except BaseException:
            self.is_owed = True
            raise
        if number == self._num_begun:
            self.is_owed = False
        return record

    async def _write_record(self, data: BaseMsgType, seq_num: int) -> BaseMsgType:
        """Fill in the private fields, encode and send; nothing waits before the record is handed over."""
        self.salinfo.assert_running()
        self._fill_private_fields(data, seq_num)
        assert self.schema_id is not None  # noqa: S101 (settled before SalInfo counts as started)
        value = self.codec.encode(convert_fields(self.topic_info, data), schema_id=self.schema_id)
        record = copy_record(data)
        if self._is_perishable:
            await self._send_perishable(value)
        else:
            await self._send(value)
        return record

    def _fill_private_fields(self, data: BaseMsgType, seq_num: int) -> None:
        stamp = self._stamps.take()
        self.recent_stamps.append(stamp)
        data.private_sndStamp = stamp
        data.private_efdStamp = utc_from_tai_unix(stamp)
        data.private_kafkaStamp = stamp
        data.private_seqNum = seq_num
        data.private_revCode = self.rev_code
        data.private_identity = self.salinfo.identity
        data.private_origin = self.salinfo.domain.origin
        if self.salinfo.indexed and self.salinfo.index != 0:
            data.salIndex = int(self.salinfo.index)

    async def _send(self, value: bytes) -> None:
        await self.salinfo.broker.send(self._kafka_name, key=self._key, value=value)

    async def _send_perishable(self, value: bytes) -> None:
        """Send, but give up after a short time; while one is stuck, the next ones are not even queued."""
        if self._stalled is not None and not self._stalled.done():
            raise BrokerError(
                f"{self.attr_name}: dropped, because an earlier record has not been delivered yet"
            )
        task = asyncio.create_task(self._send(value), name=f"{self.salinfo.name_index}.{self.attr_name}:send")
        try:
            await asyncio.wait([task], timeout=PERISHABLE_AGE)
        finally:
            if not task.done():
                self._stalled = task
                task.add_done_callback(_drop_outcome)
        if not task.done():
            raise BrokerError(f"{self.attr_name}: dropped, not delivered within {PERISHABLE_AGE:g} s")
        task.result()


def _drop_outcome(task: asyncio.Task[None]) -> None:
    """Look at the outcome of a send that was given up, so that nobody is told about it twice."""
    if not task.cancelled():
        task.exception()
