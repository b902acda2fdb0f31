"""Events, telemetry and later acknowledgements into SAL; topics that an interface lacks are skipped."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lsst.ts.ocps.salobj import RUNTIME, Controller, Remote, SalRetCode

from .logs import get_logger
from .records import CommandKey

__all__ = ["PROGRAMMING_ERRORS", "Outlet"]

PROGRAMMING_ERRORS = (AttributeError, TypeError, ValueError)
"""What a write raises when the record is wrong; writing it again would not help. Anything else may pass."""


class Outlet:
    """What the reporter writes to, and the one place that asks what the SAL runtime can do.

    Some things only our own runtime offers: the age of commands can be limited, and those that came while
    no CSC was running can be found. Where it is ts_salobj, `limit_command_age` does nothing and
    `command_position` knows nothing.

    Parameters
    ----------
    controller
        Owner of the topics; it must be started before anything is written.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._log = get_logger("outlet")
        self._absent: set[str] = set()
        self._names: dict[str, frozenset[str]] = {}

    def has(self, name: str) -> bool:
        """Whether the interface has a topic; the first question about an absent one is logged.

        Parameters
        ----------
        name
            Attribute name, such as ``evt_job_phase``.
        """
        if hasattr(self._controller, name):
            return True
        if name not in self._absent:
            self._absent.add(name)
            self._log.info("the installed interface has no such topic; it is not written", topic=name)
        return False

    async def write(self, name: str, **fields: Any) -> None:
        """Write one record, whether or not it differs from the last one.

        Parameters
        ----------
        name
            Attribute name of an event or telemetry topic; an absent one is skipped.
        **fields
            A value for every public field, so that nothing is inherited from another job's record.

        Raises
        ------
        ValueError
            If a field is not named.
        Exception
            What the SAL layer raises when the broker does not take the record.
        """
        if not self.has(name):
            return
        topic = getattr(self._controller, name)
        if name not in self._names:
            public = (field for field in vars(topic.DataType()) if not field.startswith("private_"))
            self._names[name] = frozenset(public) - {"salIndex"}
        if unnamed := self._names[name] - fields.keys():
            raise ValueError(f"{name}: no value for {', '.join(sorted(unnamed))}")
        await topic.set_write(force_output=True, **fields)

    async def write_all(self, records: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write several records in their order.

        Our own runtime keeps the order of writes that are begun one after another, so they need not wait for
        each other; ts_salobj does not.

        Parameters
        ----------
        records
            Name and fields of each, as for `write`.

        Raises
        ------
        Exception
            As for `write`; the others are written all the same.
        """
        if RUNTIME == "builtin":
            writes = (self.write(name, **fields) for name, fields in records)
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
            return
        for name, fields in records:
            await self.write(name, **fields)

    async def acknowledge(
        self, command: str, key: CommandKey, *, ack: SalRetCode, result: str, duration: float = 0.0
    ) -> None:
        """Write an acknowledgement of a command that was received earlier, perhaps by an earlier process.

        Parameters
        ----------
        command
            Attribute name of the command.
        key
            The command record.
        ack
            Code; failing ones get error 1, as every failed command does.
        result
            What the sender is told.
        duration
            How much longer the sender should wait (s), for CMD_INPROGRESS.
        """
        if not self.has(command):
            return
        topic = getattr(self._controller, command)
        data = topic.DataType()
        data.private_seqNum = key.seq_num
        data.private_identity = key.identity
        data.private_origin = key.origin
        data.private_sndStamp = key.snd_stamp
        await topic.ack(
            data,
            self._controller.salinfo.make_ackcmd(
                private_seqNum=key.seq_num,
                ack=ack,
                error=1 if ack < 0 else 0,
                result=result,
                timeout=duration,
            ),
        )

    def limit_command_age(self, seconds: float) -> None:
        """Have every command refused that is older than this when it arrives (after an outage).

        Parameters
        ----------
        seconds
            By the stamp of the sender (s).
        """
        for name in self._controller.salinfo.command_names:
            topic = getattr(self._controller, f"cmd_{name}")
            if hasattr(topic, "max_age"):
                topic.max_age = seconds

    def command_position(self, command: str) -> tuple[str, int] | None:
        """Where in its topic a command is settled.

        Parameters
        ----------
        command
            Attribute name of the command.

        Returns
        -------
        tuple or None
            Kafka topic, and the offset before which every command has an acknowledgement; None if the
            interface has no such command, or the runtime does not tell.
        """
        topic = getattr(self._controller, command, None)
        settled = getattr(topic, "settled_offset", None)
        return None if topic is None or settled is None else (topic.kafka_name, settled)

    async def read_missed(self, command: str, since: int) -> list[Any]:
        """The records of a command from an offset to the start of this process; only with a position.

        Parameters
        ----------
        command
            Attribute name of the command.
        since
            Offset to begin at.

        Raises
        ------
        Exception
            What the SAL layer raises when they cannot all be read.
        """
        missed: list[Any] = await getattr(self._controller, command).read_missed(since)
        return missed

    async def refuse(self, command: str, data: Any, reason: str) -> None:
        """Answer a record of `read_missed` with CMD_FAILED.

        Parameters
        ----------
        command
            Attribute name of the command.
        data
            The record.
        reason
            What the sender is told.

        Raises
        ------
        Exception
            What the SAL layer raises when the broker does not take the acknowledgement.
        """
        await getattr(self._controller, command).refuse(data, reason)

    async def read_last_result(self) -> Any:
        """The last ``job_result`` of this index as anybody finds it who comes late; None if there is none."""
        salinfo = self._controller.salinfo
        remote = Remote(
            self._controller.domain, salinfo.name, salinfo.index, readonly=True, include=["job_result"]
        )
        try:
            await remote.start_task
            return remote.evt_job_result.get()
        finally:
            await remote.close()
