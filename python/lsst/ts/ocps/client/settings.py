"""What the configuration says of back ends, validated whole."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

__all__ = [
    "AnyBackendSettings",
    "ApiServerSettings",
    "BackendSettings",
    "CredentialsSettings",
    "HttpSettings",
    "RapidAnalysisSettings",
    "SecretSettings",
    "TlsSettings",
    "UwsSettings",
]


def _check_url(url: str) -> str:
    """A root URL: http or https, without user, query and fragment; trailing slashes are cut."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute http or https URL")
    return _check_parts(url)


def _check_redis_url(url: str) -> str:
    """Where a Redis server is: ``redis://host:port/database``."""
    parts = urlsplit(url.strip())
    if parts.scheme != "redis" or not parts.hostname:
        raise ValueError("must be redis://host, with :port and /database where they are not 6379 and 0")
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise ValueError("the database after the host must be a number")
    return _check_parts(url)


def _check_parts(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or password: give credentials by reference")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    parts.port  # noqa: B018 (raises ValueError if it is no number)
    # Servers answer a POST to a URL with a trailing slash by a redirect that creates nothing.
    return url.strip().rstrip("/")


def _check_template(template: str) -> str:
    """The place of a job list below the root; ``{payload}`` stands for the payload's name."""
    if template.replace("{payload}", "").count("{") or template.replace("{payload}", "").count("}"):
        raise ValueError("only {payload} may stand in braces")
    if "?" in template or "#" in template:
        raise ValueError("must not have a query or a fragment")
    return template.strip("/")


Url = Annotated[str, AfterValidator(_check_url)]
RedisUrl = Annotated[str, AfterValidator(_check_redis_url)]
JobListTemplate = Annotated[str, AfterValidator(_check_template)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretSettings(_Model):
    """Where a secret is. The secret itself never stands in a configuration."""

    file: str | None = None
    """File whose content is the token or password; blanks around it are cut."""

    environment: str | None = None
    """Environment variable that holds it."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.file is None) == (self.environment is None):
            raise ValueError("give either file or environment")
        return self


class CredentialsSettings(SecretSettings):
    """Where the secret is that a back end asks for with every request."""

    kind: Literal["bearer", "basic"] = "bearer"
    """``Authorization: Bearer TOKEN``, or user and password."""

    user: str | None = None
    """User name for ``basic``."""

    @model_validator(mode="after")
    def _check_user(self) -> Self:
        if (self.kind == "basic") != (self.user is not None):
            raise ValueError("user belongs to kind basic, and only there")
        return self


class TlsSettings(_Model):
    """Whom to believe, and who we are, on an encrypted connection. Every value is the name of a PEM file."""

    ca_bundle: str | None = None
    """The authorities that are believed; None: those of the system's usual bundle."""

    certificate: str | None = None
    """Our own certificate, with its chain, for a back end that asks for one."""

    key: str | None = None
    """The private key of `certificate`, not encrypted; None: it is in the same file."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key belongs to a certificate")
        return self


class BackendSettings(_Model):
    """What every kind of back end has in common."""

    kind: str
    """Name of the protocol."""

    required: bool = False
    """Whether the CSC goes to FAULT when the back end cannot be reached for long."""


class HttpSettings(BackendSettings):
    """What the back ends that speak HTTP have in common."""

    url: Url
    """Root URL of the service."""

    credentials: CredentialsSettings | None = None
    """None: the service takes anybody."""

    tls: TlsSettings | None = None
    """None: the usual authorities, and no certificate of our own."""

    call_timeout: Seconds = 30.0
    """Longest time of one call, `wait` excepted (s)."""

    connect_timeout: Seconds = 5.0
    """Longest time until a connection stands (s)."""

    max_connections: Annotated[int, Field(ge=1)] = 1000
    """Connections for control calls; calls that wait have as many of their own. While all are in use, the
    command for a new run has to wait for the answers to others."""

    max_document: ByteSize = ByteSize(16 * 1024 * 1024)
    """Largest document that is read (byte)."""

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls: the url is not https")
        return self


class UwsSettings(HttpSettings):
    """A service of IVOA UWS 1.1 or 1.0."""

    kind: Literal["uws"] = "uws"

    job_list: JobListTemplate = "{payload}/async"
    """Place of a payload's job list below the root."""

    job_id_in_url: bool = True
    """Whether a job's URL ends in its id, as UWS 1.1 section 2.2.1 has it; then an answer about another job
    is noticed."""

    result_hosts: tuple[str, ...] = ()
    """Hosts besides the service's own from which results may be read, as ``host`` or ``host:port``."""

    max_wait: Annotated[int, Field(ge=1, le=600)] = 30
    """Longest WAIT to ask for (s); proxies cut connections that are silent for a minute."""


class ApiServerSettings(HttpSettings):
    """A server of the JSON dialect of ``lsst-dm/uws-api-server``; `url` is its base, ``…/api/v1``."""

    kind: Literal["api_server"] = "api_server"

    escape: Literal["none", "yaml"] = "none"
    """What becomes of values that the server would change, because it pastes them into YAML between double
    quotes: they are refused by name, or escaped so that the job gets what was meant. A server that has
    learned to escape by itself must not be given escaped values."""

    poll_interval: Annotated[float, Field(gt=0, le=60)] = 0.25
    """Pause between two looks at the phase of a job (s); the server has no way to wait. It grows where an
    answer takes longer, and where many jobs are looked at."""


class RapidAnalysisSettings(BackendSettings):
    """Lists of a Redis server, from which workers take what they are to do; nothing is known of it then."""

    kind: Literal["rapid_analysis"] = "rapid_analysis"

    url: RedisUrl
    """Where the server is."""

    user: str | None = None
    """User name; None: the server's default user."""

    password: SecretSettings | None = None
    """None: the server takes anybody."""

    call_timeout: Annotated[float, Field(gt=0, le=1.5)] = 1.5
    """Longest time of one call (s); whoever pushes waits for it, and gets one answer within 2 s."""


def _kind_of(value: object) -> object:
    """The kind of a back end; ``uws`` where nothing is said."""
    if isinstance(value, Mapping):
        return value.get("kind", "uws")
    return getattr(value, "kind", None)


_KINDS = ("uws", "api_server", "rapid_analysis")

AnyBackendSettings: TypeAlias = Annotated[
    Annotated[UwsSettings, Tag("uws")]
    | Annotated[ApiServerSettings, Tag("api_server")]
    | Annotated[RapidAnalysisSettings, Tag("rapid_analysis")],
    Discriminator(
        _kind_of,
        custom_error_type="backend_kind",
        custom_error_message=f"kind must be one of {', '.join(_KINDS)}",
    ),
]
"""The settings of any known kind: what a configuration model names as the type of a back end."""
