"""What the environment says about Kafka, the schema registry and the site (sal-on-kafka section 1)."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .errors import SettingsError
from .kafka_properties import ClientArguments, Translation
from .kafka_security import SaslSettings, TlsSettings, list_unused, read_security, to_properties
from .settings_files import read_properties, read_windows

__all__ = ["MEMORY_SCHEME", "SalSettings", "SaslSettings", "TlsSettings", "get_s3_endpoint_url"]

MEMORY_SCHEME = "memory://"
"""Addresses that begin so select a broker or registry inside this process."""

_log = logging.getLogger(__name__)

_SUBNAME = re.compile(r"[A-Za-z0-9._-]+")

_ALL_ACKS = frozenset({"all", "-1"})
_KNOWN_ACKS = frozenset({"0", "1"}) | _ALL_ACKS

_VARIABLES = {
    "topic_subname": "LSST_TOPIC_SUBNAME",
    "broker_address": "LSST_KAFKA_BROKER_ADDR",
    "registry_url": "LSST_SCHEMA_REGISTRY_URL",
    "replication_factor": "LSST_KAFKA_REPLICATION_FACTOR",
    "max_history_read": "LSST_MAX_HISTORY_READ",
    "site": "LSST_SITE",
    "ca_file": "SSL_CERT_FILE",
    "client_file": "LSST_KAFKA_BROKER_CLIENT_CONFIGURATION",
    "consumer_file": "LSST_KAFKA_CONSUMER_CONFIGURATION",
    "producer_file": "LSST_KAFKA_PRODUCER_CONFIGURATION",
    "history_file": "LSST_HISTORY_READ_CONFIG",
    "connect_timeout": "OCPS_CONNECT_TIMEOUT",
}

_SASL_VARIABLES = {
    "username": "LSST_KAFKA_SECURITY_USERNAME",
    "password": "LSST_KAFKA_SECURITY_PASSWORD",
    "protocol": "LSST_KAFKA_SECURITY_PROTOCOL",
    "mechanism": "LSST_KAFKA_SECURITY_MECHANISM",
}


def _check_subname(value: str) -> str:
    if not _SUBNAME.fullmatch(value):
        raise ValueError("names of Kafka topics hold letters, digits, '.', '_' and '-' only")
    return value


def _check_broker_address(value: str) -> str:
    if value.startswith(MEMORY_SCHEME):
        return value
    for server in value.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not (host and colon and port.isdigit()):
            raise ValueError(f"{server.strip()!r} is not host:port (several are separated by commas)")
    return value


def _check_registry_url(value: str) -> str:
    if value.startswith(MEMORY_SCHEME):
        return value
    parts = urlsplit(value)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with credentials is not supported")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an http or https URL is needed")
    return value.rstrip("/")


class _LoginSettings(SaslSettings):
    """The login as the environment has it; used only when user name and password are both set."""

    protocol: Literal["SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"


class SalSettings(BaseModel):
    """Settings of the SAL runtime, read once and passed in.

    The environment may name files; what they say is added by `with_files`, in a thread.

    ``memory://NAME`` as `broker_address` and `registry_url` selects the broker and the registry of that
    name inside this process (for tests).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    topic_subname: Annotated[str, AfterValidator(_check_subname)]
    """Second element of the names of Kafka topics; ``sal`` in production."""

    broker_address: Annotated[str, AfterValidator(_check_broker_address)] = "broker:29092"
    registry_url: Annotated[str, AfterValidator(_check_registry_url)] = "http://schema-registry:8081"

    sasl: SaslSettings | None = None
    """Login to the brokers; None: without."""

    tls: TlsSettings | None = None
    """Encryption between us and the brokers; None: without."""

    ca_file: Path | None = None
    """Authorities that the registry, and the brokers where nothing else is said, must be known to; None:
    those of the system."""

    replication_factor: int = Field(default=1, ge=1)
    """Of the topics that this process creates."""

    clients: ClientArguments = ClientArguments()
    """How the Kafka clients differ from ours by default."""

    max_history_read: int = Field(default=500, ge=0)
    """History window of indexed components (offsets)."""

    history_windows: tuple[tuple[str, int], ...] = ()
    """History windows (offsets) of the indexed components that have one of their own."""

    site: str | None = None
    """Where this runs; a configurable CSC needs it."""

    connect_timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """How long to try to reach the broker and the registry (s)."""

    client_file: Path | None = None
    """librdkafka properties of all Kafka clients (YAML)."""

    consumer_file: Path | None = None
    producer_file: Path | None = None
    """Those of consumers and of producers alone; the file of all clients wins over them."""

    history_file: Path | None = None
    """History windows by component (YAML); may be missing."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "SalSettings":
        """Read the settings; an empty variable counts as unset.

        Parameters
        ----------
        environment
            The variables; None: those of this process, as they are now.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SettingsError
            If a variable is missing or wrong; names the variable and what to do.
        """
        if environment is None:
            environment = os.environ  # noqa: TID251 (this is the module that reads the environment)
        if not environment.get("LSST_TOPIC_SUBNAME"):
            raise SettingsError(
                "environment variable LSST_TOPIC_SUBNAME is not set: set it to the second element of the "
                'names of Kafka topics, "sal" in production, anything else for tests'
            )
        _check_acks(environment.get("LSST_KAFKA_PRODUCER_WAIT_ACKS", ""))
        values: dict[str, Any] = _collect(environment, _VARIABLES)
        values["sasl"], values["tls"] = _read_security(environment)
        return _validate(cls, values, _VARIABLES, environment)

    @property
    def has_files(self) -> bool:
        """Whether `with_files` has anything to read."""
        files = (self.client_file, self.consumer_file, self.producer_file, self.history_file)
        return any(file is not None for file in files)

    def history_window(self, component: str) -> int:
        """How far back the events of an indexed component are read (offsets).

        Parameters
        ----------
        component
            Its name.
        """
        return dict(self.history_windows).get(component, self.max_history_read)

    def with_files(self) -> "SalSettings":
        """The settings with what the files say; blocks, so call it in a thread.

        What is not followed is told in one warning.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SettingsError
            If a file is missing, broken or wrong; names variable, path and reason.
        """
        if not self.has_files:
            return self
        windows = read_windows(_VARIABLES["history_file"], self.history_file)
        translation = Translation()
        remarks: list[str] = []
        properties: dict[str, str] = {}
        # The file of all clients comes last: it wins, as with ts_salobj.
        for role in ("consumer", "producer", "client"):
            variable, file = _VARIABLES[f"{role}_file"], getattr(self, f"{role}_file")
            properties = read_properties(variable, file)
            with _naming(variable, file):
                found = translation.add(role, properties)
                if role == "client":
                    # As ts_salobj does it: the login of the environment first, then the file.
                    properties = to_properties(self.sasl, self.tls) | properties
                    sasl, tls = read_security(properties)
                    address = _read_address(properties, self.broker_address)
                    found += list_unused(properties, sasl, tls)
            if found:
                remarks.append(f"of {variable}={str(file)!r}: {', '.join(found)}")
        if remarks:
            _log.warning("properties that are not followed, %s", "; ".join(remarks))
        changes = {"broker_address": address, "sasl": sasl, "tls": tls, "clients": translation.arguments}
        return self.model_copy(update=changes | {"history_windows": tuple(windows.items())})


@contextmanager
def _naming(variable: str, file: Path | None) -> Iterator[None]:
    """Say which file a wrong property is in."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"environment variable {variable}={str(file)!r}: {error}") from None


