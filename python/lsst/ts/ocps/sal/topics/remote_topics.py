"""Events and telemetry as a Remote reads them (salobj-api section 7)."""

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.salinfo import SalInfo

from .read_topic import DEFAULT_QUEUE_LEN, ReadTopic

__all__ = ["RemoteEvent", "RemoteTelemetry"]


class RemoteEvent(ReadTopic):
    """An event.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the event, without prefix.
    max_history
        0: no old samples; 1: the newest old sample of each index.
    queue_len
        Length of the queue.
    """

    def __init__(
        self, salinfo: SalInfo, name: str, max_history: int = 1, queue_len: int = DEFAULT_QUEUE_LEN
    ) -> None:
        super().__init__(salinfo, f"evt_{name}", max_history=max_history, queue_len=queue_len)

    async def read_before_start(self, window: int) -> list[BaseMsgType]:
        """The samples among the last records before the start, oldest first; ts_salobj has no such method.

        Events are compacted: only the last of each index is kept for ever.

        Parameters
        ----------
        window
            How many records, of all indices, are looked at.

        Raises
        ------
        RuntimeError
            If not started, or closed.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If they could not all be read in time.
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry could not be asked for a schema.
        """
        return await self._read_before_start(-window)


class RemoteTelemetry(ReadTopic):
    """A telemetry topic; there are never old samples.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the topic.
    queue_len
        Length of the queue.
    """

    def __init__(self, salinfo: SalInfo, name: str, queue_len: int = DEFAULT_QUEUE_LEN) -> None:
        super().__init__(salinfo, f"tel_{name}", max_history=0, queue_len=queue_len)
