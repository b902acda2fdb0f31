"""Files that a job is given after its creation, as long as it is PENDING."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsst.ts.ocps.service.errors import StoreUnavailableError
from lsst.ts.ocps.service.results import JobFolder
from lsst.ts.ocps.service.schema import StoredJob, StoredUpload
from lsst.ts.ocps.service.sections import UploadsSection
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.uploads import UploadStore
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.owners import fake_with_owners
from support.service_calls import Calls
from support.service_process import FakeService, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def give(calls: Calls, path: str, name: str = "table", content: bytes = b"1") -> httpx.Response:
    form = {"UPLOAD": f"{name},param:part"}
    return await calls.http.post(f"{path}/parameters", data=form, files={"part": content})


async def read(fake: FakeService, path: str, name: str = "table") -> bytes:
    return (await fake.calls.http.get(f"{path}/parameters/{name}")).content


def files(fake: FakeService, path: str, folder: str) -> dict[str, bytes]:
    """The files in a folder of a job."""
    found = fake.config.jobs_directory / id_of(path) / folder
    return {file.name: file.read_bytes() for file in found.iterdir()} if found.exists() else {}


async def test_a_job_is_given_its_files_before_it_is_run_and_not_run_without_them(fake: FakeService) -> None:
    path = await fake.calls.create("take")
    refused = await fake.calls.post(f"{path}/phase", PHASE="RUN")
    assert (refused.status_code, refused.text) == (400, "UsageError: UPLOAD: missing: table\n")
    assert (await fake.calls.job(path)).phase is P.PENDING
    for content in (b"first", b"second"):
        answer = await give(fake.calls, path, "TABLE", content)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"http://uws.example{path}")
        assert await read(fake, path) == content
    # What was replaced is gone.
    assert list(files(fake, path, "received").values()) == [b"second"]
    assert files(fake, path, "uploads") == {}
    await fake.calls.post(f"{path}/phase", PHASE="RUN")
    job = await fake.calls.executing(path)
    assert [(one.name, one.by_reference, one.is_post) for one in job.parameters] == [("table", True, True)]
    assert files(fake, path, "uploads") == {"table": b"second"}
    assert files(fake, path, "received") == {}
    assert await read(fake, path) == b"second"
    late = await give(fake.calls, path)
    assert late.status_code == 403
    assert files(fake, path, "received") == {}


async def test_what_comes_with_the_creation_can_be_replaced_too_by_a_url_as_well(tmp_path: Path) -> None:
    uploads = {"hosts": ["data.example"]}
    async with fake_service(tmp_path, uploads=uploads) as fake:
        form = {"UPLOAD": "table,param:a;mask,param:b"}
        sent = {"a": b"a", "b": b"b"}
        answer = await fake.calls.http.post("/take/async", data=form, files=sent)
        path = answer.headers["Location"]
        assert sorted(files(fake, path, "received").values()) == [b"a", b"b"]
        source = "https://data.example/x;y,z"
        assert (await fake.calls.post(f"{path}/parameters", UPLOAD=f"table,{source}")).status_code == 303
        assert await read(fake, path) == source.encode()
        assert await read(fake, path, "mask") == b"b"
        assert list(files(fake, path, "received").values()) == [b"b"]


async def test_wrong_files_change_nothing(fake: FakeService) -> None:
    path = await fake.calls.create("take")
    await give(fake.calls, path)
    before = await fake.calls.job(path)
    for form, words in (
        ({"UPLOAD": "other,param:part"}, "takes no 'other'"),
        ({"UPLOAD": "table,param:x"}, "no file called 'x'"),
        ({}, "no UPLOAD names this file"),
        ({"UPLOAD": "table,param:part", "text": "x"}, "text"),
    ):
        answer = await fake.calls.http.post(f"{path}/parameters", data=form, files={"part": b"2"})
        assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert await fake.calls.job(path) == before
    assert list(files(fake, path, "received").values()) == [b"1"]
    work = await fake.calls.create("work")
    assert (await give(fake.calls, work)).status_code == 400


async def test_of_files_given_at_once_none_is_lost_and_none_is_left_over(fake: FakeService) -> None:
    path = await fake.calls.create("take")
    giving = [
        give(fake.calls, path, "mask" if number % 2 else "table", b"%d" % number) for number in range(10)
    ]
    assert {answer.status_code for answer in await asyncio.gather(*giving)} == {303}
    job = await fake.calls.job(path)
    assert {parameter.name for parameter in job.parameters} == {"table", "mask"}
    assert len(files(fake, path, "received")) == 2
    table, mask = [int(await read(fake, path, name)) for name in ("table", "mask")]
    assert (table % 2, mask % 2) == (0, 1)


async def test_a_file_given_while_the_job_is_run_is_given_or_refused(fake: FakeService) -> None:
    for number in range(6):
        path = await fake.calls.create("take")
        await give(fake.calls, path, content=b"old")
        giving = asyncio.create_task(give(fake.calls, path, content=b"new"))
        for _ in range(5 * number):
            await asyncio.sleep(0)
        assert (await fake.calls.post(f"{path}/phase", PHASE="RUN")).status_code == 303
        is_given = (await giving).status_code == 303
        await fake.calls.executing(path)
        assert files(fake, path, "uploads") == {"table": b"new" if is_given else b"old"}
        assert files(fake, path, "received") == {}


async def test_files_count_and_whoever_keeps_too_much_gives_none(
    tmp_path: Path, service_database: dict[str, Any]
) -> None:
    async with fake_with_owners(tmp_path, limits={"max_stored": 10}, **service_database) as owners:
        one, two = [await owners.alice.create("take") for _ in range(2)]
        assert (await give(owners.alice, one, content=b"0123456789")).status_code == 303
        assert (await owners.fake.context.store.usage("alice")).stored == 10
        refused = await give(owners.alice, two)
        assert (refused.status_code, "10 are allowed" in refused.text) == (403, True)
        assert files(owners.fake, two, "received") == {}
        assert (await give(owners.bob, one)).status_code == 404
        await owners.alice.http.delete(one)
        assert (await give(owners.alice, two)).status_code == 303


async def test_after_a_failure_of_the_database_no_file_is_taken_from_a_job(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await fake.calls.create("take")
    change = Store.set_parameters

    async def fail(store: Store, *arguments: Any) -> StoredJob | None:
        await change(store, *arguments)
        raise StoreUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_parameters", fail)
        assert (await give(fake.calls, path)).status_code == 503
    assert await read(fake, path) == b"1"


async def test_files_of_earlier_versions_and_those_named_before_a_crash_stay_in_their_places(
    tmp_path: Path,
) -> None:
    uploads = UploadStore(UploadsSection(), tmp_path)
    place = tmp_path / "1a" / "uploads"
    place.mkdir(parents=True)
    for name in ("old", "named"):
        (place / name).write_text(name)
    given = (StoredUpload("old", None, 3), StoredUpload("named", None, 5, "f" * 32))
    job = StoredJob(Job("1a", P.QUEUED), "take", "fake", "out", uploads=given)
    assert await uploads.fetch(job, None) == 8
    folder = JobFolder(tmp_path / "1a", "out")
    for upload in given:
        file, _ = folder.open_upload(upload)
        with file:
            assert file.read().decode() == upload.name
    (place / "named").unlink()
    with pytest.raises(FileNotFoundError):
        await uploads.fetch(job, None)
