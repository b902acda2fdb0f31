"""Large results come piece by piece, under the rules of hosts, credentials and limits."""

import pytest

from lsst.ts.ocps.client.credentials import Credentials
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendUnavailableError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend
from support.uws_server import Reply, Request, UwsServer, redirect, text

pytestmark = pytest.mark.asyncio


def backend_of(server: UwsServer, **settings: object) -> UwsBackend:
    made = UwsSettings.model_validate({"url": server.url, **settings})
    return UwsBackend("guarded", made, credentials=Credentials.bearer("planted-secret-token"))


class Pieces:
    """Takes what is downloaded."""

    def __init__(self) -> None:
        self.content: list[bytes] = []

    async def receive(self, piece: bytes) -> None:
        self.content.append(piece)


async def download(backend: UwsBackend, job_url: str, url: str | None, max_bytes: int = 10**8) -> list[bytes]:
    pieces = Pieces()
    await backend.download(job_url, "r", url, receive=pieces.receive, max_bytes=max_bytes, seconds=20)
    return pieces.content


async def test_a_large_result_comes_in_pieces(server: UwsServer) -> None:
    content = bytes(range(256)) * 20_000

    async def give(_: Request) -> Reply:
        return Reply(200, content, kind="application/fits")

    server.misbehave("GET", "/results/r", give, give)
    # Larger than any document may be: that limit is not meant for results.
    backend = backend_of(server, max_document=1000)
    job_url = f"{server.url}/sleep/async/1"
    pieces = await download(backend, job_url, None)
    assert b"".join(pieces) == content
    assert len(pieces) > 1
    assert max(len(piece) for piece in pieces) < len(content) / 2
    with pytest.raises(RequestRefusedError, match="larger than 5119999 bytes"):
        await download(backend, job_url, None, max_bytes=len(content) - 1)
    await backend.aclose()


async def test_downloads_obey_the_rules_of_hosts_and_credentials(server: UwsServer, store: UwsServer) -> None:
    backend = backend_of(server)
    job_url = f"{server.url}/sleep/async/1"
    with pytest.raises(RequestRefusedError, match="not among the result_hosts"):
        await download(backend, job_url, f"{store.url}/direct")
    server.misbehave("GET", "/results/r", redirect(f"{store.url}/signed"), redirect("/login"))
    with pytest.raises(RequestRefusedError, match="not among the result_hosts"):
        await download(backend, job_url, None)
    with pytest.raises(BackendAuthenticationError, match="login page"):
        await download(backend, job_url, None)
    with pytest.raises(RequestRefusedError, match="404"):
        await download(backend, job_url, "file:///etc/passwd")
    await backend.aclose()
    assert store.requests == []
    named = backend_of(server, result_hosts=[f"127.0.0.1:{store.port}"])
    store.misbehave("GET", "/direct", text("direct", "text/plain"))
    assert await download(named, job_url, f"{store.url}/direct") == [b"direct"]
    assert "authorization" not in store.requests[-1].headers
    await named.aclose()


async def test_a_page_that_asks_for_a_login_is_no_result(server: UwsServer) -> None:
    page = "<html><head><title>Sign in</title></head><body>...</body></html>"
    server.misbehave("GET", "/results/r", text(page, "text/html"))
    backend = backend_of(server)
    with pytest.raises(BackendAuthenticationError, match="Sign in"):
        await download(backend, f"{server.url}/sleep/async/1", None)
    await backend.aclose()


async def test_a_download_that_breaks_is_not_glued_together(server: UwsServer) -> None:
    content = bytes(3 * 1024 * 1024)

    async def cut(_: Request) -> Reply:
        return Reply(200, content, claimed=len(content) + 1, closes=True)

    server.misbehave("GET", "/results/r", cut)
    backend = backend_of(server)
    with pytest.raises(BackendUnavailableError, match="the connection broke"):
        await download(backend, f"{server.url}/sleep/async/1", None)
    await backend.aclose()
    assert len(server.requests) == 1


async def test_what_the_receiver_raises_reaches_the_caller(server: UwsServer) -> None:
    async def refuse(_: bytes) -> None:
        raise OSError("disk full")

    server.misbehave("GET", "/results/r", text("x", "text/plain"))
    backend = backend_of(server)
    with pytest.raises(OSError, match="disk full"):
        await backend.download(
            f"{server.url}/sleep/async/1", "r", None, receive=refuse, max_bytes=9, seconds=20
        )
    await backend.aclose()
