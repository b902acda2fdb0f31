"""Credentials, redirects, connections and limits of the HTTP side."""

import asyncio
import base64

import httpx
import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.credentials import Credentials
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.transport import HttpTransport
from lsst.ts.ocps.client.uws import UwsBackend
from support.uws_samples import make_response
from support.uws_server import Reply, Request, UwsServer, drop, redirect, status, text

pytestmark = pytest.mark.asyncio

TOKEN = "planted-secret-token"
JOB = "<job><jobId>1</jobId><phase>COMPLETED</phase><results><result id='r' href='{}'/></results></job>"


def deadline(seconds: float = 20) -> Deadline:
    return Deadline("test", seconds)


def backend_of(server: UwsServer, **settings: object) -> UwsBackend:
    credentials = Credentials.bearer(TOKEN)
    made = UwsSettings.model_validate({"url": server.url, **settings})
    return UwsBackend("guarded", made, credentials=credentials)


async def test_credentials_go_to_the_own_origin_with_every_request(server: UwsServer) -> None:
    backend = backend_of(server)
    url = f"{server.url}/sleep/async/1"
    for call in (backend.read(url), backend.start(url), backend.delete(url), backend.probe()):
        try:
            await call
        except BackendError as error:
            assert error.status == 404  # noqa: PT017 (the answers do not matter here)
    await backend.aclose()
    assert len(server.requests) == 5
    assert {request.headers.get("authorization") for request in server.requests} == {f"Bearer {TOKEN}"}


async def test_credentials_never_leave_the_own_origin(server: UwsServer, store: UwsServer) -> None:
    backend = backend_of(server, result_hosts=[f"127.0.0.1:{store.port}"])
    job_url = f"{server.url}/sleep/async/1"
    store.misbehave("GET", "/direct", text("direct", "text/plain"))
    store.misbehave("GET", "/signed", text("signed", "text/plain"))
    server.misbehave("GET", "/results/r", redirect(f"{store.url}/signed?key=abc"))

    assert await backend.fetch(job_url, "r", f"{store.url}/direct", max_bytes=100) == b"direct"
    assert await backend.fetch(job_url, "r", None, max_bytes=100) == b"signed"
    await backend.aclose()

    assert [request.path for request in store.requests] == ["/direct", "/signed"]
    assert store.requests[1].query == {"key": "abc"}
    assert all("authorization" not in request.headers for request in store.requests)
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_results_are_not_read_from_hosts_that_nobody_named(server: UwsServer, store: UwsServer) -> None:
    backend = backend_of(server)
    job_url = f"{server.url}/sleep/async/1"
    with pytest.raises(RequestRefusedError, match="not among the result_hosts"):
        await backend.fetch(job_url, "r", f"{store.url}/direct", max_bytes=100)
    server.misbehave("GET", "/results/r", redirect(f"{store.url}/signed"))
    with pytest.raises(RequestRefusedError, match="not among the result_hosts"):
        await backend.fetch(job_url, "r", None, max_bytes=100)
    with pytest.raises(RequestRefusedError, match="404"):
        await backend.fetch(job_url, "r", "file:///etc/passwd", max_bytes=100)
    await backend.aclose()
    assert store.requests == []


@pytest.mark.parametrize("code", [403, 404, 410])
async def test_a_dead_link_of_a_result_leads_to_the_job_itself(server: UwsServer, code: int) -> None:
    backend = backend_of(server)
    server.misbehave("GET", "/elsewhere", status(code))
    server.misbehave("GET", "/results/a%20b%2Fc", text("found", "text/plain"))
    data = await backend.fetch(
        f"{server.url}/sleep/async/1", "a b/c", f"{server.url}/elsewhere", max_bytes=100
    )
    assert data == b"found"
    await backend.aclose()


async def test_a_login_page_behind_a_result_is_recognised(server: UwsServer) -> None:
    backend = backend_of(server)
    server.misbehave("GET", "/results/r", redirect("/login"))
    with pytest.raises(BackendAuthenticationError, match="login page"):
        await backend.fetch(f"{server.url}/sleep/async/1", "r", None, max_bytes=100)
    await backend.aclose()


async def test_redirects_within_the_origin_are_followed_when_reading(server: UwsServer) -> None:
    backend = backend_of(server)
    server.misbehave("GET", "/async/1", redirect("/real/1", 301))
    server.misbehave("GET", "/real/1", redirect("1/", 307))
    server.misbehave("GET", "/real/1/", text(JOB.format("out.fits")))
    job = await backend.read(f"{server.url}/sleep/async/1/?PHASE=RUN")
    assert job.results[0].url == f"{server.url}/real/1/out.fits"
    assert server.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    await backend.aclose()


