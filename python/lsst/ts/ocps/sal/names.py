"""Names of a component, its topics and its acknowledgements, as every SalInfo offers them.

Source: salobj-api section 4.
"""

from functools import cached_property

from .data_type import BaseMsgType, data_type
from .errors import InterfaceError
from .interface import ComponentInfo, TopicKind
from .interface_xml import load_component

__all__ = ["ComponentNames"]


class ComponentNames:
    """One component and index.

    Parameters
    ----------
    name
        Name of the component.
    index
        Its index (an int or an IntEnum, kept as it is); None: 0.

    Raises
    ------
    ValueError
        If there is no such component, or an index is given for one that has none.
    TypeError
        If the index is of the wrong type.
    """

    def __init__(self, name: str, index: int | None) -> None:
        if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
            raise TypeError(f"index={index!r} is not an int, an IntEnum or None")
        self.component_info = _find_component(name)
        self.name = name
        self.index: int = 0 if index is None else index
        if self.index != 0 and not self.indexed:
            raise ValueError(f"index={int(self.index)} but component {name} has no index")

    @property
    def indexed(self) -> bool:
        """Whether the component has indices."""
        return self.component_info.is_indexed

    @property
    def name_index(self) -> str:
        """``name:index``, or ``name`` for a component without indices."""
        return f"{self.name}:{int(self.index)}" if self.indexed else self.name

    def _names(self, kind: TopicKind) -> tuple[str, ...]:
        topics = self.component_info.topics.values()
        return tuple(
            sorted(topic.attr_name.removeprefix(kind.value) for topic in topics if topic.kind is kind)
        )

    @cached_property
    def command_names(self) -> tuple[str, ...]:
        """Names of the commands, without prefix, sorted."""
        return self._names(TopicKind.COMMAND)

    @cached_property
    def event_names(self) -> tuple[str, ...]:
        """Names of the events, without prefix, sorted."""
        return self._names(TopicKind.EVENT)

    @cached_property
    def telemetry_names(self) -> tuple[str, ...]:
        """Names of the telemetry topics, sorted."""
        return self._names(TopicKind.TELEMETRY)

    @cached_property
    def sal_topic_names(self) -> list[str]:
        """SAL names of all topics, ``ackcmd`` included, sorted."""
        return sorted(topic.sal_name for topic in self.component_info.topics.values())

    # Acknowledgements

    @property
    def AckCmdType(self) -> type[BaseMsgType]:  # noqa: N802 (the API)
        """Dataclass of acknowledgements.

        Raises
        ------
        RuntimeError
            If the component has no commands.
        """
        topic = self.component_info.topics.get("ack_ackcmd")
        if topic is None:
            raise RuntimeError(f"{self.name} has no commands")
        return data_type(topic)

    def make_ackcmd(
        self,
        private_seqNum: int,  # noqa: N803 (the API)
        ack: int,
        error: int = 0,
        result: str = "",
        timeout: float = 0,
    ) -> BaseMsgType:
        """Make an acknowledgement, to be returned by the code of a command.

        Parameters
        ----------
        private_seqNum
            Sequence number of the command.
        ack
            A `~lsst.ts.ocps.sal.enums.SalRetCode`.
        error
            Error code; 0 = none.
        result
            Explanation.
        timeout
            How much more time the command needs (s); for CMD_INPROGRESS.
        """
        return self.AckCmdType(
            private_seqNum=private_seqNum, ack=ack, error=error, result=result, timeout=timeout
        )


def _find_component(name: str) -> ComponentInfo:
    try:
        return load_component(name)
    except InterfaceError as error:
        if str(error).startswith("No such component"):
            raise ValueError(f"No such component {name}") from error
        raise
