"""A schema registry over https: known by the authorities of ``SSL_CERT_FILE``, or not at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.errors import RegistryError, SettingsError
from lsst.ts.ocps.sal.registry import RegisteredSchema, create_registry
from lsst.ts.ocps.sal.settings import SalSettings
from support.certificates import TestAuthority
from support.serving import serving

pytestmark = pytest.mark.asyncio

TEXT = '{"type": "string"}'
BODY = b'{"id": 5, "schema": "{\\"type\\": \\"string\\"}"}'


def make_server_context(authority: TestAuthority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    return context


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 x\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + BODY)
    await writer.drain()


@asynccontextmanager
async def serve(authority: TestAuthority) -> AsyncIterator[int]:
    """The port of a registry that has the schema of every subject."""
    context = await asyncio.to_thread(make_server_context, authority)
    async with serving(answer, tls=context) as port:
        yield port


def read(url: str, ca: Path, timeout: float = 20.0) -> SalSettings:
    return SalSettings.from_environment(
        {
            "LSST_TOPIC_SUBNAME": "test",
            "LSST_SCHEMA_REGISTRY_URL": url,
            "SSL_CERT_FILE": str(ca),
            "OCPS_CONNECT_TIMEOUT": str(timeout),
        }
    )


async def ask(settings: SalSettings) -> RegisteredSchema | None:
    registry = create_registry(settings)
    try:
        return await registry.latest("x-value")
    finally:
        await registry.aclose()


async def test_a_registry_with_a_known_authority_answers(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    async with serve(authority) as port:
        found = await ask(read(f"https://127.0.0.1:{port}", authority.bundle))
    assert found == RegisteredSchema(5, TEXT)


async def test_an_unknown_authority_is_an_error_that_names_address_and_reason(tmp_path: Path) -> None:
    other = TestAuthority(tmp_path / "other")
    async with serve(TestAuthority(tmp_path / "one")) as port:
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(RegistryError, match=f"{url}.*certificate verify failed"):
            await ask(read(url, other.bundle, timeout=0.5))


async def test_a_wrong_host_name_is_an_error_that_names_address_and_reason(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    async with serve(authority) as port:
        url = f"https://localhost:{port}"
        with pytest.raises(RegistryError, match=f"{url}.*not valid for 'localhost'"):
            await ask(read(url, authority.bundle, timeout=0.5))


async def test_a_missing_or_broken_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE='.*none\.pem': No such file or directory"):
        await ask(read("https://127.0.0.1:1", tmp_path / "none.pem"))
    (tmp_path / "broken.pem").write_text("nothing", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE='.*broken\.pem': not a usable PEM file"):
        await ask(read("https://127.0.0.1:1", tmp_path / "broken.pem"))
