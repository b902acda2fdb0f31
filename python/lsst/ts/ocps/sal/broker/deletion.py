"""Delete topics: what tests leave behind on a broker (salobj-api section 12)."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NoError, UnknownTopicOrPartitionError, for_code

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.settings import MEMORY_SCHEME, SalSettings

from .kafka_client import make_client_options
from .memory import MemoryBroker

__all__ = ["delete_topics"]


async def delete_topics(settings: SalSettings, *, prefix: str) -> None:
    """Delete every topic whose name begins so.

    Parameters
    ----------
    settings
        The broker.
    prefix
        Beginning of the names.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.BrokerError
        If the broker cannot be reached, or refuses.
    """
    address = settings.broker_address
    if address.startswith(MEMORY_SCHEME):
        MemoryBroker.delete_topics(address.removeprefix(MEMORY_SCHEME), prefix)
        return
    deadline = Deadline(f"deleting topics {prefix}* of Kafka {address}", settings.connect_timeout)
    try:
        async with deadline.enforce():
            await _delete(settings, prefix)
    except (DeadlineExceededError, KafkaError, OSError) as error:
        raise BrokerError(f"{deadline.operation}: {error or type(error).__name__}") from error


async def _delete(settings: SalSettings, prefix: str) -> None:
    admin = AIOKafkaAdminClient(**await make_client_options(settings))
    try:
        await admin.start()
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if not names:
            return
        response = await admin.delete_topics(names)
        for name, code in response.topic_error_codes:
            kind = for_code(code)
            # Somebody else may have been faster.
            if kind not in {NoError, UnknownTopicOrPartitionError}:
                raise kind(f"topic {name} was not deleted")
    finally:
        await admin.close()
