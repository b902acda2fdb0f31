"""What servers answer wrongly becomes one of our errors, naming the back end and what it said."""

import asyncio
import time

import pytest

from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.backend_bench import finished
from support.bad_answers import FAULT, GATEWAY, HEAD, LOGIN, twice
from support.uws_bench import ServerBench, server_bench
from support.uws_server import Behaviour, Reply, Request, drop, html, redirect, status, text

pytestmark = pytest.mark.asyncio

P = ExecutionPhase


def cut(answer: str) -> Behaviour:
    """An answer that ends before its length says, with its connection."""

    async def behave(_: Request) -> Reply:
        return Reply(200, answer.encode(), claimed=len(answer) + 100, closes=True)

    return behave


BAD_READS: list[tuple[str, tuple[Behaviour, ...], type[BackendError], str]] = [
    (
        "500",
        (status(500, "Traceback: disk on fire"),),
        BackendFailedError,
        "'Traceback: disk on fire'",
    ),
    ("503", (status(503, "back soon"),), BackendUnavailableError, r"503 .*: 'back soon'"),
    ("502", (status(502, GATEWAY, "text/html"),), BackendUnavailableError, "titled 'Bad Gateway'"),
    ("429", (status(429),), BackendUnavailableError, "429 .*: no explanation"),
    (
        "fault-500",
        (status(500, "ServiceUnavailable: later"),),
        BackendUnavailableError,
        "ServiceUnavailable: later",
    ),
    ("401", (status(401, "AuthenticationError: who?"),), BackendAuthenticationError, "401 .*who"),
    ("403", (status(403, "not yours"),), BackendAuthenticationError, "403 .*not yours"),
    ("404", (status(404, "UsageError: Job 1 not found"),), JobNotFoundError, "Job 1 not found"),
    ("410", (status(410),), JobNotFoundError, "410"),
    ("400", (status(400, "what?"),), RequestRefusedError, r"400 .*'what\?'"),
    ("html", (html("Welcome"),), BackendFailedError, "an HTML page: 'Welcome'"),
    ("login page", (html("x", LOGIN),), BackendAuthenticationError, "HTML page titled 'x'"),
    ("sign in page", (html("Please sign in"),), BackendAuthenticationError, "Please sign in"),
    ("truncated", (text("<uws:job><uws:jobId>1</u"),), BackendFailedError, "not well-formed XML"),
    ("empty", (text(""),), BackendFailedError, "an empty answer"),
    ("list", (text(f'<uws:jobs {HEAD} version="1.1"/>'),), BackendFailedError, "a 'jobs' element"),
    ("json", (text('{"phase": "COMPLETED"}'),), BackendFailedError, "not XML"),
    ("fault", (text(FAULT.format("UsageError: no")),), RequestRefusedError, "200 .*UsageError: no"),
    ("later", (text(FAULT.format("ServiceUnavailable: busy")),), BackendUnavailableError, "busy"),
    ("bomb", (text('<!DOCTYPE j [<!ENTITY a "b">]><j>&a;</j>'),), BackendFailedError, "refused"),
    ("login", (redirect("/login?next=/x"),), BackendAuthenticationError, "redirected to a login page"),
    ("cas", (redirect("https://cas.example.org/cas/login"),), BackendAuthenticationError, "login page"),
    ("elsewhere", (redirect("https://example.org/x"),), BackendAuthenticationError, "another host"),
    ("moved", (redirect("https://127.0.0.1/x", 301),), RequestRefusedError, "configuration should name"),
    ("nowhere", (status(302),), BackendFailedError, "leads nowhere"),
    ("loop", tuple(redirect("../async/1") for _ in range(7)), BackendFailedError, "more than 5 redirects"),
    ("dropped", twice(drop()), BackendUnavailableError, "connection broke"),
    ("cut", twice(cut("<uws:job>")), BackendUnavailableError, "connection broke"),
]


@pytest.mark.parametrize(
    ("behaviours", "kind", "words"), [row[1:] for row in BAD_READS], ids=[row[0] for row in BAD_READS]
)
async def test_a_bad_answer_to_a_read(
    bench: ServerBench, behaviours: tuple[Behaviour, ...], kind: type[BackendError], words: str
) -> None:
    created = await bench.create()
    bench.server.misbehave("GET", "/async/1", *behaviours)
    with pytest.raises(BackendError, match=words) as caught:
        await bench.backend.read(created.url)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("back end test-server: GET http://127.0.0.1:")
    assert "/sleep/async/1" in str(caught.value)
    assert len(str(caught.value)) < 500
    # Nothing of it stays: the next answer is taken as it is.
    assert await bench.backend.read(created.url) == created.job


