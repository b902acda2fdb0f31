"""An Apache Kafka broker that lets nobody in unknown: TLS with login, TLS with certificates, login alone."""

from pathlib import Path
from typing import Any

from lsst.ts.ocps.sal.kafka_security import Mechanism, SaslSettings, TlsSettings
from support.apache_kafka import ApacheKafka
from support.certificates import TestAuthority
from support.ports import free_port

__all__ = ["KEY_PASSWORD", "PASSWORD", "USER", "SecureKafka"]

USER = "ts-salkafka"
PASSWORD = "planted-kafka-secret"
"""May appear in no log, error or repr of ours."""

KEY_PASSWORD = "planted-key-secret"

_JAAS = "org.apache.kafka.common.security"


class SecureKafka:
    """A broker with three listeners and no way in without a login or a certificate.

    Parameters
    ----------
    directory
        Folder for data, certificates and log.
    """

    def __init__(self, directory: Path) -> None:
        self.authority = TestAuthority(directory / "certificates")
        self.scram_address, self.certificate_address, self.plain_address = (
            f"127.0.0.1:{free_port()}" for _ in range(3)
        )
        self._scram_port = int(self.scram_address.rpartition(":")[2])
        self.broker = ApacheKafka(
            directory / "broker",
            port=self._scram_port,
            controller_port=(controller_port := free_port()),
            settings=self._make_properties(controller_port),
        )
        certificate, key = self.authority.issue("ocps.test", password=KEY_PASSWORD)
        self.client_files = {"certificate": certificate, "key": key, "key_password": KEY_PASSWORD}

    @property
    def wrong_name_address(self) -> str:
        """The same listener by a name that its certificate does not have."""
        return f"localhost:{self._scram_port}"

    def login(self, mechanism: Mechanism = "SCRAM-SHA-512", **values: Any) -> SaslSettings:
        """A login that works, unless a value says otherwise."""
        return SaslSettings(**{"username": USER, "password": PASSWORD, "mechanism": mechanism} | values)

    def tls(self, **values: Any) -> TlsSettings:
        """Trust in the authority of the broker, unless a value says otherwise."""
        return TlsSettings(**{"ca": self.authority.bundle} | values)

    def start(self) -> None:
        """Format the data folder with the logins, and start."""
        self.broker.format({("SCRAM-SHA-512", USER): PASSWORD, ("SCRAM-SHA-256", USER): PASSWORD})
        self.broker.start()

    def kill(self) -> None:
        """End the broker at once."""
        self.broker.kill()

    def _make_properties(self, controller_port: int) -> dict[str, str]:
        addresses = {
            "SCRAM": self.scram_address,
            "CERTIFICATE": self.certificate_address,
            "LOGIN": self.plain_address,
        }
        advertised = ",".join(f"{name}://{address}" for name, address in addresses.items())
        scram = f"{_JAAS}.scram.ScramLoginModule required;"
        plain = f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        return {
            "listeners": f"{advertised},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": (
                "SCRAM:SASL_SSL,CERTIFICATE:SSL,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            # The broker knows itself by its certificate.
            "inter.broker.listener.name": "CERTIFICATE",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.authority.issue_keystore("127.0.0.1")),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.bundle),
            "listener.name.certificate.ssl.client.auth": "required",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.scram.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.scram.plain.sasl.jaas.config": plain,
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.login.plain.sasl.jaas.config": plain,
            "listener.name.login.scram-sha-512.sasl.jaas.config": scram,
        }
