"""What the configuration says of back ends, validated whole."""

from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, model_validator

__all__ = ["AnyBackendSettings", "BackendSettings", "CredentialsSettings", "UwsSettings"]


def _check_url(url: str) -> str:
    """A root URL: http or https, without user, query and fragment; trailing slashes are cut."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute http or https URL")
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
JobListTemplate = Annotated[str, AfterValidator(_check_template)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CredentialsSettings(_Model):
    """Where the secret is that a back end asks for. The secret itself never stands in a configuration."""

    kind: Literal["bearer", "basic"] = "bearer"
    """``Authorization: Bearer TOKEN``, or user and password."""

    user: str | None = None
    """User name for ``basic``."""

    file: str | None = None
    """File whose content is the token or password; blanks around it are cut."""

    environment: str | None = None
    """Environment variable that holds it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is None) == (self.environment is None):
            raise ValueError("give either file or environment")
        if (self.kind == "basic") != (self.user is not None):
            raise ValueError("user belongs to kind basic, and only there")
        return self


class BackendSettings(_Model):
    """What every kind of back end has in common."""

    kind: str
    """Name of the protocol."""

    required: bool = False
    """Whether the CSC goes to FAULT when the back end cannot be reached for long."""


class UwsSettings(BackendSettings):
    """A service of IVOA UWS 1.1 or 1.0."""

    kind: Literal["uws"] = "uws"

    url: Url
    """Root URL of the service."""

    job_list: JobListTemplate = "{payload}/async"
    """Place of a payload's job list below the root."""

    job_id_in_url: bool = True
    """Whether a job's URL ends in its id, as UWS 1.1 section 2.2.1 has it; then an answer about another job
    is noticed."""

    credentials: CredentialsSettings | None = None
    """None: the service takes anybody."""

    result_hosts: tuple[str, ...] = ()
    """Hosts besides the service's own from which results may be read, as ``host`` or ``host:port``."""

    call_timeout: Seconds = 30.0
    """Longest time of one call, `wait` excepted (s)."""

    connect_timeout: Seconds = 5.0
    """Longest time until a connection stands (s)."""

    max_wait: Annotated[int, Field(ge=1, le=600)] = 30
    """Longest WAIT to ask for (s); proxies cut connections that are silent for a minute."""

    max_connections: Annotated[int, Field(ge=1)] = 100
    """Connections for control calls; WAIT calls have as many of their own."""

    max_document: ByteSize = ByteSize(16 * 1024 * 1024)
    """Largest document that is read (byte)."""


AnyBackendSettings: TypeAlias = UwsSettings
"""The settings of any known kind: what a configuration model names as the type of a back end."""
