"""Topics as objects: those that are read, those that are written, and commands on both sides."""

from lsst.ts.ocps.sal.sequence import MAX_SEQ_NUM

from .ackcmd import AckCmdReader, AckCmdWriter
from .base import BaseTopic
from .command_info import CommandInfo
from .controller_command import ControllerCommand
from .controller_topics import ControllerEvent, ControllerTelemetry
from .mock_write_topic import MockWriteTopic
from .read_topic import DEFAULT_QUEUE_LEN, MIN_QUEUE_LEN, ReadTopic
from .remote_command import RemoteCommand
from .remote_topics import RemoteEvent, RemoteTelemetry
from .write_topic import SetWriteResult, WriteTopic

__all__ = [
    "DEFAULT_QUEUE_LEN",
    "MAX_SEQ_NUM",
    "MIN_QUEUE_LEN",
    "AckCmdReader",
    "AckCmdWriter",
    "BaseTopic",
    "CommandInfo",
    "ControllerCommand",
    "ControllerEvent",
    "ControllerTelemetry",
    "MockWriteTopic",
    "ReadTopic",
    "RemoteCommand",
    "RemoteEvent",
    "RemoteTelemetry",
    "SetWriteResult",
    "WriteTopic",
]
