"""Events, telemetry and later acknowledgements into SAL, whatever the installed interface has of them.

This is the one place that asks which SAL runtime is in use and what its interface offers: topics that it
lacks are skipped, fields that it lacks are left out, and fields that only it has keep their default.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsst.ts.ocps.salobj import (
    RUNTIME,
    AsyncS3Bucket,
    Controller,
    Remote,
    SalRetCode,
    astropy_time_from_tai_unix,
)

from .logs import get_logger
from .records import CommandKey

__all__ = ["NEW_TOPICS", "PROGRAMMING_ERRORS", "Outlet"]

PROGRAMMING_ERRORS = (AttributeError, TypeError, ValueError)
"""What a write raises when the record is wrong; writing it again would not help. Anything else may pass."""

NEW_TOPICS = (
    "cmd_run",
    *("evt_active_jobs", "evt_backend_status", "evt_job_metric", "evt_job_output", "evt_job_phase"),
    *("evt_payloads", "tel_job_counts"),
)
"""Topics that no deployed interface has yet; ``execute`` and ``abort_job`` are served without them."""

_MAX_RESULTS = 500
"""So many of the last records of ``job_result``, of all indices, are read."""


class Outlet:
    """What the reporter writes to, and the one place that asks what the SAL runtime can do.

    Some things only our own runtime offers: the age of commands can be limited, those that came while no CSC
    was running can be found, and events before the last one. Where it is ts_salobj, `limit_command_age` does
    nothing, `command_position` knows nothing, and `read_results` gives the very last one.

    Parameters
    ----------
    controller
        Owner of the topics; it must be started before anything is written.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._log = get_logger("outlet")
        self._defaults: dict[str, dict[str, Any]] = {}
        """The public fields of each topic that was written, with their defaults."""

        self.differences: dict[str, tuple[str, ...]] = {}
        """By topic, the fields that only we have or only the interface has."""

    def log_missing(self) -> None:
        """Say in one line what the installed interface lacks of ours."""
        missing = [name for name in NEW_TOPICS if not self.has(name)]
        if missing:
            self._log.warning(
                "the installed interface lacks topics, which are neither obeyed nor written",
                topics=", ".join(missing),
            )

    def has(self, name: str) -> bool:
        """Whether the interface has a topic.

        Parameters
        ----------
        name
            Attribute name, such as ``evt_job_phase``.
        """
        return hasattr(self._controller, name)

    async def write(self, name: str, **fields: Any) -> None:
        """Write one record, whether or not it differs from the last one.

        Parameters
        ----------
        name
            Attribute name of an event or telemetry topic; an absent one is skipped.
        **fields
            A value for every public field, so that nothing is inherited from another job's record. Where
            the installed interface has other fields than we know, the difference is logged once.

        Raises
        ------
        Exception
            What the SAL layer raises when the broker does not take the record.
        """
        if not self.has(name):
            return
        topic = getattr(self._controller, name)
        if name not in self._defaults:
            self._defaults[name] = {
                field: value
                for field, value in vars(topic.DataType()).items()
                if not field.startswith("private_") and field != "salIndex"
            }
        defaults = self._defaults[name]
        if fields.keys() != defaults.keys():
            self._note_difference(name, fields.keys() ^ defaults.keys())
            fields = {field: fields.get(field, default) for field, default in defaults.items()}
        await topic.set_write(force_output=True, **fields)

    def _note_difference(self, name: str, fields: Iterable[str]) -> None:
        if name not in self.differences:
            self.differences[name] = tuple(sorted(fields))
            self._log.warning(
                "the installed interface has another version of a topic; these fields are not told",
                topic=name,
                fields=", ".join(self.differences[name]),
            )

    async def write_versions(self, subsystems: str) -> None:
        """Write ``softwareVersions`` again; what the base class says there stays.

        Parameters
        ----------
        subsystems
            What is said of the back ends.

        Raises
        ------
        Exception
            As for `write`.
        """
        await self._controller.evt_softwareVersions.set_write(force_output=True, subsystemVersions=subsystems)

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

    def make_annex_key(self, generator: str, tai: float, other: str, suffix: str) -> str:
        """Key of a file in the large file annex.

        Parameters
        ----------
        generator
            What made the file.
        tai
            When (TAI, Unix s).
        other, suffix
            End of its name.
        """
        salinfo = self._controller.salinfo
        # ts_salobj wants a time of astropy, which ours does without: it would cost 50 MB.
        date = tai if RUNTIME == "builtin" else astropy_time_from_tai_unix(tai)
        return AsyncS3Bucket.make_key(salinfo.name, salinfo.index, generator, date, other, suffix=suffix)

    async def read_results(self) -> list[Any]:
        """The last ``job_result`` records of this index as the broker has them now, oldest first.

        Raises
        ------
        Exception
            What the SAL layer raises when they cannot be read.
        """
        salinfo = self._controller.salinfo
        remote = Remote(
            self._controller.domain, salinfo.name, salinfo.index, readonly=True, include=["job_result"]
        )
        try:
            await remote.start_task
            topic = remote.evt_job_result
            if hasattr(topic, "read_before_start"):
                earlier: list[Any] = await topic.read_before_start(_MAX_RESULTS)
                return earlier
            last = topic.get()
            return [] if last is None else [last]
        finally:
            await remote.close()
