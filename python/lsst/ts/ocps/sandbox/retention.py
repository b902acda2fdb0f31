"""Keep the data of the sandbox's broker small.

noida-db rewrites all of its data about once a second, so a sandbox that is left alone for days must not
collect a record for every heartbeat. Events other than the two frequent ones are kept: late joiners need
the last sample of each, however old.
"""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from .errors import SandboxError

__all__ = ["RETENTION_MS", "shorten_retention"]

RETENTION_MS = 3_600_000
"""How long frequent records are kept (ms)."""

_FREQUENT_EVENTS = ("logevent_heartbeat", "logevent_logMessage")
_TIMEOUT_MS = 10_000


def _is_frequent(topic: str) -> bool:
    """Whether a while is enough for the records of a topic: commands, telemetry, heartbeats, log."""
    name = topic.rpartition(".")[2]
    return not name.startswith("logevent_") or name in _FREQUENT_EVENTS


async def shorten_retention(address: str, topic_subname: str) -> None:
    """Let the broker forget frequent records after a while.

    Parameters
    ----------
    address
        Address of the broker, host:port.
    topic_subname
        Only topics of this subname are touched.

    Raises
    ------
    SandboxError
        If the broker does not do it; nothing depends on it but the size of its data.
    """
    configs = {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS)}
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=_TIMEOUT_MS)
    try:
        await admin.start()
        topics = [topic for topic in await admin.list_topics() if topic.startswith(f"lsst.{topic_subname}.")]
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)
            for topic in topics
            if _is_frequent(topic)
        ]
        await admin.alter_configs(resources)
    except KafkaError as error:
        raise SandboxError(f"the retention of the topics at {address} cannot be set: {error!r}") from error
    finally:
        await admin.close()
