"""A topic that is written to a list (salobj-api section 12)."""

from typing_extensions import override

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.interface import TopicKind
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.values import convert_fields, copy_record

from .write_topic import WriteTopic

__all__ = ["MockWriteTopic"]


class MockWriteTopic(WriteTopic):
    """A topic whose records stay in this process: for the tests of code that writes.

    Values are checked as for a real topic; the SalInfo need not be started.

    Parameters
    ----------
    salinfo
        The component and index.
    attr_name
        Name of the topic with its prefix.

    Raises
    ------
    RuntimeError
        If the component has no such topic.
    """

    def __init__(self, salinfo: SalInfo, attr_name: str) -> None:
        is_event = attr_name.startswith(TopicKind.EVENT.value)
        super().__init__(salinfo, attr_name, default_force_output=not is_event)
        self.data_list: list[BaseMsgType] = []
        """What has been written, the oldest first."""

    @override
    async def _write_record(self, data: BaseMsgType, seq_num: int) -> BaseMsgType:
        self._fill_private_fields(data, seq_num)
        convert_fields(self.topic_info, data)
        record = copy_record(data)
        self.data_list.append(record)
        return record
