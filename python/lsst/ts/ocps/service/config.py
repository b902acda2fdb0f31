"""What the service can be told."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import sqlalchemy as sa
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    HttpUrl,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)

from .sections import (
    AccessSection,
    AnonymousAccess,
    LimitsSection,
    Origin,
    ProxyAccess,
    TokenAccess,
    UploadsSection,
)

__all__ = ["ServiceConfig", "read_database_url"]

_DRIVER = "postgresql+psycopg"


def read_database_url(secret: SecretStr) -> sa.URL:
    """Read the URL of a PostgreSQL database.

    Raises
    ------
    ValueError
        If it is none; the message does not show it, for there may be a password in it.
    """
    try:
        url = sa.make_url(secret.get_secret_value())
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError("is no URL, such as postgresql://user:password@host/database") from None
    if url.drivername not in {"postgresql", "postgres", _DRIVER}:
        raise ValueError("does not begin with postgresql://")
    if not url.database:
        raise ValueError("names no database, such as postgresql://user:password@host/database")
    return url.set(drivername=_DRIVER)


class ServiceConfig(BaseModel):
    """The configuration of a service, complete and checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    payload_directories: tuple[Path, ...] = Field(min_length=1)
    """Where the payload definitions are."""

    data_directory: Path
    """The folders of the jobs, and the SQLite database. With SQLite, one service at a time owns it, and it
    must not be on a network file system."""

    database_url: SecretStr | None = None
    """A PostgreSQL database instead of SQLite, ``postgresql://user:password@host/database``. Several services
    may share it, and share the work then; they need the same ``data_directory``."""

    lease: float = Field(default=15, gt=0)
    """How long after its last sign of life a service on a shared database is believed to live (s). Then
    another one of the same host follows its commands."""

    abandon_after: timedelta | None = Field(default=None, gt=timedelta(0))
    """After what time without a sign of life of a service on a shared database its jobs end in ERROR, if it
    is dead, of another host, and nobody there follows them; None: never, the host is waited for."""

    host: str = "127.0.0.1"
    """Address to listen on. Without authentication only the loopback is accepted (see ``access``)."""

    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    public_url: HttpUrl | None = None
    """Root URL as clients see it, where a proxy stands before the service; None: as each request says."""

    access: AccessSection = AnonymousAccess()
    """Who may ask; nobody is told from others by default."""

    origins: tuple[Origin, ...] = ()
    """Web sites, such as ``https://portal.example``, whose pages may use the service from browsers (CORS),
    with all the rights of the users whose tokens they send."""

    limits: LimitsSection = LimitsSection()
    """How much each owner may have and do."""

    uploads: UploadsSection = UploadsSection()
    """What may be uploaded to payloads that take uploads."""

    max_running: int = Field(default=64, gt=0)
    """How many commands run at once; further jobs stay QUEUED."""

    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How many processors of this machine its jobs may have together, by what their payloads ask for; None:
    all that this process may use."""

    memory: ByteSize | None = Field(default=None, gt=0)
    """How much memory of this machine its jobs may have together (byte); None: all."""

    max_wait: float = Field(default=50, gt=0, lt=60)
    """Longest answer to a WAIT request (s); proxies tend to give up after 60 s."""

    max_sync: float = Field(default=50, gt=0)
    """Longest time of a synchronous request (s); a job that takes longer is aborted."""

    max_request: ByteSize = Field(default=ByteSize(2**20), gt=0)
    """Largest body of a request (byte)."""

    max_connections: int = Field(default=5000, gt=0)
    """How many connections of clients there are at a time; for further ones those end that have been idle for
    the longest time, or they are ended with status 503. There are fewer where the process may not have so
    many files open."""

    max_connections_per_address: int | None = Field(default=None, gt=0)
    """How many of them one address may have, or one network of IPv6 (/64); for further ones its own end that
    are idle, or they are ended with status 429. Those of the proxies that ``access`` names are not counted.
    None: half of all; but any number where ``public_url`` tells of a proxy, and ``access`` names none."""

    request_timeout: float = Field(default=30, gt=0, allow_inf_nan=False)
    """How long a request may take to come, from its first byte or that of its connection (s); one second more
    for each KiB of its body."""

    send_timeout: float = Field(default=60, gt=0, allow_inf_nan=False)
    """How long a client may take nothing of the answer that is sent to it (s); then its connection ends."""

    max_output: ByteSize = Field(default=ByteSize(10 * 2**20), ge=1024)
    """How much is kept of what a command says on each of standard output and error (byte): of more, the
    beginning and the last 64 KiB."""

    kill_grace: float = Field(default=10, ge=0)
    """Time that a command is given to end by itself when it is stopped (s)."""

    attach_patience: float = Field(default=5, ge=0)
    """How long after a restart the trace of a command may be missing before its job ends in ERROR (s)."""

    follow_patience: float = Field(default=60, ge=0)
    """How long it is tried to follow a command again that its executor lost sight of, before its job ends in
    ERROR (s)."""

    archive_retention: timedelta = Field(
        default=timedelta(days=30), ge=timedelta(0), le=timedelta(days=36500)
    )
    """How long a job is still told of, as ARCHIVED and without results, after its time of destruction; 0: not
    at all."""

    max_retention: timedelta = Field(default=timedelta(days=365), gt=timedelta(0), le=timedelta(days=36500))
    """How long after its creation a job is kept at the latest, whatever time of destruction a client or a
    payload asks for."""

    max_results: int = Field(default=10_000, gt=0)
    """How many files of a job are results; of more, the first ones by name."""

    on_stop: Literal["leave", "abort"] = "leave"
    """What a stop of the service does to running commands: ``leave`` lets them run, the next start finds them
    again; ``abort`` ends their jobs as ABORTED and waits for the commands."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_database_url(value)
        return value

    @property
    def database(self) -> Path | sa.URL:
        """The file of the SQLite database, or the URL of the PostgreSQL database."""
        if self.database_url is None:
            return self.data_directory.absolute() / "jobs.sqlite"
        return read_database_url(self.database_url)

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        access = self.access
        if isinstance(access, AnonymousAccess) and not access.allow_network and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached from other machines, and access.mode 'anonymous' lets "
                "everybody run the payloads: configure tokens or a proxy, listen on 127.0.0.1, or set "
                "access.allow_network to true"
            )
        return self

    @property
    def public_host(self) -> str | None:
        """Host, and port if not the usual one, under which clients know the service; None: as they say."""
        return urlsplit(str(self.public_url)).netloc if self.public_url else None

    @property
    def known_hosts(self) -> frozenset[str] | None:
        """The names by which it may be asked, beside any address; None: by any.

        Who has to say who they are is not helped by a name.
        """
        if not isinstance(self.access, AnonymousAccess):
            return None
        public = (self.public_url.host or "",) if self.public_url else ()
        return frozenset(name.lower() for name in ("localhost", self.host, *public, *self.access.hosts))

    @property
    def proxies(self) -> tuple[IPvAnyNetwork, ...]:
        """The addresses of those proxies before the service that it is told of."""
        match self.access:
            case ProxyAccess() as access:
                return (*access.networks, *access.forwarders)
            case TokenAccess() as access:
                return access.forwarders
            case AnonymousAccess():
                return ()

    @property
    def jobs_directory(self) -> Path:
        """Where each job has its folder."""
        return self.data_directory.absolute() / "jobs"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
