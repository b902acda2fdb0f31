"""Creations, starts, aborts and deletions that go wrong: what is known then; nothing is sent twice."""

import pytest

from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.bad_answers import FAULT, LOGIN, twice
from support.uws_bench import ServerBench
from support.uws_server import Behaviour, drop, html, redirect, status, text

pytestmark = pytest.mark.asyncio

P = ExecutionPhase

BAD_CREATES: list[tuple[str, Behaviour, type[BackendError], str]] = [
    ("200", text("<jobs/>"), BackendFailedError, "200"),
    ("201", status(201, "made"), BackendFailedError, "201 Created: 'made'"),
    ("fault", text(FAULT.format("Field x: bad")), RequestRefusedError, "Field x: bad"),
    ("text fault", text("UsageError: bad", "text/plain"), RequestRefusedError, "UsageError: bad"),
    ("busy", text("ServiceUnavailable: full", "text/plain"), BackendUnavailableError, "full"),
    ("403", status(403, "quota used up"), RequestRefusedError, "quota used up"),
    ("403 auth", status(403, "AuthorizationError: no"), BackendAuthenticationError, "AuthorizationError"),
    ("404", status(404), RequestRefusedError, "no job list of that payload"),
    ("500", status(500, "oops"), BackendFailedError, "oops"),
    ("503", status(503), BackendUnavailableError, "503"),
    ("html", html("Service"), BackendFailedError, "HTML page titled 'Service'"),
    ("login page", html("Log in", LOGIN), BackendAuthenticationError, "Log in"),
    ("login", redirect("/oauth2/start"), BackendAuthenticationError, "login page"),
    ("elsewhere", redirect("https://example.org/x"), BackendAuthenticationError, "another host"),
    ("slash", redirect("/sleep/async/", 302), RequestRefusedError, "nothing was done.*sleep/async/"),
    ("307", redirect("/sleep/async/", 307), RequestRefusedError, "nothing was done"),
    ("308", redirect("/other/async", 308), RequestRefusedError, "wants the request sent to .*other/async"),
    (
        "https",
        redirect("https://127.0.0.1/sleep/async", 301),
        RequestRefusedError,
        "configuration should name",
    ),
    (
        "to the list",
        redirect("/sleep/async", 303),
        RequestRefusedError,
        "to a job list, .*nothing was created",
    ),
    ("odd location", redirect("urn:job:1", 303), BackendFailedError, "'urn:job:1' is no http URL"),
    ("no location", status(303), BackendFailedError, "303"),
    ("dropped", drop(), BackendUnavailableError, "connection broke"),
]


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"), [row[1:] for row in BAD_CREATES], ids=[row[0] for row in BAD_CREATES]
)
async def test_a_bad_answer_to_a_creation(
    bench: ServerBench, behaviour: Behaviour, kind: type[BackendError], words: str
) -> None:
    bench.server.misbehave("POST", "/async", behaviour)
    with pytest.raises(BackendError, match=words) as caught:
        await bench.create()
    assert type(caught.value) is kind
    assert str(caught.value).startswith("back end test-server: ")
    # Whatever happened: the request was sent once.
    assert len(bench.server.sent("POST", "/async")) == 1


@pytest.mark.parametrize(
    ("behaviours", "kind"),
    [
        (twice(drop()), BackendUnavailableError),
        ((status(500, "oops"),), BackendFailedError),
        ((status(404, "UsageError: oops"),), BackendFailedError),
        ((status(403, "oops"),), BackendFailedError),
        ((text("<job>oops"),), BackendFailedError),
    ],
)
async def test_a_created_job_that_cannot_be_read_may_exist(
    bench: ServerBench, behaviours: tuple[Behaviour, ...], kind: type[BackendError]
) -> None:
    bench.server.misbehave("GET", "/async/1", *behaviours)
    with pytest.raises(BackendError, match=r"a job was created at http://\S+/sleep/async/1, but") as caught:
        await bench.create()
    # Neither of the two kinds that promise that there is no job.
    assert type(caught.value) is kind
    assert list(bench.server.jobs) == ["1"]


