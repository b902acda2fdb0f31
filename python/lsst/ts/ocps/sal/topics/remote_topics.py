"""Events and telemetry as a Remote reads them (salobj-api section 7)."""

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
