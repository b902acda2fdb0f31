"""What the runtime asks of a topic: as one that is read, and as one that is written."""

from typing import Protocol

from .adoption import WriteSchema
from .avro import TopicCodec
from .data_type import BaseMsgType
from .interface import TopicInfo
from .skips import SkipReason

__all__ = ["ReaderTopic", "RecordSink", "WriterTopic"]


class RecordSink(Protocol):
    """A topic, as the reader sees it."""

    @property
    def topic_info(self) -> TopicInfo:
        """The topic."""

    @property
    def codec(self) -> TopicCodec:
        """Decodes its records."""

    @property
    def history_window(self) -> int:
        """How far back the history is read (offsets); 0 = none."""

    @property
    def is_ordered(self) -> bool:
        """Whether a sample with an older stamp than the one before is dropped."""

    @property
    def DataType(self) -> type[BaseMsgType]:  # noqa: N802 (the API)
        """Class of its samples."""

    def accept(self, data: BaseMsgType, offset: int | None = None) -> SkipReason | None:
        """Take the next sample; must not wait. Returns why it was not wanted, if it was not."""


class ReaderTopic(RecordSink, Protocol):
    """A topic that is read, as its SalInfo sees it."""

    @property
    def attr_name(self) -> str:
        """Name with prefix."""

    def basic_close(self) -> None:
        """End waits and callbacks."""

    async def close(self) -> None:
        """End waits and callbacks, and wait for the callbacks' ends."""


class WriterTopic(Protocol):
    """A topic that is written, as its SalInfo sees it."""

    @property
    def attr_name(self) -> str:
        """Name with prefix."""

    @property
    def topic_info(self) -> TopicInfo:
        """The topic."""

    def use_schema(self, schema: WriteSchema) -> None:
        """Write under this schema from now on."""
