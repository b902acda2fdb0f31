"""Acknowledgements: writing them in a CSC, and sorting them to their commands in a Remote.

Source: sal-on-kafka section 7.
"""

from collections.abc import Callable

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.salinfo import SalInfo

from .base import BaseTopic
from .write_topic import WriteTopic

__all__ = ["AckCmdReader", "AckCmdWriter"]

AckListener = Callable[[BaseMsgType], None]
"""Takes an acknowledgement."""


class AckCmdWriter(WriteTopic):
    """Writes the acknowledgements of all commands of a Controller.

    Parameters
    ----------
    salinfo
        The component and index.
    """

    def __init__(self, salinfo: SalInfo) -> None:
        super().__init__(salinfo, "ack_ackcmd", default_force_output=True)

    @classmethod
    def of(cls, salinfo: SalInfo) -> "AckCmdWriter":
        """The one writer of a SalInfo; made when first asked for."""
        writer = salinfo.writers.get("ack_ackcmd")
        return writer if isinstance(writer, cls) else cls(salinfo)

    async def write_ack(self, data: BaseMsgType, ackcmd: BaseMsgType, *, cmdtype: int) -> BaseMsgType:
        """Write an acknowledgement and wait until the broker has it.

        Parameters
        ----------
        data
            The command: gives sequence number, identity and origin.
        ackcmd
            Gives ack, error, result and timeout.
        cmdtype
            Place of the command among the topics of the component.
        """
        record = self.DataType(
            ack=ackcmd.ack,
            error=ackcmd.error,
            result=ackcmd.result,
            timeout=ackcmd.timeout,
            identity=data.private_identity,
            origin=data.private_origin,
            cmdtype=cmdtype,
        )
        return await self._write_record(record, data.private_seqNum)


class AckCmdReader(BaseTopic):
    """Reads acknowledgements and gives those of this process's commands to whoever waits for them.

    Parameters
    ----------
    salinfo
        The component and index.
    """

    history_window = 0
    is_ordered = False

    def __init__(self, salinfo: SalInfo) -> None:
        super().__init__(salinfo, "ack_ackcmd")
        self._listeners: dict[int, AckListener] = {}
        salinfo.add_reader(self)

    @classmethod
    def of(cls, salinfo: SalInfo) -> "AckCmdReader":
        """The one reader of a SalInfo; made when first asked for."""
        reader = salinfo.readers.get("ack_ackcmd")
        return reader if isinstance(reader, cls) else cls(salinfo)

    def listen(self, seq_num: int, listener: AckListener) -> None:
        """Give the acknowledgements of a command to ``listener`` from now on.

        Parameters
        ----------
        seq_num
            Sequence number of the command; must be listened to before the command is sent.
        listener
            Takes each acknowledgement.
        """
        self._listeners[seq_num] = listener

    def forget(self, seq_num: int) -> None:
        """Ignore further acknowledgements of a command."""
        self._listeners.pop(seq_num, None)

    def accept(self, data: BaseMsgType, offset: int | None = None) -> None:
        """Take an acknowledgement from the reader; those for others are as usual as ours.

        Parameters
        ----------
        data
            The acknowledgement.
        offset
            Of its record; of no interest.
        """
        del offset
        if data.identity != self.salinfo.identity or data.origin != self.salinfo.domain.origin:
            return
        listener = self._listeners.get(data.private_seqNum)
        if listener is not None:
            listener(data)

    def basic_close(self) -> None:
        """Forget every command."""
        self._listeners.clear()

    async def close(self) -> None:
        """Forget every command."""
        self.basic_close()
