"""One component and index as one program uses it: names, topics, reading and writing.

Source: salobj-api section 4.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Self

from typing_extensions import override

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .adoption import WriteSchema, settle_schemas
from .broker.base import Broker, TopicSpec
from .domain import Connection, Domain
from .interface import TopicInfo, TopicKind
from .names import ComponentNames
from .reader import TopicReader
from .registry import SchemaRegistry
from .schema_learning import learn_schemas
from .settings import SalSettings
from .together import run_together
from .topic_roles import ReaderTopic, WriterTopic

__all__ = ["SalInfo"]


class SalInfo(ComponentNames):
    """One component and index.

    Parameters
    ----------
    domain
        Identity and connections.
    name
        Name of the component.
    index
        Index of the component; 0 or None: the only one, or, for reading, all of them.
    write_only
        Whether nothing is to be read.
    num_messages, consume_messages_timeout
        Accepted for programs written for ts_salobj; they have no meaning here.
    discard_out_of_order_telemetry, discard_out_of_order_events
        Whether a sample with an older stamp than the one before is dropped.

    Raises
    ------
    ValueError
        If there is no such component, or an index is given for one that has none.
    TypeError
        If an argument is of the wrong type.
    RuntimeError
        If the environment lacks ``LSST_TOPIC_SUBNAME``.
    """

    def __init__(  # noqa: PLR0917 (the API)
        self,
        domain: Domain,
        name: str,
        index: int | IntEnum | None = 0,
        write_only: bool = False,
        num_messages: int = 1,
        consume_messages_timeout: float = 0.1,
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        del num_messages, consume_messages_timeout
        if not isinstance(domain, Domain):
            raise TypeError(f"domain={domain!r} is not a Domain")
        super().__init__(name, index)
        self.settings = SalSettings.from_environment()
        self.domain = domain
        self.write_only = write_only
        self._discards = {
            TopicKind.TELEMETRY: discard_out_of_order_telemetry,
            TopicKind.EVENT: discard_out_of_order_events,
        }
        self.log = logging.getLogger(name)
        if self.log.level == logging.NOTSET and self.log.getEffectiveLevel() > logging.INFO:
            # SAL's habit; but a level that somebody has chosen is respected.
            self.log.setLevel(logging.INFO)
        loop = asyncio.get_running_loop()
        self.isopen = True
        self.start_called = False
        self.started = False
        self.start_task: asyncio.Future[None] = loop.create_future()
        self.done_task: asyncio.Future[None] = loop.create_future()
        self.readers: dict[str, ReaderTopic] = {}
        self.writers: dict[str, WriterTopic] = {}
        self.reader: TopicReader | None = None
        self._closers: list[Callable[[], None]] = []
        self._tasks = TaskSupervisor(f"SalInfo {self.name_index}", on_death=self._note_death, log=self.log)
        self._closing = False
        self._starting: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._death: BaseException | None = None
        self._connection: Connection | None = None
        self._settled: dict[str, WriteSchema] = {}
        """Under which schemas the topics are written, by attribute name."""

        domain.salinfo_set.add(self)

    # Topics

    def add_reader(self, topic: ReaderTopic) -> None:
        """Note a topic to be read.

        Raises
        ------
        ValueError
            If the topic has a reader.
        RuntimeError
            If started.
        """
        self._add(self.readers, topic)

    def add_writer(self, topic: WriterTopic) -> None:
        """Note a topic to be written.

        Raises
        ------
        ValueError
            If the topic has a writer.
        RuntimeError
            If started.
        """
        self._add(self.writers, topic)

    def _add(self, topics: dict[str, Any], topic: Any) -> None:
        if self.start_called:
            raise RuntimeError(f"Cannot add {topic!r}: {self!r} has been started")
        if topic.attr_name in topics:
            raise ValueError(f"{topic!r} exists already")
        topics[topic.attr_name] = topic

    def add_closer(self, closer: Callable[[], None]) -> None:
        """Call ``closer`` when this is closed."""
        self._closers.append(closer)

    def history_window(self, max_history: int) -> int:
        """How far back a topic reads (offsets)."""
        if max_history == 0:
            return 0
        return self.settings.history_window(self.name) if self.indexed else max_history

    def discards_out_of_order(self, kind: TopicKind) -> bool:
        """Whether a sample of such a topic is dropped if its stamp is older than that of the one before."""
        return self._discards.get(kind, False)

    # Life

    @property
    def identity(self) -> str:
        """Identity of what is written."""
        return self.domain.default_identity

    @property
    def running(self) -> bool:
        """Whether started and open."""
        return self.started and self.isopen

    @property
    def is_reading(self) -> bool:
        """Whether the read loop is running."""
        return self.reader is not None and self.reader.is_running

    def assert_started(self) -> None:
        """Raise RuntimeError if not started."""
        if not self.started:
            raise RuntimeError("Not started")

    def assert_running(self) -> None:
        """Raise RuntimeError if not started, or closed."""
        self.assert_started()
        if not self.isopen:
            raise RuntimeError("No longer open")

    @property
    def broker(self) -> Broker:
        """The broker.

        Raises
        ------
        RuntimeError
            If not started, or closed.
        """
        self.assert_running()
        assert self._connection is not None  # noqa: S101 (set before `started`)
        return self._connection.broker

    @property
    def registry(self) -> SchemaRegistry:
        """The schema registry.

        Raises
        ------
        RuntimeError
            If not started, or closed.
        """
        self.assert_running()
        assert self._connection is not None  # noqa: S101 (set before `started`)
        return self._connection.registry

    async def start(self) -> None:
        """Create the topics, settle the schemas, take the positions and read the history.

        Raises
        ------
        RuntimeError
            If started before, or closed.
        ~lsst.ts.ocps.sal.errors.SalError
            If broker or registry do not do what is needed.
        """
        if self.start_called:
            raise RuntimeError("Start already called")
        if not self.isopen:
            raise RuntimeError("No longer open")
        self.start_called = True
        self._starting = asyncio.create_task(self._start(), name=f"{self!r}:start")
        try:
            await self._wait_started(self._starting)
        except BaseException as error:
            if not self.start_task.done():
                self.start_task.set_exception(_as_start_failure(error))
                # Whoever called `start` gets the error; nobody has to look at the future too.
                self.start_task.exception()
            raise
        self.started = True
        self.start_task.set_result(None)

    async def _wait_started(self, starting: asyncio.Task[None]) -> None:
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError:
            starting.cancel()
            raise
        if starting.cancelled():
            raise RuntimeError("No longer open")
        starting.result()

    async def _start(self) -> None:
        self.settings = await self.domain.complete_settings(self.settings)
        self._connection = self.domain.connection(self.settings)
        if not self.readers and not self.writers:
            return
        broker, *_ = await run_together(
            self._prepare_broker(self._connection), self.settle_schemas(), self.domain.prepare_identity()
        )
        if self.readers:
            await self._start_reading(broker, self._connection)

    async def _prepare_broker(self, connection: Connection) -> Broker:
        broker = await connection.started_broker()
        infos = {name: topic.topic_info for name, topic in self.readers.items()}
        infos.update({name: topic.topic_info for name, topic in self.writers.items()})
        await broker.ensure_topics([self._make_spec(info) for info in infos.values()])
        return broker

    def _make_spec(self, info: TopicInfo) -> TopicSpec:
        return TopicSpec(
            name=info.kafka_name(self.settings.topic_subname),
            partitions=info.partitions,
            is_compacted=info.kind is TopicKind.EVENT,
        )

    async def settle_schemas(self) -> None:
        """Adopt or register the schema of every written topic (see ``adoption``).

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry is not reachable, or refuses a schema; the topics that it concerns go on as they
            were, the others are settled.
        """
        assert self._connection is not None  # noqa: S101 (set by start)
        writers: Sequence[WriterTopic] = list(self.writers.values())
        try:
            await settle_schemas(
                self._connection.registry,
                [writer.topic_info for writer in writers],
                self.settings.topic_subname,
                self._settled,
                log=self.log,
            )
        finally:
            for name, schema in self._settled.items():
                self.writers[name].use_schema(schema)

    async def _start_reading(self, broker: Broker, connection: Connection) -> None:
        subname = self.settings.topic_subname
        self.reader = TopicReader(
            broker=broker,
            registry=connection.registry,
            index=self.index,
            sinks={topic.topic_info.kafka_name(subname): topic for topic in self.readers.values()},
            tasks=self._tasks,
            log=self.log,
        )
        await self.reader.start()
        topics = [topic.topic_info for topic in self.readers.values()]
        learning = learn_schemas(connection.registry, topics, subname, log=self.log)
        _ = self._tasks.start(learning, name="schemas")

    def _note_death(self, name: str, error: BaseException) -> None:
        self._death = error
        self.log.critical("task %s died; %s stops", name, self.name_index, exc_info=error)
        if not self._closing:
            self._closer = asyncio.create_task(self.close(), name=f"{name}:close")

    def basic_close(self) -> None:
        """End waits and callbacks at once; `close` does the rest."""
        self.isopen = False
        for topic in self.readers.values():
            topic.basic_close()
        for closer in self._closers:
            closer()

    async def close(self) -> None:
        """Stop reading and writing; a second call waits for the first."""
        if self._closing:
            await asyncio.wait([self.done_task])
            return
        self._closing = True
        self.basic_close()
        try:
            if self._starting is not None:
                self._starting.cancel()
                await asyncio.wait([self._starting])
            await asyncio.gather(*(topic.close() for topic in self.readers.values()))
            if self.reader is not None:
                await self.reader.aclose()
            await self._tasks.aclose()
        finally:
            if not self.start_task.done():
                self.start_task.cancel()
            if self._death is None:
                self.done_task.set_result(None)
            else:
                self.done_task.set_exception(self._death)
                # It has been logged; whoever awaits the future gets it too.
                self.done_task.exception()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @override
    def __repr__(self) -> str:
        return f"SalInfo({self.name}, {int(self.index)})"


def _as_start_failure(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    return RuntimeError("the start was cancelled")
