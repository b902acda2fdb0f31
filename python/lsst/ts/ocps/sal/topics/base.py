"""What every topic object has (salobj-api section 7)."""

from functools import cached_property

from typing_extensions import override

from lsst.ts.ocps.sal.avro import TopicCodec, rev_code
from lsst.ts.ocps.sal.data_type import BaseMsgType, data_type
from lsst.ts.ocps.sal.salinfo import SalInfo

__all__ = ["BaseTopic"]


class BaseTopic:
    """One topic of one SalInfo.

    Parameters
    ----------
    salinfo
        The component and index.
    attr_name
        Name of the topic with its prefix, such as ``evt_summaryState``.

    Raises
    ------
    RuntimeError
        If the component has no such topic.
    """

    def __init__(self, salinfo: SalInfo, attr_name: str) -> None:
        topic_info = salinfo.component_info.topics.get(attr_name)
        if topic_info is None:
            raise RuntimeError(f"Failed to create topic {salinfo.name}.{attr_name}")
        self.salinfo = salinfo
        self.topic_info = topic_info
        self.attr_name = attr_name
        self.sal_name = topic_info.sal_name
        self.DataType: type[BaseMsgType] = data_type(topic_info)
        self.log = salinfo.log.getChild(self.sal_name)
        self._adopted_rev_code: str | None = None

    @property
    def rev_code(self) -> str:
        """Code of the schema, as it stands in ``private_revCode`` of what is written."""
        return self._adopted_rev_code or self._own_rev_code

    @cached_property
    def _own_rev_code(self) -> str:
        return rev_code(self.topic_info)

    @cached_property
    def codec(self) -> TopicCodec:
        """Encodes and decodes the records."""
        return TopicCodec(self.topic_info, log=self.log)

    @property
    def isopen(self) -> bool:
        """Whether the topic may still be used."""
        return self.salinfo.isopen

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.salinfo.name}, {int(self.salinfo.index)}, {self.attr_name})"
