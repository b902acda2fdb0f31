"""What proves to a back end who we are; the only module of this package that reads the environment."""

import asyncio
import base64
import os
from pathlib import Path

from typing_extensions import override

from .errors import BackendAuthenticationError
from .settings import CredentialsSettings, SecretSettings

__all__ = ["Credentials", "read_secret"]

_HIDDEN = "[hidden]"


async def read_secret(backend: str, settings: SecretSettings) -> str:
    """Read the secret that a configuration refers to.

    Parameters
    ----------
    backend
        Name of the back end, for messages.
    settings
        Where the secret is.

    Raises
    ------
    BackendAuthenticationError
        If the file or variable is not there, empty, or holds what no line of a protocol can carry. The
        message names the place and never the content.
    """
    if settings.file is not None:
        try:
            secret = await asyncio.to_thread(Path(settings.file).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            text = f"credentials: {_place(settings)}: {reason}"
            raise BackendAuthenticationError(backend, text) from None
    else:
        # The reference is a name in the configuration; reading it here is the resolution itself.
        secret = os.environ.get(settings.environment or "", "")  # noqa: TID251 (the package's one place)
    secret = secret.strip()
    if not secret:
        raise BackendAuthenticationError(backend, f"credentials: {_place(settings)} is empty or not there")
    if not secret.isprintable():
        raise _odd(backend, settings)
    return secret


def _place(settings: SecretSettings) -> str:
    if settings.file is not None:
        return f"file {settings.file}"
    return f"environment variable {settings.environment}"


def _odd(backend: str, settings: SecretSettings) -> BackendAuthenticationError:
    text = f"credentials: {_place(settings)} holds characters of no token"
    return BackendAuthenticationError(backend, text)


class Credentials:
    """A resolved secret, which shows itself nowhere but in the header that it makes.

    Parameters
    ----------
    header
        Value of the ``Authorization`` header; "" for none.
    secrets
        What must never appear in a message.
    """

    __slots__ = ("_header", "_secrets")

    def __init__(self, header: str = "", *secrets: str) -> None:
        self._header = header
        self._secrets = tuple(secret for secret in secrets if secret)

    @classmethod
    def bearer(cls, token: str) -> "Credentials":
        """A bearer token (RFC 6750)."""
        return cls(f"Bearer {token}", token)

    @classmethod
    def basic(cls, user: str, password: str) -> "Credentials":
        """A user and password (RFC 7617)."""
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return cls(f"Basic {encoded}", password, encoded)

    @classmethod
    async def resolve(cls, backend: str, settings: CredentialsSettings | None) -> "Credentials":
        """Read the secret that a configuration refers to.

        Parameters
        ----------
        backend
            Name of the back end, for messages.
        settings
            Where the secret is; None gives empty credentials.

        Raises
        ------
        BackendAuthenticationError
            If the file or variable is not there, empty, or holds what no header can carry. The message
            names the place and never the content.
        """
        if settings is None:
            return cls()
        secret = await read_secret(backend, settings)
        if settings.kind == "bearer" and not secret.isascii():
            raise _odd(backend, settings)
        return cls.bearer(secret) if settings.kind == "bearer" else cls.basic(settings.user or "", secret)

    def headers(self) -> dict[str, str]:
        """The headers to send to the back end's own origin."""
        return {"Authorization": self._header} if self._header else {}

    def redact(self, text: str) -> str:
        """Hide the secrets in a text that a server sent."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def redact_bytes(self, content: bytes) -> bytes:
        """The same for a body, whatever its encoding."""
        for secret in self._secrets:
            content = content.replace(secret.encode(), _HIDDEN.encode())
        return content

    @override
    def __repr__(self) -> str:
        return f"Credentials({_HIDDEN if self._header else ''})"