async def test_a_document_about_another_job_is_refused(bench: ServerBench) -> None:
    created = await bench.create()
    wrong = f"<uws:job {HEAD}><uws:jobId>99</uws:jobId><uws:phase>COMPLETED</uws:phase></uws:job>"
    bench.server.misbehave("GET", "/async/1", text(wrong))
    with pytest.raises(BackendFailedError, match="the document is of job '99'"):
        await bench.backend.read(created.url)


async def test_job_ids_that_differ_from_the_url_can_be_allowed() -> None:
    async with server_bench(job_id_in_url=False) as bench:
        created = await bench.create()
        other = f"<uws:job {HEAD}><uws:jobId>99</uws:jobId><uws:phase>COMPLETED</uws:phase></uws:job>"
        bench.server.misbehave("GET", "/async/1", text(other))
        assert (await bench.backend.read(created.url)).job_id == "99"


async def test_a_read_is_tried_again_once_when_the_connection_breaks(bench: ServerBench) -> None:
    created = await bench.create()
    bench.server.misbehave("GET", "/async/1", drop())
    assert await bench.backend.read(created.url) == created.job
    bench.server.misbehave("GET", "/async/1", cut("<uws:job>"))
    assert await bench.backend.read(created.url) == created.job


async def test_a_slow_answer_ends_with_the_deadline() -> None:
    async with server_bench(call_timeout=1) as bench:
        created = await bench.create()

        async def slow(_: Request) -> None:
            await asyncio.sleep(30)

        bench.server.misbehave("GET", "/async/1", slow)
        begin = time.monotonic()
        with pytest.raises(BackendUnavailableError, match=r"GET .*/sleep/async/1: no answer in 1 s"):
            await bench.backend.read(created.url)
        assert time.monotonic() - begin < 10


async def test_a_slow_job_does_not_delay_the_others(bench: ServerBench) -> None:
    first, second = await bench.create(), await bench.create()
    release = asyncio.Event()

    async def slow(_: Request) -> None:
        await release.wait()

    bench.server.misbehave("GET", f"/async/{first.job.job_id}", slow)
    reading = asyncio.create_task(bench.backend.read(first.url))
    async with asyncio.timeout(10):
        assert await bench.backend.read(second.url) == second.job
    assert not reading.done()
    release.set()
    assert await reading == first.job


async def test_nobody_there() -> None:
    async with server_bench() as bench:
        created = await bench.create()
    backend = UwsBackend("gone", bench.settings)
    for call in (
        lambda: backend.read(created.url),
        lambda: backend.create(bench.submission()),
        backend.probe,
        lambda: backend.list_jobs("sleep"),
    ):
        with pytest.raises(BackendUnavailableError, match=r"back end gone: .*no connection"):
            await call()
    await backend.aclose()


async def test_a_job_list_without_links_is_completed(bench: ServerBench) -> None:
    for link in ("", "urn:job:1"):
        refs = f'<jobs><jobref id="a b" href="{link}"><phase>PENDING</phase></jobref></jobs>'
        bench.server.misbehave("GET", "/async", text(refs))
        (ref,) = await bench.backend.list_jobs("sleep")
        assert ref.url == f"{bench.server.url}/sleep/async/a%20b"


async def test_a_server_that_ignores_last_is_sorted_here(bench: ServerBench) -> None:
    refs = "".join(
        f'<jobref id="{day}"><phase>PENDING</phase><creationTime>2031-01-{day}</creationTime></jobref>'
        for day in ("02", "04", "01", "03")
    )
    bench.server.misbehave("GET", "/async", text(f"<jobs>{refs}</jobs>"))
    assert [ref.job_id for ref in await bench.backend.list_jobs("sleep", last=2)] == ["04", "03"]


async def test_jobs_whose_age_is_not_told_are_all_listed(bench: ServerBench) -> None:
    refs = "".join(f'<jobref id="{number}"><phase>PENDING</phase></jobref>' for number in range(4))
    bench.server.misbehave("GET", "/async", text(f"<jobs>{refs}</jobs>"))
    assert len(await bench.backend.list_jobs("sleep", last=2)) == 4