async def test_secrets_of_a_server_that_echoes_them_are_hidden(server: UwsServer) -> None:
    async def echo(request: Request) -> Reply:
        said = f"bad header {request.headers['authorization']} {'x' * 150} {TOKEN}"
        return Reply(500, said.encode(), kind="text/plain")

    server.misbehave("GET", "/async/1", echo)
    backend = backend_of(server)
    with pytest.raises(BackendFailedError, match=r"bad header Bearer \[hidden\]") as caught:
        await backend.read(f"{server.url}/sleep/async/1")
    await backend.aclose()
    assert TOKEN[:10] not in str(caught.value)
    assert TOKEN not in repr(vars(backend))


async def test_users_and_queries_in_urls_stay_out_of_messages(server: UwsServer) -> None:
    backend = backend_of(server)
    with pytest.raises(BackendError) as caught:
        await backend.fetch(
            f"{server.url}/a", "r", f"http://me:pw@127.0.0.1:{server.port}/x?sig=abc", max_bytes=9
        )
    assert "pw" not in str(caught.value)
    assert "sig" not in str(caught.value)
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"  # and not that of the link
    await backend.aclose()


async def test_no_cookie_is_kept(server: UwsServer) -> None:
    async def give(_: Request) -> Reply:
        return Reply(404, headers=(("Set-Cookie", "session=abc; Path=/"),))

    server.misbehave("GET", "/async/1", give)
    backend = backend_of(server)
    for _ in range(2):
        with pytest.raises(BackendError):
            await backend.read(f"{server.url}/sleep/async/1")
    assert len(server.requests) == 2
    assert all("cookie" not in request.headers for request in server.requests)
    await backend.aclose()


async def test_creating_and_reading_use_one_connection(server: UwsServer) -> None:
    from support.uws_bench import ServerBench  # noqa: PLC0415 (needed here only)

    bench = ServerBench(server)
    for _ in range(5):
        await bench.create()
    assert server.connections == 1
    assert len(server.requests) == 10
    await bench.backend.aclose()


async def test_waiting_has_connections_of_its_own(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials(), max_connections=2)
    release = asyncio.Event()

    async def hold(_: Request) -> None:
        await release.wait()

    server.misbehave("GET", "/held", hold, hold)
    held = [
        asyncio.create_task(transport.get(f"{server.url}/held", deadline=deadline(), blocks=True))
        for _ in range(2)
    ]
    await server.received(2)
    async with asyncio.timeout(10):
        assert (await transport.get(f"{server.url}/free", deadline=deadline())).status == 404
    release.set()
    await asyncio.gather(*held)
    await transport.aclose()


async def test_a_busy_pool_is_no_reason_to_wait_for_ever(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials(), max_connections=1)
    release = asyncio.Event()

    async def hold(_: Request) -> None:
        await release.wait()

    server.misbehave("GET", "/held", hold)
    held = asyncio.create_task(transport.get(f"{server.url}/held", deadline=deadline()))
    await server.received(1)
    with pytest.raises(BackendUnavailableError, match=r"no answer in 0\.2 s"):
        await transport.get(f"{server.url}/free", deadline=deadline(0.2))
    release.set()
    await held
    assert (await transport.get(f"{server.url}/free", deadline=deadline())).status == 404
    await transport.aclose()


