"""Reading what a client refers to by URL, without being led where the client may not go itself.

A service that reads any URL for anybody is a door into the network that it stands in. So the scheme and the
host have to be allowed by name; the host is resolved once, each of its addresses has to be a public one, and
the connection goes to such an address and not to the name, which might lead elsewhere a moment later.
Redirects are not followed, and no proxy of the environment is used.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from .addresses import is_public
from .errors import FetchError, UsageError
from .sections import UploadsSection

__all__ = ["Fetcher", "Resolve", "check_url", "make_context"]

_PORTS = {"http": 80, "https": 443}
_CHUNK = 256 * 1024
_MAX_URL = 2000
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host."""


@dataclass(frozen=True, slots=True)
class _Target:
    url: httpx.URL
    host: str
    port: int
    is_internal: bool


def check_url(text: str, section: UploadsSection) -> None:
    """Say whether a URL may be read, as far as that can be seen without asking anybody.

    Raises
    ------
    UsageError
        If it may not.
    """
    _read_url(text, section)


def _read_url(text: str, section: UploadsSection) -> _Target:
    if len(text) > _MAX_URL or not text.isascii() or not text.isprintable():
        raise UsageError(f"UPLOAD: the URL is not one of up to {_MAX_URL} printable ASCII characters")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise UsageError(f"UPLOAD: {text[:80]!r} is no URL") from None
    if not section.hosts:
        raise UsageError("UPLOAD: this service reads no URLs; send the content with the request (param:NAME)")
    if url.scheme not in section.schemes:
        raise UsageError(
            f"UPLOAD: {url.scheme[:20]!r} URLs are not read; possible: {', '.join(section.schemes)}"
        )
    if url.userinfo:
        raise UsageError("UPLOAD: a URL with a user or password in it is not read")
    port = url.port or _PORTS[url.scheme]
    host = url.host.rstrip(".").lower()
    names = {f"{host}:{port}"} | ({host} if port == _PORTS[url.scheme] else set())
    if not names & set(section.hosts):
        raise UsageError(f"UPLOAD: nothing is read from {url.netloc.decode('ascii', 'replace')[:80]!r}")
    return _Target(url, host, port, bool(names & set(section.internal_hosts)))


def make_context(section: UploadsSection) -> ssl.SSLContext:
    """Whom to believe about ``https`` hosts; it reads files for tens of milliseconds.

    Raises
    ------
    FetchError
        If the bundle of authorities cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=section.ca_bundle)
    except OSError as error:
        # That of a file that is none has no words of its own.
        reason = "no readable PEM file" if isinstance(error, ssl.SSLError) else error.strerror
        raise FetchError(f"uploads.ca_bundle: {section.ca_bundle}: {reason}") from error


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Fetcher:
    """Reads URLs that clients name.

    Parameters
    ----------
    section
        What may be read.
    resolve
        Finds the addresses of a host.
    """

    def __init__(self, section: UploadsSection, resolve: Resolve = _resolve) -> None:
        self._section = section
        self._resolve = resolve

    async def fetch(self, text: str, file: Path, *, max_bytes: int) -> int:
        """Write what a URL holds into a new file.

        Parameters
        ----------
        text
            The URL.
        file
            The file.
        max_bytes
            Longest content; what is longer is not read to its end.

        Returns
        -------
        int
            The size (byte).

        Raises
        ------
        FetchError
            If it may not be read, cannot be read, or is too long.
        OSError
            If the file cannot be written.
        """
        try:
            target = _read_url(text, self._section)
        except UsageError as error:
            # The configuration has changed since the job was created.
            raise FetchError(str(error)) from None
        shown = f"UPLOAD from {target.host}"
        try:
            async with asyncio.timeout(self._section.timeout):
                address = await self._find_address(target, shown)
                return await self._read(target, address, file, max_bytes=max_bytes, shown=shown)
        except TimeoutError:
            reason = f"took longer than {self._section.timeout:g} s"
            raise FetchError(f"{shown}: {reason}", is_transient=True) from None
        except httpx.HTTPError as error:
            raise FetchError(f"{shown}: {type(error).__name__}: {error}", is_transient=True) from None

    async def _find_address(self, target: _Target, shown: str) -> str:
        try:
            found = await self._resolve(target.host, target.port)
        except OSError as error:
            raise FetchError(f"{shown}: {error.strerror or error}", is_transient=True) from None
        if not found:
            raise FetchError(f"{shown}: it has no address", is_transient=True)
        # One address of several that lead inside is enough for an attack: all are looked at.
        if not target.is_internal and not all(is_public(address) for address in found):
            raise FetchError(f"{shown}: it is not a host of the public internet")
        return found[0]

    async def _read(self, target: _Target, address: str, file: Path, *, max_bytes: int, shown: str) -> int:
        context = await asyncio.to_thread(make_context, self._section)
        headers = {"Host": target.url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
        url = target.url.copy_with(host=address, fragment=None)
        async with (
            httpx.AsyncClient(
                verify=context, trust_env=False, follow_redirects=False, timeout=self._section.timeout
            ) as client,
            # The certificate has to be that of the name.
            client.stream("GET", url, headers=headers, extensions={"sni_hostname": target.host}) as answer,
        ):
            if answer.is_redirect:
                raise FetchError(f"{shown}: it leads elsewhere ({answer.status_code}); name the final URL")
            if answer.status_code != 200:
                is_transient = answer.status_code in _TRANSIENT
                raise FetchError(f"{shown}: HTTP status {answer.status_code}", is_transient=is_transient)
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise FetchError(f"{shown}: the content is compressed, which was not asked for")
            return await _write(answer, file, max_bytes=max_bytes, shown=shown)


async def _write(answer: httpx.Response, file: Path, *, max_bytes: int, shown: str) -> int:
    size = 0
    out = await asyncio.to_thread(file.open, "xb")
    try:
        async for chunk in answer.aiter_raw(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise FetchError(f"{shown}: it has more than {max_bytes} bytes")
            await asyncio.to_thread(out.write, chunk)
    finally:
        await asyncio.to_thread(out.close)
    return size
