"""Reading URLs of clients: where the service does not let itself be led."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lsst.ts.ocps.service.addresses import is_public
from lsst.ts.ocps.service.errors import FetchError, UsageError
from lsst.ts.ocps.service.fetching import Fetcher, check_url
from lsst.ts.ocps.service.sections import UploadsSection
from support.certificates import TestAuthority
from support.file_server import FileServer
from support.http_server import Reply

CONTENT = b"content\n" * 1000


def reply(body: bytes = CONTENT, status: int = 200, *headers: tuple[str, str], **values: Any) -> Reply:
    return Reply(status, body, headers, closes=True, **values)


def section(port: int, *, internal: bool = True, **values: object) -> UploadsSection:
    host = f"data.example:{port}"
    given = {"schemes": ["http"], "hosts": [host], "internal_hosts": [host] if internal else []}
    return UploadsSection.model_validate(given | values)


class Resolver:
    """Tells addresses, others each time if there are several lists."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def fetch(
    server: FileServer, file: Path, settings: UploadsSection, resolver: Resolver, *, max_bytes: int = 10**6
) -> int:
    url = f"http://data.example:{server.port}/a/b.fits?x=1#part"
    return await Fetcher(settings, resolver).fetch(url, file, max_bytes=max_bytes)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104 (refused)
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::"),
        *("::127.0.0.1", "", "localhost", "127.1", "0x7f.1", "2130706433"),
    ],
)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "193.40.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_world_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://data.example/a", "'ftp' URLs"),
        ("http://data.example/a", "'http' URLs"),
        ("file:///etc/passwd", "'file' URLs"),
        ("gopher://data.example/", "'gopher' URLs"),
        ("vos://data.example/a", "'vos' URLs"),
        ("//data.example/a", "'' URLs"),
        ("https://data.example:8443/a", "nothing is read"),
        ("https://data.example.evil.example/", "nothing is read"),
        ("https://evil.example/?data.example", "nothing is read"),
        ("https://evil.example#data.example", "nothing is read"),
        ("https://127.0.0.1/", "nothing is read"),
        ("https://[::1]/", "nothing is read"),
        ("https://2130706433/", "nothing is read"),
        ("https://user:secret@data.example/", "user or password"),
        ("https://data.example@evil.example/", "user or password"),
        ("https://data.example\\@evil.example/", "UPLOAD"),
        ("https://data.example/\r\nX-Evil: 1", "printable"),
        ("https://data.example/\x00", "printable"),
        ("https://d\u0430ta.example/", "printable"),
        ("https://data.example/" + "x" * 2000, "up to 2000"),
        ("https://[/", "UPLOAD"),
        ("", "'' URLs"),
    ],
)
def test_urls_of_other_places_are_refused_at_once(url: str, words: str) -> None:
    settings = UploadsSection.model_validate({"hosts": ["data.example", "other.example:444"]})
    with pytest.raises(UsageError, match=words) as caught:
        check_url(url, settings)
    assert str(caught.value).startswith("UPLOAD: ")
    assert "secret" not in str(caught.value)


def test_urls_of_allowed_places_are_taken() -> None:
    settings = UploadsSection.model_validate({"hosts": ["data.example", "other.example:444"]})
    for url in (
        "https://data.example/a?b=c",
        "https://DATA.example:443/a",
        "https://data.example./a",
        "https://other.example:444/",
    ):
        check_url(url, settings)


def test_no_url_is_read_unless_hosts_are_named() -> None:
    with pytest.raises(UsageError, match="reads no URLs"):
        check_url("https://data.example/a", UploadsSection())


