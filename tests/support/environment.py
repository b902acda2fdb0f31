"""Environment variables that give the settings of a test."""

from lsst.ts.ocps.sal.kafka_security import get_protocol
from lsst.ts.ocps.sal.settings import SalSettings

__all__ = ["make_environment"]


def make_environment(settings: SalSettings) -> dict[str, str]:
    """The variables that give these settings."""
    environment = {
        "LSST_TOPIC_SUBNAME": settings.topic_subname,
        "LSST_KAFKA_BROKER_ADDR": settings.broker_address,
        "LSST_SCHEMA_REGISTRY_URL": settings.registry_url,
        "LSST_SITE": "test",
        "OCPS_CONNECT_TIMEOUT": str(settings.connect_timeout),
    }
    if settings.sasl is not None:
        environment |= {
            "LSST_KAFKA_SECURITY_USERNAME": settings.sasl.username,
            "LSST_KAFKA_SECURITY_PASSWORD": settings.sasl.password.get_secret_value(),
            "LSST_KAFKA_SECURITY_PROTOCOL": get_protocol(settings.sasl, settings.tls),
            "LSST_KAFKA_SECURITY_MECHANISM": settings.sasl.mechanism,
        }
    if settings.tls is not None and settings.tls.ca is not None:
        environment["SSL_CERT_FILE"] = str(settings.tls.ca)
    return environment
