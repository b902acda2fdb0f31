"""How to log in to the brokers, and how to know them: SASL and TLS."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, SecretStr

from .errors import SettingsError
from .kafka_properties import SWITCHES

__all__ = [
    "Mechanism",
    "Protocol",
    "SaslSettings",
    "TlsSettings",
    "get_protocol",
    "list_unused",
    "make_registry_context",
    "read_security",
    "to_properties",
]

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]

_DEFAULT_MECHANISM: Mechanism = "SCRAM-SHA-512"

_TLS_PROPERTIES = frozenset(
    {
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
        "enable.ssl.certificate.verification",
    }
)

_VERIFICATION = "enable.ssl.certificate.verification"
_HOST_NAME = "ssl.endpoint.identification.algorithm"


class SaslSettings(BaseModel):
    """How to log in to the brokers."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str
    password: SecretStr
    mechanism: Mechanism = _DEFAULT_MECHANISM


class TlsSettings(BaseModel):
    """How to know the brokers, and to be known by them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca: Path | None = None
    """Certificates of the authorities that are trusted: a PEM file, or a folder as ``openssl rehash`` makes
    it; None: those of ``SSL_CERT_FILE``, else of the system."""

    certificate: Path | None = None
    """Our own certificate and its chain (PEM), for brokers that ask for one."""

    key: Path | None = None
    """Its private key (PEM); None: it is in the file of the certificate."""

    key_password: SecretStr | None = None
    """Opens an encrypted key."""

    checks_host_name: bool = True
    """Whether the certificate must name the host that was connected to."""

    checks_certificate: bool = True
    """Whether the certificate must come from an authority that is trusted; False: any will do, whatever
    its name."""

    def make_context(self, default_ca: Path | None) -> ssl.SSLContext:
        """Read the files; blocks, so call it in a thread.

        Parameters
        ----------
        default_ca
            Authorities that are trusted if none are named here; None: those of the system.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SettingsError
            If a file cannot be used; names property, path and reason.
        """
        ca = self.ca or default_ca
        context = _make_context("SSL_CERT_FILE" if self.ca is None else "ssl.ca.location", ca)
        context.check_hostname = self.checks_host_name and self.checks_certificate
        if not self.checks_certificate:
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            password = "" if self.key_password is None else self.key_password.get_secret_value()
            try:
                # Without a password OpenSSL would ask for it at the terminal.
                context.load_cert_chain(self.certificate, self.key, password)
            except (OSError, ValueError) as error:
                files = f"ssl.certificate.location={str(self.certificate)!r}"
                if self.key is not None:
                    files += f", ssl.key.location={str(self.key)!r}"
                raise SettingsError(f"{files}: {_explain(error)}") from None
        return context


def make_registry_context(ca: Path | None) -> ssl.SSLContext:
    """What a client of an https registry trusts; blocks, so call it in a thread.

    Parameters
    ----------
    ca
        The file named by ``SSL_CERT_FILE``; None: the authorities of the system.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If the file cannot be used.
    """
    return _make_context("SSL_CERT_FILE", ca)


def _make_context(source: str, ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    try:
        if ca.is_dir():
            return ssl.create_default_context(capath=ca)
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{source}={str(ca)!r}: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """A reason without the file name, which OSError repeats."""
    if isinstance(error, ssl.SSLError):
        return f"not a usable PEM file ({error.reason or error.args[-1]})"
    return str(getattr(error, "strerror", None) or error)


def get_protocol(sasl: SaslSettings | None, tls: TlsSettings | None) -> Protocol:
    """The name that Kafka has for a combination.

    Parameters
    ----------
    sasl, tls
        Login and encryption; None: without.
    """
    if sasl is None:
        return "PLAINTEXT" if tls is None else "SSL"
    return "SASL_PLAINTEXT" if tls is None else "SASL_SSL"


def to_properties(sasl: SaslSettings | None, tls: TlsSettings | None) -> dict[str, str]:
    """What ts_salobj would put into the settings of every client for the login in the environment.

    Parameters
    ----------
    sasl, tls
        As read from the environment.
    """
    if sasl is None:
        return {} if tls is None else {"security.protocol": "SSL"}
    return {
        "security.protocol": get_protocol(sasl, tls),
        "sasl.mechanism": sasl.mechanism,
        "sasl.username": sasl.username,
        "sasl.password": sasl.password.get_secret_value(),
    }


def read_security(properties: Mapping[str, str]) -> tuple[SaslSettings | None, TlsSettings | None]:
    """Login and encryption that librdkafka properties ask for.

    Parameters
    ----------
    properties
        Texts by name; names of other matters are left alone.

    Raises
    ------
    ValueError
        If a value is wrong or one is missing; names the property, never its value.
    """
    username, password = properties.get("sasl.username"), properties.get("sasl.password")
    has_login = username is not None and password is not None
    protocol = _read_protocol(properties, has_login=has_login)
    sasl = None
    if protocol.startswith("SASL_"):
        if username is None or password is None:
            raise ValueError(f"security.protocol {protocol} needs sasl.username and sasl.password")
        sasl = SaslSettings(
            username=username, password=SecretStr(password), mechanism=_read_mechanism(properties)
        )
    return sasl, _read_tls(properties) if protocol.endswith("SSL") else None


def list_unused(
    properties: Mapping[str, str], sasl: SaslSettings | None, tls: TlsSettings | None
) -> list[str]:
    """The properties of a login or of TLS that have no meaning under the protocol, with the reason.

    Parameters
    ----------
    properties
        Texts by name.
    sasl, tls
        What `read_security` made of them.
    """
    reason = f"(security.protocol is {get_protocol(sasl, tls)})"
    unused = [name for name in properties if sasl is None and name.startswith("sasl.")]
    unused += [name for name in properties if tls is None and name in _TLS_PROPERTIES]
    return [f"{name} {reason}" for name in unused]


def _read_protocol(properties: Mapping[str, str], *, has_login: bool) -> Protocol:
    given = properties.get("security.protocol")
    if given is None:
        # A certificate authority makes no sense without TLS; a login alone means what it means for ts_salobj.
        if has_login:
            return "SASL_PLAINTEXT"
        return "SSL" if "ssl.ca.location" in properties else "PLAINTEXT"
    for protocol in get_args(Protocol):
        if protocol == given.upper():
            return protocol  # type: ignore[no-any-return]
    raise ValueError(f"security.protocol: one of {', '.join(get_args(Protocol))} is needed")


def _read_mechanism(properties: Mapping[str, str]) -> Mechanism:
    given = properties.get("sasl.mechanisms", properties.get("sasl.mechanism", _DEFAULT_MECHANISM))
    for mechanism in get_args(Mechanism):
        if mechanism == given:
            return mechanism  # type: ignore[no-any-return]
    raise ValueError(f"sasl.mechanism: one of {', '.join(get_args(Mechanism))} is needed")


def _read_tls(properties: Mapping[str, str]) -> TlsSettings:
    algorithm = properties.get(_HOST_NAME, "https").lower()
    if algorithm not in {"https", "none"}:
        raise ValueError(f"{_HOST_NAME}: https or none is needed")
    verification = SWITCHES.get(properties.get(_VERIFICATION, "true").lower())
    if verification is None:
        raise ValueError(f"{_VERIFICATION}: true or false is needed")
    certificate, key = properties.get("ssl.certificate.location"), properties.get("ssl.key.location")
    if key is not None and certificate is None:
        raise ValueError("ssl.key.location needs ssl.certificate.location")
    key_password = properties.get("ssl.key.password")
    return TlsSettings(
        ca=_to_path(properties.get("ssl.ca.location")),
        certificate=_to_path(certificate),
        key=_to_path(key),
        key_password=None if key_password is None else SecretStr(key_password),
        checks_host_name=algorithm == "https",
        checks_certificate=verification,
    )


def _to_path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
