"""Results over HTTP as clients that resume and cache ask for them."""

import asyncio
import base64
import hashlib
import io
import os
from pathlib import Path
from typing import IO, cast

import httpx
import pytest
import pytest_asyncio
from starlette.types import Message
from typing_extensions import override

from lsst.ts.ocps.service.conditional import Version
from lsst.ts.ocps.service.responses import FileResponse
from support.service_process import FakeService, create_running, id_of

pytestmark = pytest.mark.asyncio
CONTENT = bytes(range(256)) * 4096
"""More than is sent at once."""


@pytest_asyncio.fixture
async def url(fake: FakeService) -> str:
    """A result of a job that has ended."""
    path = await create_running(fake)
    (fake.config.jobs_directory / id_of(path) / "out" / "image.fits").write_bytes(CONTENT)
    fake.cluster.finish(id_of(path))
    await fake.calls.end(path)
    return f"{path}/results/image.fits"


async def get(fake: FakeService, url: str, **headers: str) -> httpx.Response:
    return await fake.calls.http.get(url, headers={name.replace("_", "-"): headers[name] for name in headers})


async def test_a_known_result_is_not_sent_again(fake: FakeService, url: str) -> None:
    first = await get(fake, url)
    assert (first.status_code, first.content) == (200, CONTENT)
    for condition in (
        {"If_None_Match": first.headers["ETag"]},
        {"If_Modified_Since": first.headers["Last-Modified"]},
    ):
        again = await get(fake, url, **condition)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "content-type" not in again.headers


async def test_every_answer_has_the_digest_of_the_whole_content(fake: FakeService, url: str) -> None:
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"
    job_id = id_of(url.partition("/results/")[0])
    for answer in (
        await get(fake, url),
        await get(fake, url, Range="bytes=5-9"),
        await fake.calls.http.head(url),
        await get(fake, f"/api/v1/job/result/{job_id}/0"),
    ):
        assert answer.headers["Repr-Digest"] == expected


async def test_a_result_that_was_replaced_has_another_tag(fake: FakeService, url: str) -> None:
    first = await get(fake, url)
    file = fake.config.jobs_directory / id_of(url.partition("/results/")[0]) / "out" / "image.fits"
    times = file.stat()
    new = file.with_name("new")
    new.write_bytes(CONTENT[::-1])
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.rename(file)
    again = await get(fake, url, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (200, CONTENT[::-1])
    rest = await get(fake, url, Range="bytes=100-", If_Range=first.headers["ETag"])
    assert (rest.status_code, len(rest.content)) == (200, len(CONTENT))


async def test_a_download_is_resumed_where_it_broke_off(fake: FakeService, url: str) -> None:
    tag = (await fake.calls.http.head(url)).headers["ETag"]
    start = await get(fake, url, Range="bytes=0-299999")
    rest = await get(fake, url, Range="bytes=300000-", If_Range=tag)
    assert (start.status_code, rest.status_code) == (206, 206)
    assert rest.headers["Content-Range"] == f"bytes 300000-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert rest.headers["Content-Length"] == str(len(CONTENT) - 300_000)
    assert rest.headers["Content-Type"] == "application/fits"
    assert start.content + rest.content == CONTENT
    end = await get(fake, url, Range="bytes=-7")
    assert end.content == CONTENT[-7:]


async def test_a_range_beyond_the_end_tells_the_size(fake: FakeService, url: str) -> None:
    answer = await get(fake, url, Range=f"bytes={len(CONTENT)}-")
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


async def test_ranges_of_many_at_once_are_right(fake: FakeService, url: str) -> None:
    starts = range(0, len(CONTENT), len(CONTENT) // 20)
    answers = await asyncio.gather(*(get(fake, url, Range=f"bytes={start}-{start + 9}") for start in starts))
    assert [answer.content for answer in answers] == [CONTENT[start : start + 10] for start in starts]


async def test_head_tells_what_get_would_without_the_content(fake: FakeService, url: str) -> None:
    path = url.partition("/results/")[0]
    answer = await fake.calls.http.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    got = await fake.calls.http.get(url)
    assert answer.headers == got.headers
    for place in (path, f"{path}/phase", f"{path}/results", "/work/async", "/availability", "/"):
        head, got = await fake.calls.http.head(place), await fake.calls.http.get(place)
        assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])
    assert (await fake.calls.http.head(f"{path}/results/nothing")).status_code == 404


async def test_a_large_file_is_not_read_on_for_a_client_that_has_left(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(100 * 256 * 1024))
    sent = 0

    class Counted(io.FileIO):
        reads = 0

        @override
        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(-1 if size is None else size)

    file = Counted(tmp_path / "large")
    left = asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        # As the server does, whether there is somebody or not.
        nonlocal sent
        sent += len(message.get("body", b""))
        left.set()

    response = FileResponse(
        cast("IO[bytes]", file),
        version=Version(100 * 256 * 1024, 0.0, "tag"),
        media_type="application/fits",
        headers={},
    )
    await response({"type": "http", "method": "GET", "path": "/large"}, receive, send)
    assert file.closed
    assert 0 < file.reads < 10
    assert sent == file.reads * 256 * 1024
