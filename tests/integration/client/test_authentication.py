"""Who we are and whom we believe, on servers with certificates of their own: every kind that speaks HTTP."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from lsst.ts.ocps.client.base import Backend, ShellJob, Submission
from lsst.ts.ocps.client.errors import BackendAuthenticationError, BackendError, BackendUnavailableError
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.csc.backends import to_stored_settings
from support.api_server_double import ApiServerDouble
from support.certificates import TestAuthority
from support.http_server import HttpServer, redirect
from support.uws_server import UwsServer

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("kind", ["uws", "api_server"])]

HOST = "127.0.0.1"
TOKEN = "planted-secret"
_ADAPTER: TypeAdapter[AnyBackendSettings] = TypeAdapter(AnyBackendSettings)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("authority"))


def make_server(kind: str, context: ssl.SSLContext | None) -> UwsServer | ApiServerDouble:
    return UwsServer(context) if kind == "uws" else ApiServerDouble(context)


@asynccontextmanager
async def serving(
    kind: str, authority: TestAuthority, *, host: str = HOST, wants_certificate: bool = False
) -> AsyncIterator[UwsServer | ApiServerDouble]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(host))
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.bundle)
    async with make_server(kind, context) as server:
        yield server


def root_of(server: HttpServer) -> str:
    return server.base if isinstance(server, ApiServerDouble) else server.url


def settings_of(kind: str, server: HttpServer, **values: Any) -> AnyBackendSettings:
    return _ADAPTER.validate_python({"kind": kind, "url": root_of(server), **values})


@asynccontextmanager
async def connected(kind: str, server: HttpServer, **values: Any) -> AsyncIterator[Backend]:
    backend = await open_backend("secure", settings_of(kind, server, **values))
    try:
        yield backend
    finally:
        await backend.aclose()


async def use(backend: Backend) -> None:
    """Read, write and delete."""
    await backend.probe()
    created = await backend.create(Submission("sleep", "r1", shell=ShellJob("run")))
    await backend.read(created.url)
    await backend.delete(created.url)


async def test_an_authority_of_the_site_is_believed(kind: str, authority: TestAuthority) -> None:
    async with serving(kind, authority) as server:
        async with connected(kind, server, tls={"ca_bundle": str(authority.bundle)}) as backend:
            await use(backend)
        async with connected(kind, server) as backend:
            with pytest.raises(
                BackendUnavailableError, match=r"back end secure: .*certificate verify failed"
            ):
                await backend.probe()
        assert len(server.requests) >= 4


async def test_another_authority_is_not_believed(kind: str, authority: TestAuthority, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path)
    async with (
        serving(kind, authority) as server,
        connected(kind, server, tls={"ca_bundle": str(other.bundle)}) as backend,
    ):
        with pytest.raises(BackendUnavailableError, match="certificate verify failed") as caught:
            await backend.create(Submission("sleep", "r1", shell=ShellJob("run")))
        # Nothing was said to a stranger.
        assert not caught.value.was_sent
        assert server.requests == []


async def test_a_client_certificate_lets_us_in(kind: str, authority: TestAuthority) -> None:
    certificate, key = authority.issue("ocps.example")
    tls = {"ca_bundle": str(authority.bundle), "certificate": str(certificate), "key": str(key)}
    async with serving(kind, authority, wants_certificate=True) as server:
        async with connected(kind, server, tls=tls) as backend:
            await use(backend)
        async with connected(kind, server, tls={"ca_bundle": str(authority.bundle)}) as backend:
            with pytest.raises(BackendError, match="back end secure: "):
                await backend.probe()


async def test_a_client_certificate_is_not_shown_to_other_hosts(kind: str, authority: TestAuthority) -> None:
    certificate, key = authority.issue("ocps.example")
    tls = {"ca_bundle": str(authority.bundle), "certificate": str(certificate), "key": str(key)}
    async with (
        serving(kind, authority) as own,
        serving(kind, authority, host="localhost", wants_certificate=True) as other,
    ):
        place = f"localhost:{other.port}"
        # The JSON dialect never leads to another host: a redirect there is not followed at all.
        extra = {"result_hosts": [place]} if kind == "uws" else {}
        words = f"GET https://{place}/result: " if kind == "uws" else "redirected to another host"
        async with connected(kind, own, tls=tls, **extra) as backend:
            created = await backend.create(Submission("sleep", "r1", shell=ShellJob("run")))
            own.habit = redirect(f"https://{place}/result")
            with pytest.raises(BackendError, match=words):
                await backend.fetch(created.url, "result.json", None, max_bytes=100)
        assert other.requests == []


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"kind": "bearer"}, f"Bearer {TOKEN}"),
        (
            {"kind": "basic", "user": "ocps"},
            f"Basic {base64.b64encode(f'ocps:{TOKEN}'.encode()).decode()}",
        ),
    ],
)
@pytest.mark.parametrize("place", ["file", "environment"])
async def test_a_secret_goes_with_every_request_and_nowhere_else(
    *,
    kind: str,
    credentials: dict[str, str],
    header: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("OCPS_TEST_SECRET", TOKEN)
    reference = {"file": str(file)} if place == "file" else {"environment": "OCPS_TEST_SECRET"}
    async with make_server(kind, None) as server, make_server(kind, None) as stranger:
        values = {"credentials": credentials | reference}
        assert TOKEN not in json.dumps(to_stored_settings("secure", settings_of(kind, server, **values)))
        async with connected(kind, server, **values) as backend:
            await use(backend)
            assert {request.headers["authorization"] for request in server.requests} == {header}
            server.habit = redirect(f"{stranger.url.replace(HOST, 'localhost')}/somewhere")
            with pytest.raises(BackendAuthenticationError, match="another host") as caught:
                await backend.probe()
            assert TOKEN not in str(caught.value)
        assert stranger.requests == []


@pytest.mark.parametrize("what", ["ca_bundle", "certificate", "key", "encrypted"])
async def test_a_file_that_cannot_be_used_is_named_before_anything_is_sent(
    kind: str, what: str, authority: TestAuthority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("ocps.example")
    tls = {"ca_bundle": str(authority.bundle), "certificate": str(certificate), "key": str(key)}
    if what == "encrypted":
        tls["key"] = str(authority.issue("locked.example", password="open sesame")[1])
    else:
        tls[what] = str(tmp_path / "absent.pem")
    async with serving(kind, authority) as server:
        with pytest.raises(BackendAuthenticationError, match="back end secure: tls: ") as caught:
            await open_backend("secure", settings_of(kind, server, tls=tls))
        assert tls["key" if what == "encrypted" else what] in str(caught.value)
        assert server.requests == []


async def test_tls_needs_https(kind: str, authority: TestAuthority) -> None:
    async with make_server(kind, None) as server:
        with pytest.raises(ValueError, match="the url is not https"):
            settings_of(kind, server, tls={"ca_bundle": str(authority.bundle)})
        with pytest.raises(ValueError, match="a key belongs to a certificate"):
            _ADAPTER.validate_python({"kind": kind, "url": "https://host", "tls": {"key": "k.pem"}})
