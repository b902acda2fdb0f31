"""What creations leave that came to nothing is removed, and nothing else."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.service.errors import StoreUnavailableError
from lsst.ts.ocps.service.job_ids import JobIds
from lsst.ts.ocps.service.leftovers import Leftovers
from lsst.ts.ocps.service.schema import StoredJob
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.usage import ANY, Room
from support.processes import until
from support.service_process import FakeService, fake_service, id_of

pytestmark = pytest.mark.asyncio

_DAY = 24 * 3600


def make_folder(fake: FakeService, name: str, *, file: str = "received/x", age: float = 2 * _DAY) -> Path:
    folder = fake.config.jobs_directory / name
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("x")
    os.utime(folder, (time.time() - age,) * 2)
    return folder


async def upload(fake: FakeService) -> int:
    form = {"UPLOAD": "table,param:t"}
    return (await fake.calls.http.post("/take/async", data=form, files={"t": b"table"})).status_code


def folders(fake: FakeService) -> list[str]:
    return [folder.name for folder in fake.config.jobs_directory.iterdir()]


async def test_old_folders_of_jobs_that_never_came_to_be_are_removed_at_the_start(
    tmp_path: Path, service_database: dict[str, Any]
) -> None:
    async with fake_service(tmp_path, **service_database) as fake:
        pending = id_of(await fake.calls.create("work"))
        ids = JobIds()
        kept = [
            make_folder(fake, pending),
            # A creation that is under way, perhaps at another process.
            make_folder(fake, ids.next(), age=_DAY / 2),
            # A command has run in it: its row is in another database, or was lost.
            make_folder(fake, ids.next(), file="out/result"),
            # Of a file system.
            make_folder(fake, "lost+found"),
        ]
        gone = [make_folder(fake, ids.next(), file=file) for file in ("uploads/x", "received/x")]
    async with fake_service(tmp_path, **service_database) as fake:
        await until(lambda: not any(folder.exists() for folder in gone), "they are gone")
        await Leftovers(fake.context.store, fake.config.jobs_directory).remove()
        assert all(folder.exists() for folder in kept)


async def test_a_refused_creation_leaves_nothing(tmp_path: Path) -> None:
    async with fake_service(tmp_path, limits={"max_pending": 0}) as fake:
        assert await upload(fake) == 429
        assert folders(fake) == []


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_failure_of_the_database_takes_no_files_from_a_job_that_is_there(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    add = Store.add

    async def fail(store: Store, stored: StoredJob, room: Room = ANY) -> bool:
        if is_written:
            await add(store, stored, room)
        raise StoreUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", fail)
        assert await upload(fake) == 503
    (folder,) = folders(fake)
    os.utime(fake.config.jobs_directory / folder, (0, 0))
    await asyncio.gather(
        *(Leftovers(fake.context.store, fake.config.jobs_directory).remove() for _ in range(3))
    )
    assert folders(fake) == ([folder] if is_written else [])
