"""Choose the broker that the settings name."""

from lsst.ts.ocps.sal.settings import MEMORY_SCHEME, SalSettings

from .base import Broker
from .kafka import KafkaBroker
from .memory import MemoryBroker

__all__ = ["create_broker"]


def create_broker(settings: SalSettings) -> Broker:
    """Make the broker for ``settings.broker_address``: Kafka, or ``memory://NAME``; not started yet.

    Parameters
    ----------
    settings
        The settings of this process.
    """
    if settings.broker_address.startswith(MEMORY_SCHEME):
        return MemoryBroker(settings.broker_address.removeprefix(MEMORY_SCHEME))
    return KafkaBroker(settings)
