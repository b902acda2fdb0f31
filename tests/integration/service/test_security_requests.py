"""Requests that mean harm: bombs, floods, ways out of a folder, words for somebody else's ears."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.uws.codec import parse_results
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.owners import fake_with_owners
from support.routes import paths_of, routes_of
from support.service_process import FakeService, create_running, id_of
from support.uws_samples import schema_problems

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a0 "ha">'
    + b"".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">'.encode() for number in range(1, 12))
    + b"]><b>&a11;</b>"
)
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/passwd">]><b>&f;</b>'

WAYS_OUT = (
    *("..", "%2e%2e", "..%2f..%2fsecret", "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%2fetc%2fpasswd"),
    *("..%5c..%5csecret", "%00", "secret%00.txt", ".", "%252e%252e%252fsecret", "\u2025"),
    *("a%0d%0aX-Evil:%201", "%ff%fe", "x" * 5000, "'%20OR%201=1--"),
)


def assert_no_evil(answer: httpx.Response) -> None:
    assert "x-evil" not in answer.headers
    assert "set-cookie" not in answer.headers
    for value in answer.headers.values():
        assert value.isprintable()


@pytest.mark.parametrize("body", [BOMB, OUTSIDE], ids=["bomb", "outside"])
async def test_no_xml_is_read(fake: FakeService, body: bytes) -> None:
    for media_type in ("application/xml", "text/xml", "application/x-votable+xml", ""):
        await refuse_xml(fake, body, media_type)
    # As the value of a parameter it is a text like others, and comes back as it was.
    made = await fake.calls.create("work", text=body.decode())
    assert (await fake.calls.job(made)).parameters[0].value == body.decode()
    document = (await fake.calls.http.get(made)).content
    assert b"<!ENTITY" not in document
    assert schema_problems(document) == []


async def refuse_xml(fake: FakeService, body: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    path = await fake.calls.create("work")
    for target in ("/work/async", "/work/sync", path, f"{path}/phase", f"{path}/parameters"):
        answer = await fake.calls.http.post(target, content=body, headers=headers)
        assert answer.status_code == 415, target
        assert "root:" not in answer.text
    answer = await fake.calls.http.put("/api/v1/job", content=body, headers=headers)
    assert (answer.status_code, answer.text.startswith("UsageError: the body is no JSON")) == (400, True)


HURTING: tuple[tuple[bytes, str], ...] = (
    (b"&".join(b"a%d=1" % number for number in range(1001)), "application/x-www-form-urlencoded"),
    (
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n' % number
            for number in range(1001)
        )
        + b"--b--\r\n",
        "multipart/form-data; boundary=b",
    ),
    (
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="a%d"; filename="f"\r\n\r\n1\r\n' % number
            for number in range(1001)
        )
        + b"--b--\r\n",
        "multipart/form-data; boundary=b",
    ),
    (
        b"--b\r\n" + b"X-Header: 1\r\n" * 10_000 + b'Content-Disposition: form-data; name="a"\r\n\r\n1'
        b"\r\n--b--\r\n",
        "multipart/form-data; boundary=b",
    ),
    (b"--b\r\n" * 10_000, "multipart/form-data; boundary=b"),
    (b"x" * 1000, "multipart/form-data"),
    (b"x" * 1000, "multipart/form-data; boundary=" + "b" * 5000),
    (b"a=%ff%fe", "application/x-www-form-urlencoded"),
    (b"text=%00", "application/x-www-form-urlencoded"),
    (b"[" * 100_000, "application/json"),
)


async def test_bodies_made_to_hurt_are_refused(fake: FakeService) -> None:
    targets = (("POST", "/work/async"), ("POST", "/work/sync"), ("PUT", "/api/v1/job"))
    for (body, media_type), (method, path) in itertools.product(HURTING, targets):
        answer = await fake.calls.http.request(
            method, path, content=body, headers={"Content-Type": media_type}
        )
        assert answer.status_code in {400, 413, 415}, (path, body[:80], media_type, answer.text[:200])
    assert await fake.calls.jobs("work") == ()


async def test_what_is_too_large_is_not_read_to_its_end(fake: FakeService) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * 2**20:
            sent += 2**16
            yield bytes(2**16)

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await fake.calls.http.post("/work/async", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert sent < 3 * 2**20


async def test_no_part_of_a_path_leads_out_of_a_job(fake: FakeService) -> None:
    path = await create_running(fake)
    output = fake.config.jobs_directory / id_of(path) / "out"
    await asyncio.to_thread((output / "result.txt").write_text, "fine")
    for place in (output.parent, output.parent.parent, output.parent.parent.parent):
        await asyncio.to_thread((place / "secret").write_text, "planted-secret")
    fake.cluster.finish(id_of(path), 0)
    await fake.calls.end(path)
    known = {
        "payload": "work",
        "job_id": id_of(path),
        "result_id": "result.txt",
        "name": "text",
        "index": "0",
    }
    asked = 0
    for method, route in routes_of(create_app(fake.config, fake.context)):
        if method == "HEAD":
            continue
        for name in paths_of(route):
            for way in WAYS_OUT:
                url = route.format(**(known | {name: way}))
                answer = await fake.calls.http.request(method, url)
                assert answer.status_code in {303, 400, 403, 404, 405, 415, 200}, (method, url, answer.text)
                if answer.status_code in {200, 303}:
                    # The way was taken for nothing but a shorter path.
                    assert unquote(way).strip("./") == "", (method, url)
                assert "planted-secret" not in answer.text
                assert "root:" not in answer.text
                assert_no_evil(answer)
                asked += 1
    assert asked > 400
    assert (await fake.calls.text(f"{path}/results/result.txt")) == "fine"


async def test_names_of_results_lead_nowhere_and_into_no_header(fake: FakeService) -> None:
    path = await create_running(fake)
    folder = fake.config.jobs_directory / id_of(path)
    names = ["result\r\nX-Evil: 1", 'a"b; filename=c', "é\u202e.txt", "%2e%2e%2fx", "..x", "<b>&amp;.html"]
    for name in names:
        await asyncio.to_thread((folder / "out" / name).write_text, name)
    await asyncio.to_thread((folder.parent / "secret").write_text, "planted-secret")
    await asyncio.to_thread((folder / "out" / "link").symlink_to, folder.parent / "secret")
    fake.cluster.finish(id_of(path), 0)
    await fake.calls.end(path)
    listing = await fake.calls.http.get(f"{path}/results")
    assert schema_problems(listing.content) == []
    results = parse_results(listing.content, str(listing.url))
    # Hidden files are no results, links neither.
    assert len(results) == len(names) - 1
    seen = set()
    for result in results:
        assert result.url is not None
        assert result.url.isascii()
        assert result.url.isprintable()
        answer = await fake.calls.http.get(result.url)
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox"
        assert_no_evil(answer)
        seen.add(answer.content.decode())
    assert seen == set(names) - {"..x"}


async def test_no_word_of_a_client_becomes_a_header(fake: FakeService) -> None:
    for text in ("a\r\nX-Evil: 1", "\nSet-Cookie: x=1", "\r", "a\x00b", "\x85", "a\u2028b"):
        answer = await fake.calls.post("/work/async", RUNID=text)
        assert (answer.status_code, answer.text.startswith("UsageError: RUNID")) == (400, True), text
        assert_no_evil(answer)
        for form in ({"text": text}, {text: "x"}, {"PHASE": text}, {"DESTRUCTION": text}):
            answer = await fake.calls.post("/work/async", form)
            assert answer.status_code in {303, 400}, text
            assert_no_evil(answer)
            assert_no_evil(await fake.calls.http.get("/work/async", params=form))
        answer = await fake.calls.http.put("/api/v1/job", json={"command": "work", "run_id": text})
        assert answer.status_code == 400, text


async def test_a_strange_host_is_no_markup(tmp_path: Path) -> None:
    hosts = ('x"><script>alert(1)</script>', "evil.example/<b>", "a&b", "a b")
    # Where everybody is let in such names are refused; those who have said who they are may use any.
    async with fake_with_owners(tmp_path) as owners:
        path = await owners.alice.create("work")
        for host, url in itertools.product(hosts, ("/", "/docs", "/capabilities", "/jobs", path)):
            answer = await owners.alice.http.get(url, headers={"Host": host})
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
            assert "<b>" not in answer.text


async def test_answers_of_each_kind_cannot_be_taken_for_another(fake: FakeService) -> None:
    path = await fake.calls.create("work", RUNID="<script>alert(1)</script>", text="<script>")
    for url in (path, f"{path}/parameters", f"{path}/parameters/text", "/jobs", "/nothing/<script>", "/docs"):
        answer = await fake.calls.http.get(url)
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in {"application/xml", "text/plain", "text/html"}
        assert "<script>alert" not in answer.text or kind == "text/plain"
        assert answer.headers["X-Content-Type-Options"] == "nosniff", url
