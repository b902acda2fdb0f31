"""Whom to believe and who we are on encrypted connections; certificates are read in a thread."""

import asyncio
import ssl
from dataclasses import dataclass

import httpx

from .errors import BackendAuthenticationError
from .settings import TlsSettings

__all__ = ["Tls"]


@dataclass(frozen=True, slots=True)
class Tls:
    """The contexts of one back end."""

    own: ssl.SSLContext
    """For its own origin; shows our certificate if there is one."""

    foreign: ssl.SSLContext
    """For the other hosts that results may come from; shows nothing."""

    @classmethod
    async def resolve(cls, backend: str, settings: TlsSettings | None) -> "Tls":
        """Read the files that a configuration refers to.

        Parameters
        ----------
        backend
            Name of the back end, for messages.
        settings
            Names of the files; None: the usual authorities and no certificate.

        Raises
        ------
        BackendAuthenticationError
            If a file is not there, or does not hold what it should. The message names the file.
        """
        return await asyncio.to_thread(cls._read, backend, settings or TlsSettings())

    @classmethod
    def _read(cls, backend: str, settings: TlsSettings) -> "Tls":
        own, foreign = (_make_context(backend, settings.ca_bundle) for _ in range(2))
        if settings.certificate is None:
            return cls(own, own)
        try:
            # Without the password argument OpenSSL would ask the terminal for it, and wait for ever.
            own.load_cert_chain(settings.certificate, settings.key, password="")  # nosec B106 # there is none
        except (OSError, ValueError) as error:
            place = " and ".join(filter(None, (settings.certificate, settings.key)))
            raise BackendAuthenticationError(backend, f"tls: certificate {place}: {_reason(error)}") from None
        return cls(own, foreign)


def _make_context(backend: str, ca_bundle: str | None) -> ssl.SSLContext:
    if ca_bundle is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ValueError) as error:
        text = f"tls: ca_bundle {ca_bundle}: {_reason(error)}"
        raise BackendAuthenticationError(backend, text) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no readable PEM file ({error.reason or error})"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