@pytest.mark.parametrize("behaviour", [drop(), status(500), status(503), html("Service")])
async def test_run_is_sent_once_whatever_comes_back(bench: ServerBench, behaviour: Behaviour) -> None:
    created = await bench.create()
    bench.server.misbehave("POST", "/phase", behaviour)
    with pytest.raises(BackendError) as caught:
        await bench.backend.start(created.url)
    assert caught.value.transient
    assert len(bench.server.sent("POST", "/phase")) == 1


async def test_a_refused_change_with_status_200_is_refused(bench: ServerBench) -> None:
    created = await bench.create()
    bench.server.misbehave("POST", "/phase", text(FAULT.format("Field phase: Bad phase")))
    with pytest.raises(RequestRefusedError, match=r"POST .*/phase: 200 .*Bad phase"):
        await bench.backend.start(created.url)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        *((status(code, "UsageError: no"), RequestRefusedError) for code in (400, 403, 405, 422)),
        (status(403, "AuthorizationError: no"), BackendAuthenticationError),
        (status(501, "no"), BackendFailedError),
        (html("no"), BackendFailedError),
    ],
)
async def test_a_server_may_refuse_to_abort_and_the_end_of_the_job_is_seen_all_the_same(
    bench: ServerBench, behaviour: Behaviour, kind: type[BackendError]
) -> None:
    created = await bench.create()
    bench.server.misbehave("POST", "/phase", behaviour, behaviour)
    with pytest.raises(kind, match="no"):
        await bench.backend.abort(created.url)
    bench.server.force("1", "COMPLETED")
    await bench.backend.abort(created.url)
    assert len(bench.server.sent("POST", "/phase")) == 2


async def test_the_list_is_not_read_after_a_deletion(bench: ServerBench) -> None:
    created = await bench.create()
    await bench.backend.delete(created.url)
    assert bench.server.sent("GET", "/async") == []
    assert bench.server.jobs == {}


@pytest.mark.parametrize("code", [200, 204, 302, 303, 404, 410])
async def test_answers_that_mean_deleted(bench: ServerBench, code: int) -> None:
    created = await bench.create()
    away = redirect("/sleep/async/1", code) if code in {302, 303} else status(code)
    bench.server.misbehave("DELETE", "/async/1", away)
    await bench.backend.delete(created.url)


@pytest.mark.parametrize("code", [405, 501])
async def test_a_server_without_delete_is_asked_by_post(bench: ServerBench, code: int) -> None:
    created = await bench.create()
    bench.server.misbehave("DELETE", "/async/1", status(code))
    bench.server.misbehave("POST", "/async/1", redirect("/sleep/async", 303))
    await bench.backend.delete(created.url)
    (sent,) = bench.server.sent("POST", "/async/1")
    assert sent.form == [("ACTION", "DELETE")]


async def test_a_deletion_that_is_refused_is_an_error(bench: ServerBench) -> None:
    created = await bench.create()
    bench.server.misbehave("DELETE", "/async/1", status(403, "UsageError: not yours"))
    with pytest.raises(RequestRefusedError, match="not yours"):
        await bench.backend.delete(created.url)


async def test_a_server_that_keeps_its_limits_keeps_its_job(
    bench: ServerBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.server.takes_limits = False
    bench.server.misbehave("POST", "/executionduration", status(403, "UsageError: at most 600"))
    created = await bench.create(execution_duration=9999)
    assert created.job.execution_duration == 600
    assert "at most 600" in caplog.text


async def test_what_utf_8_cannot_say_is_refused_before_it_is_sent(bench: ServerBench) -> None:
    with pytest.raises(RequestRefusedError, match="lone surrogates"):
        await bench.create(extra=(("text", "\ud800"),))
    assert bench.server.requests == []


async def test_a_payload_of_any_name_is_found_by_its_url() -> None:
    backend = UwsBackend("x", UwsSettings(url="http://127.0.0.1:1/root/", job_list="api/{payload}/jobs"))
    with pytest.raises(BackendUnavailableError, match=r"http://127\.0\.0\.1:1/root/api/a%20b%2F/jobs"):
        await backend.list_jobs("a b/")
    await backend.aclose()