@pytest.mark.parametrize(
    "values",
    [
        {"schemes": ["ftp"]},
        {"schemes": ["file"]},
        {"hosts": ["https://data.example"]},
        {"hosts": ["Data.example"]},
        {"hosts": ["*"]},
        {"hosts": ["*.example"]},
        {"internal_hosts": ["data.example"]},
        {"max_bytes": 0},
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        UploadsSection.model_validate(values)


@pytest.mark.asyncio
class TestFetcher:
    async def test_the_content_is_written(self, tmp_path: Path) -> None:
        resolver = Resolver(["127.0.0.1"])
        async with FileServer(reply()) as server:
            size = await fetch(server, tmp_path / "a", section(server.port), resolver)
        assert size == len(CONTENT)
        assert (tmp_path / "a").read_bytes() == CONTENT
        request = server.requests[0]
        assert (request.method, request.path, request.query) == ("GET", "/a/b.fits", {"x": "1"})
        assert request.headers["host"] == f"data.example:{server.port}"
        assert "authorization" not in request.headers

    async def test_a_name_that_leads_inside_is_not_followed(self, tmp_path: Path) -> None:
        async with FileServer(reply()) as server:
            for addresses in (
                ["127.0.0.1"],
                ["1.1.1.1", "127.0.0.1"],
                ["::1"],
                ["::ffff:127.0.0.1"],
                ["169.254.169.254"],
            ):
                with pytest.raises(FetchError, match="not a host of the public internet") as caught:
                    await fetch(
                        server, tmp_path / "a", section(server.port, internal=False), Resolver(addresses)
                    )
                assert not caught.value.is_transient
        assert server.requests == []
        assert not (tmp_path / "a").exists()

    async def test_what_may_be_inside_is_one_port_of_a_host(self, tmp_path: Path) -> None:
        async with FileServer(reply()) as server, FileServer(reply()) as other:
            hosts = [f"data.example:{each.port}" for each in (server, other)]
            settings = section(other.port, hosts=hosts)
            with pytest.raises(FetchError, match="not a host of the public internet"):
                await fetch(server, tmp_path / "a", settings, Resolver(["127.0.0.1"]))
            assert await fetch(other, tmp_path / "a", settings, Resolver(["127.0.0.1"])) == len(CONTENT)
        assert server.requests == []

    async def test_proxies_of_the_environment_are_not_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They resolve the name once more, and may lead anywhere."""
        async with FileServer(reply(b"theirs")) as proxy, FileServer(reply()) as server:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            size = await fetch(server, tmp_path / "a", section(server.port), Resolver(["127.0.0.1"]))
        assert size == len(CONTENT)
        assert proxy.requests == []

    async def test_the_name_is_asked_for_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second answer, for the connection, could lead elsewhere: there is no second question."""
        # What counts as public here is the server of this test; what is asked later is not.
        monkeypatch.setattr("lsst.ts.ocps.service.fetching.is_public", lambda address: address == "127.0.0.1")
        resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
        async with FileServer(reply()) as server:
            settings = section(server.port, internal=False)
            assert await fetch(server, tmp_path / "a", settings, resolver) == len(CONTENT)
        assert resolver.asked == ["data.example"]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_not_followed(self, tmp_path: Path, status: int) -> None:
        async with FileServer(reply()) as inside:
            location = ("Location", f"http://127.0.0.1:{inside.port}/secret")
            async with FileServer(reply(b"", status, location)) as server:
                with pytest.raises(FetchError, match="leads elsewhere"):
                    await fetch(server, tmp_path / "a", section(server.port), Resolver(["127.0.0.1"]))
            assert inside.requests == []

    async def test_no_more_is_read_than_allowed(self, tmp_path: Path) -> None:
        async with FileServer(reply()) as server:
            with pytest.raises(FetchError, match="more than 100 bytes"):
                await fetch(
                    server, tmp_path / "a", section(server.port), Resolver(["127.0.0.1"]), max_bytes=100
                )

    @pytest.mark.parametrize(
        ("answer", "words", "is_transient"),
        [
            (reply(b"", 404), "HTTP status 404", False),
            (reply(b"", 503), "HTTP status 503", True),
            (reply(b"\x1f\x8b", 200, ("Content-Encoding", "gzip")), "compressed", False),
            (reply(status=0), "RemoteProtocolError", True),
            (reply(b"short", claimed=100), "RemoteProtocolError", True),
        ],
    )
    async def test_what_goes_wrong_is_told(
        self, tmp_path: Path, answer: Reply, words: str, *, is_transient: bool
    ) -> None:
        async with FileServer(answer) as server:
            with pytest.raises(FetchError, match=f"^UPLOAD from data.example: .*{words}") as caught:
                await fetch(server, tmp_path / "a", section(server.port), Resolver(["127.0.0.1"]))
        assert caught.value.is_transient == is_transient

    async def test_there_is_a_deadline(self, tmp_path: Path) -> None:
        async with FileServer(reply()) as server:
            server.delay = 60
            settings = section(server.port, timeout=0.2)
            with pytest.raises(FetchError, match=r"took longer than 0\.2 s|Timeout") as caught:
                await fetch(server, tmp_path / "a", settings, Resolver(["127.0.0.1"]))
        assert caught.value.is_transient

    async def test_a_host_that_does_not_exist_is_told(self, tmp_path: Path) -> None:
        async def resolve(host: str, port: int) -> Sequence[str]:
            raise OSError(-2, "Name or service not known")

        fetcher = Fetcher(section(80), resolve)
        with pytest.raises(FetchError, match="Name or service not known"):
            await fetcher.fetch("http://data.example:80/", tmp_path / "a", max_bytes=10)

    @pytest.mark.parametrize("is_configured", [False, True])
    async def test_the_certificate_has_to_be_that_of_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_configured: bool
    ) -> None:
        authority = TestAuthority(tmp_path)
        values: dict[str, Any] = {"ca_bundle": authority.bundle} if is_configured else {}
        if not is_configured:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        for name, is_right in (("data.example", True), ("127.0.0.1", False), ("other.example", False)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue(name))
            async with FileServer(reply(), context) as server:
                settings = section(server.port, schemes=["https"], **values)
                fetcher = Fetcher(settings, Resolver(["127.0.0.1"]))
                file, url = tmp_path / name, f"https://data.example:{server.port}/"
                if is_right:
                    await fetcher.fetch(url, file, max_bytes=10**6)
                    assert file.read_bytes() == CONTENT
                    continue
                with pytest.raises(FetchError, match="certificate verify failed"):
                    await fetcher.fetch(url, file, max_bytes=10**6)
                assert server.requests == []

    async def test_other_authorities_than_those_named_are_not_believed(self, tmp_path: Path) -> None:
        ours, theirs = [TestAuthority(tmp_path / name) for name in ("ours", "theirs")]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*theirs.issue("data.example"))
        async with FileServer(reply(), context) as server:
            settings = section(server.port, schemes=["https"], ca_bundle=ours.bundle)
            fetcher = Fetcher(settings, Resolver(["127.0.0.1"]))
            with pytest.raises(FetchError, match="certificate verify failed"):
                await fetcher.fetch(f"https://data.example:{server.port}/", tmp_path / "a", max_bytes=10)