async def test_a_server_that_filters_nothing_is_asked_for_its_list_only_while_it_is_short(
    bench: ServerBench,
) -> None:
    bench.server.filters = False
    active, ended = await bench.run(duration=60), await bench.run(duration=0)
    await finished(bench.backend, ended.url)
    phases = await bench.backend.list_under_way("sleep")
    assert phases is not None
    assert set(phases) == {active.job.job_id}
    refs = "".join(f'<jobref id="{number}"><phase>COMPLETED</phase></jobref>' for number in range(1001))
    bench.server.misbehave("GET", "/async", text(f"<jobs>{refs}</jobs>"))
    assert await bench.backend.list_under_way("sleep") is None


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (status(404), RequestRefusedError),
        (status(403), BackendAuthenticationError),
        (status(401), BackendAuthenticationError),
        (text("<job/>"), BackendFailedError),
        (text('<jobs><jobref id=""/></jobs>'), BackendFailedError),
    ],
)
async def test_a_bad_answer_to_a_list(
    bench: ServerBench, behaviour: Behaviour, kind: type[BackendError]
) -> None:
    bench.server.misbehave("GET", "/async", behaviour)
    with pytest.raises(BackendError) as caught:
        await bench.backend.list_jobs("sleep")
    assert type(caught.value) is kind
    bench.server.misbehave("GET", "/async", behaviour)
    with pytest.raises(kind):
        await bench.backend.list_under_way("sleep")


async def test_a_list_of_many_jobs_is_read_without_blocking_the_loop(bench: ServerBench) -> None:
    ref = "<jobref id='{}'><phase>COMPLETED</phase><creationTime>2031-01-02T03:04:05Z</creationTime></jobref>"
    body = f"<jobs>{''.join(map(ref.format, range(20_000)))}</jobs>"
    bench.server.misbehave("GET", "/async", text(body))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    beating = asyncio.create_task(beat())
    refs = await bench.backend.list_jobs("sleep")
    beating.cancel()
    assert len(refs) == 20_000
    assert beats > 10


async def test_a_document_without_end_is_not_read_to_its_end() -> None:
    async with server_bench(max_document=10_000) as bench:
        created = await bench.create()
        bench.server.misbehave("GET", "/async/1", text("<job>" + "x" * 1_000_000))
        with pytest.raises(BackendFailedError, match="document is larger than"):
            await bench.backend.read(created.url)


PROBES: list[tuple[str, Behaviour, type[BackendError] | None, str]] = [
    (
        "down",
        text("<availability><available>false</available><note>disk full</note></availability>"),
        BackendUnavailableError,
        "not available: disk full",
    ),
    ("500", status(500, "x"), BackendFailedError, "500"),
    ("401", status(401), BackendAuthenticationError, "401"),
    ("login", redirect("/login"), BackendAuthenticationError, "login page"),
    ("wrong", text("<jobs/>"), BackendFailedError, "not an availability document"),
    ("none", status(404), None, ""),
    ("page", html("My science platform"), None, ""),
]


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"), [row[1:] for row in PROBES], ids=[row[0] for row in PROBES]
)
async def test_a_probe_of_a_service_in_every_state(
    bench: ServerBench, behaviour: Behaviour, kind: type[BackendError] | None, words: str
) -> None:
    bench.server.misbehave("GET", "/availability", behaviour)
    if kind is None:
        assert (await bench.backend.probe()).version == "1.1"
        return
    with pytest.raises(BackendError, match=words) as caught:
        await bench.backend.probe()
    assert type(caught.value) is kind


async def test_notes_of_the_service_are_told(bench: ServerBench) -> None:
    note = "<availability><available>true</available><note>downtime on Monday</note></availability>"
    bench.server.misbehave("GET", "/availability", text(note))
    assert (await bench.backend.probe()).message == "downtime on Monday"


async def test_the_version_is_asked_for_once_and_may_be_missing(bench: ServerBench) -> None:
    bench.server.misbehave("GET", "/capabilities", status(404))
    assert (await bench.backend.probe()).version == ""
    assert (await bench.backend.probe()).version == ""
    assert len(bench.server.sent("GET", "/capabilities")) == 1
    assert len(bench.server.sent("GET", "/availability")) == 2


async def test_the_detail_of_an_error_is_read(bench: ServerBench) -> None:
    created = await bench.run(fail="broken")
    assert (await finished(bench.backend, created.url)).phase == P.ERROR
    assert await bench.backend.error_detail(created.url) == "broken\n\nmore"
    assert await bench.backend.error_detail((await bench.create()).url) is None
    bench.server.misbehave("GET", "/error", status(500))
    with pytest.raises(BackendFailedError):
        await bench.backend.error_detail(created.url)
