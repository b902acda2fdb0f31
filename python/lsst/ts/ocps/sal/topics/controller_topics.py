"""Events and telemetry as a Controller writes them (salobj-api section 7)."""

from lsst.ts.ocps.sal.salinfo import SalInfo

from .write_topic import WriteTopic

__all__ = ["ControllerEvent", "ControllerTelemetry"]


class ControllerEvent(WriteTopic):
    """An event; ``set_write`` writes it only if a value has changed.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the event, without prefix.
    """

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        # An old heartbeat says nothing; every other event matters.
        super().__init__(
            salinfo, f"evt_{name}", default_force_output=False, is_perishable=name == "heartbeat"
        )


class ControllerTelemetry(WriteTopic):
    """A telemetry topic; ``set_write`` always writes it.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the topic.
    """

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        super().__init__(salinfo, f"tel_{name}", default_force_output=True, is_perishable=True)
