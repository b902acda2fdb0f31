"""Who is let in: each way to know who asks, how often they may, and from which web site."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers

from lsst.ts.ocps.service.access import open_access
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.errors import AuthenticationError, AuthorizationError, RequestError, TooManyError
from lsst.ts.ocps.service.gate import Gate
from lsst.ts.ocps.service.owners import ANYBODY, NOBODY, Caller
from lsst.ts.ocps.service.sections import AccessSection, LimitsSection, ProxyAccess
from support.owners import write_tokens
from support.service_process import make_config

pytestmark = pytest.mark.asyncio

PROXY = {"mode": "proxy", "networks": ["10.1.0.0/16", "fd00::/8"], "operators": ["night"]}
_SECTION: TypeAdapter[AccessSection] = TypeAdapter(AccessSection)


async def make_gate(section: dict[str, Any], *, public_host: str | None = None, **limits: Any) -> Gate:
    access = await open_access(_SECTION.validate_python(section))
    return Gate(access, LimitsSection(**limits), public_host=public_host)


def ask(
    gate: Gate, path: str = "/jobs", *, method: str = "GET", peer: str = "192.0.2.7", **headers: str
) -> Caller:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gate.admit(method, path, Headers(named), peer)


class TestAnonymous:
    async def test_everybody_is_let_in(self) -> None:
        gate = await make_gate({"mode": "anonymous"})
        assert ask(gate) is ANYBODY
        assert ask(gate, authorization="Basic Og==") is ANYBODY
        assert ask(gate, authorization="Bearer whatever") is ANYBODY

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    async def test_the_loopback_may_be_listened_on(self, tmp_path: Path, host: str) -> None:
        assert make_config(tmp_path, {}, host=host).host == host

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "uws.example"])  # noqa: S104 (refused)
    async def test_another_address_has_to_be_allowed(self, tmp_path: Path, host: str) -> None:
        with pytest.raises(ValidationError) as caught:
            make_config(tmp_path, {}, host=host)
        for words in (f"host '{host}'", "access.mode 'anonymous'", "access.allow_network"):
            assert words in str(caught.value)
        allowed = {"mode": "anonymous", "allow_network": True}
        assert make_config(tmp_path, {}, host=host, access=allowed).host == host
        write_tokens(tmp_path / "tokens", "alice")
        known = {"mode": "tokens", "file": tmp_path / "tokens"}
        assert make_config(tmp_path, {}, host=host, access=known).host == host


class TestNames:
    """A name of somebody else that leads here comes from their pages: nobody is let in by it."""

    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "localhost:8080", "LOCALHOST.:8080", "127.0.0.1:8080", "[::1]:8080", "192.0.2.7"),
            *("uws.example", "UWS.example:81", "portal.example", "desk.example:8080"),
        ],
    )
    async def test_known_names_and_addresses_are_answered(self, tmp_path: Path, host: str) -> None:
        gate = await self.make_gate(tmp_path)
        assert ask(gate, host=host) is ANYBODY

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[x"],
    )
    @pytest.mark.parametrize("path", ["/", "/jobs", "/work/async"])
    async def test_other_names_are_refused(self, tmp_path: Path, host: str, path: str) -> None:
        gate = await self.make_gate(tmp_path)
        with pytest.raises(AuthorizationError, match=r"access\.hosts"):
            ask(gate, path, host=host)

    async def test_no_name_is_hidden_behind_another_one(self, tmp_path: Path) -> None:
        gate = await self.make_gate(tmp_path)
        raw = [(b"host", b"localhost"), (b"host", b"evil.example")]
        with pytest.raises(AuthorizationError):
            gate.admit("GET", "/jobs", Headers(raw=raw), "127.0.0.1")

    async def test_probes_without_a_name_are_answered(self, tmp_path: Path) -> None:
        assert ask(await self.make_gate(tmp_path)) is ANYBODY

    async def test_whoever_says_who_they_are_may_use_any_name(self, tmp_path: Path) -> None:
        assert make_config(tmp_path, {}, access=PROXY).known_hosts is None

    @pytest.mark.parametrize("name", ["UWS.example", "uws.example:80", "http://uws.example", ""])
    async def test_what_is_no_name_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValidationError, match="hosts"):
            make_config(tmp_path, {}, access={"mode": "anonymous", "hosts": [name]})

    @staticmethod
    async def make_gate(directory: Path) -> Gate:
        config = make_config(
            directory,
            {},
            host="desk.example",
            public_url="https://portal.example:444/uws",
            access={"mode": "anonymous", "allow_network": True, "hosts": ["uws.example"]},
        )
        access = await open_access(config.access)
        return Gate(access, config.limits, known_hosts=config.known_hosts)


class TestTokens:
    @pytest.fixture
    def secrets(self, tmp_path: Path) -> dict[str, str]:
        return write_tokens(tmp_path / "tokens", "alice", operators=("night",))

    @pytest.fixture
    def section(self, tmp_path: Path, secrets: dict[str, str]) -> dict[str, Any]:
        assert secrets
        return {"mode": "tokens", "file": tmp_path / "tokens"}

    async def test_the_token_tells_who_asks(self, section: dict[str, Any], secrets: dict[str, str]) -> None:
        gate = await make_gate(section)
        assert ask(gate, authorization=f"Bearer {secrets['alice']}") == Caller("alice")
        assert ask(gate, authorization=f"bearer  {secrets['night']} ") == Caller("night", sees_all=True)

    @pytest.mark.parametrize("value", [None, "", "Basic Og==", "Bearer", "Bearer  "])
    async def test_without_a_token_one_is_asked_for(self, section: dict[str, Any], value: str | None) -> None:
        gate = await make_gate(section)
        with pytest.raises(AuthenticationError) as caught:
            ask(gate, **({} if value is None else {"authorization": value}))
        assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="OCPS jobs"'}

    async def test_a_wrong_token_is_told_so_and_not_shown(self, section: dict[str, Any]) -> None:
        gate = await make_gate(section)
        with pytest.raises(AuthenticationError) as caught:
            ask(gate, authorization="Bearer planted-secret")
        assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]
        assert "planted" not in str(caught.value)

    async def test_two_tokens_are_none(self, section: dict[str, Any], secrets: dict[str, str]) -> None:
        gate = await make_gate(section)
        raw = [(b"authorization", f"Bearer {secret}".encode()) for secret in secrets.values()]
        with pytest.raises(AuthenticationError):
            gate.admit("GET", "/jobs", Headers(raw=raw), "192.0.2.7")

    async def test_guessing_is_stopped_for_the_address(
        self, section: dict[str, Any], secrets: dict[str, str]
    ) -> None:
        gate = await make_gate(section, failures_per_minute=3)
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                ask(gate, authorization="Bearer guess")
        # Not even the right one is looked at, else guessing could go on.
        with pytest.raises(TooManyError) as caught:
            ask(gate, authorization=f"Bearer {secrets['alice']}")
        assert 0 < int(caught.value.headers["Retry-After"]) <= 20
        right = f"Bearer {secrets['alice']}"
        assert ask(gate, authorization=right, peer="192.0.2.8") == Caller("alice")
        # Asking without credentials is no guess.
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                ask(gate, peer="192.0.2.8")
        assert ask(gate, authorization=right, peer="192.0.2.8") == Caller("alice")

    async def test_a_network_of_ipv6_is_one_guesser(self, section: dict[str, Any]) -> None:
        gate = await make_gate(section, failures_per_minute=1)
        with pytest.raises(AuthenticationError):
            ask(gate, authorization="Bearer guess", peer="2001:db8::1")
        with pytest.raises(TooManyError):
            ask(gate, authorization="Bearer guess", peer="2001:db8::2")
        with pytest.raises(AuthenticationError):
            ask(gate, authorization="Bearer guess", peer="2001:db8:0:1::1")

    async def test_ipv4_clients_of_a_socket_for_both_kinds_are_no_network(
        self, section: dict[str, Any]
    ) -> None:
        gate = await make_gate(section, failures_per_minute=1)
        for peer, told in (
            ("::ffff:192.0.2.1", AuthenticationError),
            ("192.0.2.1", TooManyError),
            ("::ffff:192.0.2.2", AuthenticationError),
        ):
            with pytest.raises(told):
                ask(gate, authorization="Bearer guess", peer=peer)

    async def test_clients_behind_a_known_proxy_are_told_apart(self, section: dict[str, Any]) -> None:
        gate = await make_gate({**section, "forwarders": ["10.0.0.0/8"]}, failures_per_minute=1)

        def guess(forwarded: str, peer: str = "10.0.0.1") -> type[RequestError]:
            with pytest.raises(RequestError) as caught:
                ask(gate, authorization="Bearer guess", peer=peer, x_forwarded_for=forwarded)
            return caught.type

        assert guess("198.51.100.1") is AuthenticationError
        # What the client itself has written before its address does not help it.
        assert guess("1.2.3.4, 198.51.100.1, 10.0.0.2") is TooManyError
        assert guess("198.51.100.2") is AuthenticationError
        # Nobody else is believed.
        assert guess("198.51.100.3", peer="203.0.113.1") is AuthenticationError
        assert guess("198.51.100.4", peer="203.0.113.1") is TooManyError
        assert guess("nonsense") is AuthenticationError
        assert guess("other nonsense") is TooManyError

    @pytest.mark.parametrize("path", ["/", "/availability", "/capabilities", "/docs", "/openapi.json"])
    async def test_what_everybody_may_read_tells_nothing_of_tokens(
        self, section: dict[str, Any], secrets: dict[str, str], path: str
    ) -> None:
        gate = await make_gate(section, failures_per_minute=1)
        for value in ("Bearer guess", f"Bearer {secrets['alice']}"):
            assert ask(gate, path, authorization=value) is NOBODY
        with pytest.raises(AuthenticationError):
            ask(gate, path, method="POST")


class TestProxy:
    async def test_the_proxy_tells_who_asks(self) -> None:
        gate = await make_gate(PROXY)
        for peer in ("10.1.2.3", "fd00::1", "::ffff:10.1.2.3"):
            assert ask(gate, peer=peer, x_auth_request_user="alice") == Caller("alice")
        assert ask(gate, peer="10.1.2.3", x_auth_request_user="night") == Caller("night", sees_all=True)

    async def test_nobody_else_is_believed(self) -> None:
        gate = await make_gate(PROXY)
        for peer in ("10.2.0.1", "127.0.0.1", "", "::1"):
            with pytest.raises(AuthorizationError, match="proxy only"):
                ask(gate, peer=peer, x_auth_request_user="alice", x_forwarded_for="10.1.2.3")

    @pytest.mark.parametrize("user", ["", " ", "al ice", "a\tb", "a" * 129, "\xe9"])
    async def test_what_is_no_user_is_refused(self, user: str) -> None:
        gate = await make_gate(PROXY)
        with pytest.raises(AuthenticationError):
            ask(gate, peer="10.1.2.3", x_auth_request_user=user)

    async def test_two_users_are_none(self) -> None:
        gate = await make_gate(PROXY)
        raw = [(b"x-auth-request-user", b"alice"), (b"x-auth-request-user", b"night")]
        with pytest.raises(AuthenticationError, match="2 users"):
            gate.admit("GET", "/jobs", Headers(raw=raw), "10.1.2.3")

    async def test_clients_of_public_pages_are_told_apart(self) -> None:
        gate = await make_gate(
            {**PROXY, "forwarders": ["192.0.2.0/24"]}, requests_per_second=0.1, request_burst=1
        )

        def read(forwarded: str) -> Caller:
            return ask(gate, "/capabilities", peer="10.1.0.1", x_forwarded_for=forwarded)

        assert read("198.51.100.1") is NOBODY
        with pytest.raises(TooManyError):
            read("1.2.3.4, 198.51.100.1")
        with pytest.raises(TooManyError):
            read("198.51.100.1, 192.0.2.7, 10.1.0.2")
        # Nobody else has to wait for that one.
        assert read("198.51.100.2") is NOBODY
        # What others write into the header does not make them somebody else.
        assert ask(gate, "/capabilities", peer="203.0.113.1", x_forwarded_for="198.51.100.3") is NOBODY
        with pytest.raises(TooManyError):
            ask(gate, "/capabilities", peer="203.0.113.1", x_forwarded_for="198.51.100.4")

    async def test_figures_can_be_read_past_the_proxy(self) -> None:
        gate = await make_gate({**PROXY, "metrics_networks": ["10.0.0.0/8"]})
        assert ask(gate, "/metrics", peer="10.2.0.1") is NOBODY
        for path, method in (("/jobs", "GET"), ("/metrics", "POST"), ("/work/async", "POST")):
            with pytest.raises(AuthorizationError):
                ask(gate, path, method=method, peer="10.2.0.1", x_auth_request_user="night")
        # Through the proxy, whose addresses are among them, anybody may ask.
        with pytest.raises(AuthenticationError):
            ask(gate, "/metrics", peer="10.1.0.1")
        with pytest.raises(AuthorizationError):
            ask(gate, "/metrics", peer="10.1.0.1", x_auth_request_user="alice")
        for peer in ("192.0.2.1", ""):
            with pytest.raises(AuthorizationError):
                ask(gate, "/metrics", peer=peer)

    async def test_another_header_can_be_configured(self) -> None:
        gate = await make_gate({**PROXY, "header": "X-Remote-User"})
        assert ask(gate, peer="10.1.2.3", x_remote_user="alice") == Caller("alice")
        with pytest.raises(AuthenticationError):
            ask(gate, peer="10.1.2.3", x_auth_request_user="alice")

    @pytest.mark.parametrize(
        "values",
        [{"networks": []}, {"header": "X-Forwarded-For"}, {"header": "a b"}, {"operators": ["a b"]}],
    )
    async def test_what_cannot_be_meant_is_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            ProxyAccess.model_validate(PROXY | values)


class TestLimitsAndSites:
    async def test_an_owner_may_not_ask_too_often(self) -> None:
        gate = await make_gate(PROXY, requests_per_second=0.1, request_burst=2)
        for user in ("alice", "bob"):
            for _ in range(2):
                ask(gate, peer="10.1.0.1", x_auth_request_user=user)
        with pytest.raises(TooManyError) as caught:
            ask(gate, peer="10.1.0.2", x_auth_request_user="alice")
        assert (caught.value.status, caught.value.code) == (429, "ServiceUnavailable")
        assert 0 < int(caught.value.headers["Retry-After"]) <= 10

    async def test_who_is_not_known_is_counted_by_address(self) -> None:
        gate = await make_gate({"mode": "anonymous"}, requests_per_second=0.1, request_burst=1)
        ask(gate, peer="192.0.2.1")
        with pytest.raises(TooManyError):
            ask(gate, "/availability", peer="192.0.2.1")
        ask(gate, peer="192.0.2.2")

    async def test_who_is_not_known_waits_by_address(self) -> None:
        gate = await make_gate({"mode": "anonymous"}, max_waiting=1)

        def wait(peer: str) -> Callable[[], None]:
            return gate.take_place(ANYBODY, "/work/async/1", b"WAIT=5", Headers(), peer)

        leave = wait("192.0.2.1")
        with pytest.raises(TooManyError):
            wait("192.0.2.1")
        wait("192.0.2.2")
        leave()
        wait("192.0.2.1")

    @pytest.mark.parametrize(
        ("path", "query", "waits"),
        [
            ("/work/async/1", b"WAIT=5", True),
            ("/work/async/1", b"PHASE=QUEUED&%57aIt=-1", True),
            ("/work/async/1", b"wait", True),
            ("/work/sync", b"", True),
            ("/work/async/1", b"", False),
            ("/work/async", b"AFTER=2026-01-01T00%3A00%3A00Z&RUNID=WAIT", False),
            ("/work/async", b"AWAIT=1&x=WAIT=1", False),
        ],
    )
    async def test_what_does_not_wait_needs_no_place(self, path: str, query: bytes, *, waits: bool) -> None:
        gate = await make_gate({"mode": "anonymous"}, max_waiting=0)
        with pytest.raises(TooManyError) if waits else nullcontext():
            gate.take_place(ANYBODY, path, query, Headers(), "192.0.2.1")()

    async def test_metrics_are_for_operators(self) -> None:
        gate = await make_gate(PROXY)
        assert ask(gate, "/metrics", peer="10.1.0.1", x_auth_request_user="night").sees_all
        with pytest.raises(AuthorizationError):
            ask(gate, "/metrics", peer="10.1.0.1", x_auth_request_user="alice")

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/work/async"), ("DELETE", "/work/async/1"), ("GET", "/work/sync")]
    )
    async def test_pages_of_other_sites_change_nothing(self, method: str, path: str) -> None:
        gate = await make_gate({"mode": "anonymous"}, public_host="uws.example")
        for headers in (
            {"origin": "https://evil.example", "host": "localhost:8080"},
            {"origin": "null", "host": "localhost:8080"},
            {"sec_fetch_site": "cross-site", "host": "localhost:8080"},
            # Such as a page of the same machine at another port, or of another host of the domain.
            {"sec_fetch_site": "same-site", "host": "localhost:8080"},
        ):
            with pytest.raises(AuthorizationError, match="another site"):
                ask(gate, path, method=method, **headers)
        for headers in (
            {"origin": "http://localhost:8080", "host": "localhost:8080"},
            {"origin": "https://uws.example", "host": "internal:8080"},
            {"sec_fetch_site": "same-origin", "host": "localhost:8080"},
            {"sec_fetch_site": "none", "host": "localhost:8080"},
            {"host": "localhost:8080"},
        ):
            assert ask(gate, path, method=method, **headers) is ANYBODY


async def test_pages_of_chosen_sites_may_change_something() -> None:
    access = await open_access(_SECTION.validate_python({"mode": "anonymous"}))
    gate = Gate(access, LimitsSection(), origins=frozenset({"https://portal.example"}))
    site = {"host": "localhost", "sec_fetch_site": "cross-site"}
    assert ask(gate, "/work/async", method="POST", origin="https://portal.example", **site) is ANYBODY
    for origin in ("http://portal.example", "https://portal.example:444", "https://evil.example", "null"):
        with pytest.raises(AuthorizationError):
            ask(gate, "/work/async", method="POST", origin=origin, **site)


async def test_limits_of_one_owner_replace_those_of_all() -> None:
    limits = LimitsSection.model_validate(
        {"max_pending": 5, "max_active": 2, "owners": {"ocps": {"max_active": 100, "max_pending": None}}}
    )
    assert (limits.of("ocps").max_active, limits.of("ocps").max_pending) == (100, None)
    for owner in ("alice", None):
        assert (limits.of(owner).max_active, limits.of(owner).max_pending) == (2, 5)


async def test_the_sections_are_part_of_the_configuration(tmp_path: Path) -> None:
    config = make_config(tmp_path, {}, access=PROXY, limits={"max_stored": "2GiB"})
    assert config.limits.max_stored == 2 * 2**30
    assert ServiceConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="frozen"):
        config.access.mode = "anonymous"  # type: ignore[misc]
