"""Types for annotations (salobj-api section 1)."""

from pathlib import Path
from typing import TYPE_CHECKING

from .data_type import BaseMsgType

__all__ = ["AckCmdDataType", "BaseDdsDataType", "BaseMsgType", "PathType"]

if TYPE_CHECKING:

    class AckCmdDataType(BaseMsgType):
        """An acknowledgement."""

        ack: int
        """A `~lsst.ts.ocps.sal.enums.SalRetCode`, as a plain number where it was read."""

        error: int
        """Error code; 0 = none."""

        result: str
        """Explanation, or what the command returns."""

        identity: str
        """Identity of the sender of the command."""

        origin: int
        """Process id of the sender of the command."""

        cmdtype: int
        """Place of the command among the topics of the component."""

        timeout: float
        """How much more time the command needs (s); for CMD_INPROGRESS."""

else:
    # Each component has a dataclass of its own for them.
    AckCmdDataType = BaseMsgType

BaseDdsDataType = BaseMsgType
"""Obsolete name of `~lsst.ts.ocps.sal.data_type.BaseMsgType`."""

PathType = str | Path
"""A path, as text or as an object."""
