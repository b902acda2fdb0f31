"""The numbers of the CSC's interface."""

from enum import IntEnum

__all__ = ["FaultCode", "SalIndex"]


class SalIndex(IntEnum):
    """SAL indices of the component ``OCPS``."""

    LATISS = 1
    """The auxiliary telescope's spectrograph."""

    LSSTComCam = 2
    """The commissioning camera."""

    LSSTCam = 3
    """The main camera."""

    RA = 101
    """Rapid analysis."""


class FaultCode(IntEnum):
    """Values of ``errorCode`` (design section 5)."""

    BACKEND_UNREACHABLE = 1
    """A required back end was unreachable for longer than ``fault_after``."""

    SIMULATED = 2
    """A fault asked for in simulation."""

    LEDGER_UNUSABLE = 3
    """The ledger cannot be written; known runs are still reported from memory."""

    TASK_DIED = 4
    """An internal task died."""