def _read_address(properties: Mapping[str, str], default: str) -> str:
    for name in ("bootstrap.servers", "metadata.broker.list"):
        if name in properties:
            try:
                return _check_broker_address(properties[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return default


def get_s3_endpoint_url(environment: Mapping[str, str] | None = None) -> str | None:
    """Where S3 is (``S3_ENDPOINT_URL``, sal-on-kafka section 16); None: AWS.

    Parameters
    ----------
    environment
        The variables; None: those of this process, as they are now.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If it is no URL, or holds credentials.
    """
    if environment is None:
        environment = os.environ  # noqa: TID251 (this is the module that reads the environment)
    value = environment.get("S3_ENDPOINT_URL", "")
    try:
        return _check_registry_url(value) if value else None
    except ValueError as error:
        raise SettingsError(_describe("S3_ENDPOINT_URL", str(error), environment)) from None


def _collect(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    return {field: environment[name] for field, name in variables.items() if environment.get(name)}


T = TypeVar("T", bound=BaseModel)


def _validate(
    model: type[T], values: Mapping[str, Any], variables: Mapping[str, str], environment: Mapping[str, str]
) -> T:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            _describe(variables[str(detail["loc"][0])], detail["msg"], environment)
            for detail in error.errors(include_url=False)
        ]
    raise SettingsError("; ".join(problems))


def _describe(variable: str, reason: str, environment: Mapping[str, str]) -> str:
    # A password must not reach a log, and a registry URL may hold one.
    is_secret = variable.endswith("_PASSWORD") or "@" in environment[variable]
    value = "" if is_secret else f"={environment[variable]!r}"
    return f"environment variable {variable}{value}: {reason.removeprefix('Value error, ')}"


def _read_security(environment: Mapping[str, str]) -> tuple[SaslSettings | None, TlsSettings | None]:
    values = _collect(environment, _SASL_VARIABLES)
    given = {"username", "password"} & values.keys()
    if len(given) == 1:
        missing = _SASL_VARIABLES[({"username", "password"} - given).pop()]
        _log.warning("no login to Kafka, because %s is not set", missing)
    if len(given) < 2:
        return None, TlsSettings() if values.get("protocol") == "SSL" else None
    login = _validate(_LoginSettings, values, _SASL_VARIABLES, environment)
    sasl = SaslSettings(username=login.username, password=login.password, mechanism=login.mechanism)
    return sasl, TlsSettings() if login.protocol == "SASL_SSL" else None


def _check_acks(value: str) -> None:
    if not value or value in _ALL_ACKS:
        return
    if value not in _KNOWN_ACKS:
        raise SettingsError(
            f"environment variable LSST_KAFKA_PRODUCER_WAIT_ACKS={value!r}: 0, 1, all or -1 is needed"
        )
    _log.warning(
        "LSST_KAFKA_PRODUCER_WAIT_ACKS=%s is not followed: records are written idempotently, and that needs "
        "the acknowledgement of all in-sync replicas",
        value,
    )