async def test_a_change_is_never_sent_twice(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    server.misbehave("POST", "/x", drop())
    server.misbehave("DELETE", "/x", drop())
    for method in ("POST", "DELETE"):
        with pytest.raises(BackendUnavailableError, match="connection broke"):
            await transport.change(method, f"{server.url}/x", deadline=deadline())
        assert len(server.sent(method)) == 1
    await transport.aclose()


async def test_a_stale_connection_does_not_fail_a_read(server: UwsServer) -> None:
    async def last(_: Request) -> Reply:
        return Reply(200, b"ok", closes=True)

    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    server.misbehave("GET", "/x", last, last)
    for _ in range(3):
        answer = await transport.get(f"{server.url}/x", deadline=deadline())
    assert answer.status == 404
    await transport.aclose()


@pytest.mark.parametrize(
    ("root", "given", "asked"),
    [
        ("https://host/svc", "http://host/jobs/1", "https://host/jobs/1"),
        ("https://host/svc", "http://host:80/jobs/1", "https://host/jobs/1"),
        ("https://host:8443/svc", "http://host/jobs/1?a=b#c", "https://host:8443/jobs/1?a=b"),
        ("https://host/svc", "http://other/jobs/1", "http://other/jobs/1"),
        ("http://host/svc", "http://host/jobs/1", "http://host/jobs/1"),
        ("http://host/svc", "https://host/jobs/1", "https://host/jobs/1"),
        ("http://host/svc", "http://user:pw@HOST:80/jobs/1", "http://host/jobs/1"),
        ("http://[::1]:8080/svc", "http://[::1]:8080/jobs/1", "http://[::1]:8080/jobs/1"),
    ],
)
async def test_a_service_behind_tls_keeps_its_scheme(root: str, given: str, asked: str) -> None:
    transport = HttpTransport("x", root=root, credentials=Credentials())
    assert transport.own_url(given) == asked
    await transport.aclose()


@pytest.mark.parametrize(
    "url", ["http://[broken/x", "http://host:port/x", "", "/x", "ftp://host/x", "http:///x"]
)
async def test_a_url_that_is_none(url: str) -> None:
    transport = HttpTransport("x", root="http://host", credentials=Credentials())
    with pytest.raises(BackendFailedError, match="is no http URL"):
        await transport.get(url, deadline=deadline())
    await transport.aclose()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (httpx.ConnectTimeout(""), BackendUnavailableError, "no connection in 5 s"),
        (httpx.ConnectError("refused"), BackendUnavailableError, "no connection: refused"),
        (httpx.ReadError(""), BackendUnavailableError, "connection broke: ReadError"),
        (httpx.WriteError("reset"), BackendUnavailableError, "connection broke: reset"),
        (httpx.RemoteProtocolError("no HTTP"), BackendUnavailableError, "connection broke: no HTTP"),
        (httpx.ReadTimeout("slow"), BackendUnavailableError, "slow"),
        (httpx.PoolTimeout(""), BackendUnavailableError, "PoolTimeout"),
        (httpx.ProxyError("proxy"), BackendUnavailableError, "proxy"),
        (httpx.DecodingError("gzip"), BackendFailedError, "went wrong: gzip"),
        (httpx.LocalProtocolError("header"), BackendFailedError, "went wrong: header"),
        (httpx.UnsupportedProtocol("ftp"), BackendFailedError, "went wrong: ftp"),
        (httpx.TooManyRedirects("many"), BackendFailedError, "went wrong: many"),
        (httpx.InvalidURL("bad"), BackendFailedError, "no valid URL: bad"),
    ],
)
async def test_every_failure_of_http_is_one_of_ours(
    error: Exception, kind: type[BackendError], words: str
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    http = httpx.MockTransport(fail)
    transport = HttpTransport("x", root="http://host", credentials=Credentials(), http=http)
    with pytest.raises(BackendError, match=f"back end x: GET http://host/y: .*{words}") as caught:
        await transport.get("http://host/y", deadline=deadline())
    assert type(caught.value) is kind
    await transport.aclose()


async def test_basic_credentials_are_sent_as_such(server: UwsServer) -> None:
    transport = HttpTransport("x", root=server.url, credentials=Credentials.basic("me", "p:w"))
    await transport.get(f"{server.url}/x", deadline=deadline())
    kind, _, encoded = server.requests[0].headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(encoded)) == ("Basic", b"me:p:w")
    await transport.aclose()


async def test_surroundings_give_no_proxy_and_no_login(
    server: UwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    transport = HttpTransport("x", root=server.url, credentials=Credentials())
    assert (await transport.get(f"{server.url}/x", deadline=deadline())).status == 404
    await transport.aclose()


async def test_what_the_system_says_of_a_failed_connection_is_told(server: UwsServer) -> None:
    for root, words in (
        ("http://127.0.0.1:1", "no connection: Connection refused"),
        (f"https://127.0.0.1:{server.port}", "no connection: .*(SSL|TLS|version|record)"),
    ):
        transport = HttpTransport("x", root=root, credentials=Credentials())
        with pytest.raises(BackendUnavailableError, match=words):
            await transport.get(f"{root}/x", deadline=deadline())
        await transport.aclose()


async def test_a_service_behind_a_tls_proxy_is_spoken_to_by_tls_only() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url}")
        if request.method == "POST":
            return make_response(303, headers=[("Location", "http://host/inner/async/1?PHASE=RUN#x")])
        return make_response(200, JOB.format("http://host/files/1").encode())

    settings = UwsSettings(url="https://host/svc")
    backend = UwsBackend(
        "x", settings, credentials=Credentials.bearer(TOKEN), http=httpx.MockTransport(answer)
    )
    created = await backend.create(Submission("sleep", "run"))
    assert created.url == "https://host/inner/async/1"
    await backend.start(created.url)
    assert (await backend.fetch(created.url, "r", created.job.results[0].url, max_bytes=1000))[:5] == b"<job>"
    assert asked == [
        "POST https://host/svc/sleep/async",
        "GET https://host/inner/async/1",
        "POST https://host/inner/async/1/phase",
        "GET https://host/files/1",
    ]
    await backend.aclose()
