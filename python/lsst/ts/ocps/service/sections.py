"""The sections of the configuration that say who may do what, and how much of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, IPvAnyNetwork, model_validator

from .owners import check_owner

__all__ = [
    "AccessSection",
    "AnonymousAccess",
    "LimitsSection",
    "Origin",
    "OwnerLimits",
    "ProxyAccess",
    "TokenAccess",
    "UploadsSection",
]

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

_HOST = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[0-9]{1,5})?")

Owner = Annotated[str, AfterValidator(check_owner)]


def _check_header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if name.lower() in {"x-forwarded-for", "authorization", "cookie"}:
        raise ValueError(f"{name} is sent by clients: it proves nothing")
    return name


def _check_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError(
            f"{host!r} is not the name of a host in lower case, such as data.example or data.example:8443"
        )
    return host


def _check_name(name: str) -> str:
    if ":" in _check_host(name):
        raise ValueError(f"{name!r} has a port: only the name counts")
    return name


def _check_origin(origin: str) -> str:
    scheme, _, host = origin.partition("://")
    if scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        raise ValueError(f"{origin!r} is no origin of web pages, such as https://portal.example")
    return origin


Host = Annotated[str, AfterValidator(_check_host)]
Origin = Annotated[str, AfterValidator(_check_origin)]
HostName = Annotated[str, AfterValidator(_check_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnonymousAccess(_Section):
    """No authentication: whoever can connect can run the payloads, and sees all jobs. For sandboxes."""

    mode: Literal["anonymous"] = "anonymous"

    allow_network: bool = False
    """Whether that may be offered at another address than the loopback."""

    hosts: tuple[HostName, ...] = ()
    """Names by which clients may ask beside ``localhost``, addresses, ``host`` and the host of
    ``public_url``. By other names nobody is answered: a web site can give one of its own the address of
    this service, and would so have the browsers of its visitors use it."""


class TokenAccess(_Section):
    """Bearer tokens (RFC 6750) of a file."""

    mode: Literal["tokens"]

    file: Path
    """The hashes of the tokens, and whose they are: lines that ``ocps service token`` prints. It is read
    again when it changes."""

    forwarders: tuple[IPvAnyNetwork, ...] = ()
    """Addresses of proxies before the service, whose ``X-Forwarded-For`` tells the address of the client. It
    decides nothing but whose failures and requests are counted together."""


class ProxyAccess(_Section):
    """A proxy before the service knows the user, and names them in a header."""

    mode: Literal["proxy"]

    networks: tuple[IPvAnyNetwork, ...] = Field(min_length=1)
    """Addresses of the proxy: the header is believed, and requests are taken, from nowhere else."""

    header: Annotated[str, AfterValidator(_check_header)] = "X-Auth-Request-User"
    """The header; the proxy must not let one through that a client has sent."""

    forwarders: tuple[IPvAnyNetwork, ...] = ()
    """Addresses of further proxies before that one. ``X-Forwarded-For`` as they and it write it tells the
    address of the client, which decides nothing but whose requests are counted together."""

    metrics_networks: tuple[IPvAnyNetwork, ...] = ()
    """Addresses from which ``/metrics`` may be read without a user, past the proxy."""

    operators: tuple[Owner, ...] = ()
    """Users who see, and may change, the jobs of everybody."""


AccessSection = Annotated[AnonymousAccess | TokenAccess | ProxyAccess, Field(discriminator="mode")]


class OwnerLimits(_Section):
    """How much one owner may have at a time; None: as much as they like."""

    max_pending: int | None = Field(default=None, ge=0)
    """Jobs that are PENDING."""

    max_active: int | None = Field(default=None, ge=0)
    """Jobs that were told to run and have not ended: QUEUED, EXECUTING, HELD, SUSPENDED, UNKNOWN."""

    max_stored: ByteSize | None = Field(default=None, ge=0)
    """Results kept (byte). Whoever has reached it creates and runs no further jobs until some are destroyed;
    what runs already is not stopped."""

    max_waiting: int | None = Field(default=2000, ge=0)
    """Requests of an owner that wait at a time, by ``WAIT`` or for the end of a synchronous request, at each
    process of the service. Where there is no authentication each address has so many."""


class LimitsSection(OwnerLimits):
    """How much each owner may have and do; where there is no authentication all share one owner."""

    owners: Mapping[Owner, OwnerLimits] = {}
    """Other limits for some owners, by name; what is not set there is as for all."""

    requests_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests that an owner (an address, as long as the owner is unknown) may make in the long run (1/s), at
    each process of the service."""

    request_burst: int = Field(default=50, gt=0)
    """So many requests may come at once after a pause."""

    failures_per_minute: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Wrong credentials that an address may send in the long run (1/min), and so many at once. Until it may
    again, no credentials from there are looked at."""

    def of(self, owner_id: str | None) -> OwnerLimits:
        """The limits of one owner."""
        other = self.owners.get(owner_id) if owner_id is not None else None
        if other is None:
            return self
        return OwnerLimits.model_validate(
            {
                name: getattr(other if name in other.model_fields_set else self, name)
                for name in OwnerLimits.model_fields
            }
        )


class UploadsSection(_Section):
    """What may be uploaded to payloads that take uploads; unless hosts are named, no URL is read."""

    max_bytes: ByteSize = Field(default=ByteSize(100 * 2**20), gt=0)
    """Largest file (byte); a payload may allow less."""

    schemes: tuple[Literal["http", "https"], ...] = ("https",)
    """Schemes of the URLs that are read."""

    hosts: tuple[Host, ...] = ()
    """Hosts that URLs are read from: names, with a port if it is not that of the scheme. What they resolve to
    has to be public addresses."""

    internal_hosts: tuple[Host, ...] = ()
    """Those of ``hosts`` that may have loopback, private or link-local addresses: everybody who may create
    jobs reads what they serve to this machine."""

    timeout: float = Field(default=60, gt=0, allow_inf_nan=False)
    """Longest time to read one URL (s)."""

    ca_bundle: Path | None = None
    """A PEM file with the authorities that are believed about ``https`` hosts; None: the system's usual
    ones."""

    @model_validator(mode="after")
    def _check_internal(self) -> Self:
        if unknown := set(self.internal_hosts) - set(self.hosts):
            raise ValueError(f"internal_hosts: {', '.join(sorted(unknown))} is not among hosts")
        return self
