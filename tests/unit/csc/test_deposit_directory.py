"""A folder for results: seen whole or not at all."""

from pathlib import Path

import pytest

from lsst.ts.ocps.csc.deposit_directory import DirectoryStore
from lsst.ts.ocps.csc.deposit_plan import DepositPlan, Wanted
from lsst.ts.ocps.csc.deposit_store import FileWriter, map_os_error
from lsst.ts.ocps.csc.errors import DepositError
from lsst.ts.ocps.uws.jobs import Result

pytestmark = pytest.mark.asyncio
WANTED = Wanted("a.txt", Result("a.txt"))


def make_store(root: Path) -> DirectoryStore:
    return DirectoryStore(DepositPlan("file", str(root), "echo/run-1"))


async def fill(store: DirectoryStore, content: bytes = b"abc") -> None:
    writer = FileWriter(store.scratch(WANTED.name))
    await writer.receive(content)
    await writer.finish()
    file = await store.put(WANTED, writer.byte_size, writer.sha256)
    assert file.url == f"{store.location}a.txt"


def visible(root: Path) -> list[str]:
    """What a program sees that lists the folder of the payload and looks for manifests."""
    return sorted(str(path.relative_to(root)) for path in root.glob("echo/[!.]*/*"))


async def test_a_set_is_visible_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert await store.begin() is None
    await fill(store)
    assert visible(tmp_path) == []
    await store.commit(b"{}")
    assert visible(tmp_path) == ["echo/run-1/a.txt", "echo/run-1/manifest.json"]
    assert [path.name for path in (tmp_path / "echo").iterdir()] == ["run-1"]
    # An answer that was lost does no harm.
    await store.commit(b"{}")
    assert await make_store(tmp_path).begin() == b"{}"


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = make_store(tmp_path)
    await killed.begin()
    await fill(killed, b"half")
    killed.scratch("other").write_bytes(b"x")
    store = make_store(tmp_path)
    assert await store.begin() is None
    await fill(store)
    await store.commit(b"{}")
    assert visible(tmp_path) == ["echo/run-1/a.txt", "echo/run-1/manifest.json"]
    assert (tmp_path / "echo/run-1/a.txt").read_bytes() == b"abc"


async def test_a_set_that_was_given_up_never_appears(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.begin()
    await fill(store)
    await store.discard()
    # A thread that nobody waits for any more comes late.
    with pytest.raises(DepositError, match="given up"):
        await store.commit(b"{}")
    assert list((tmp_path / "echo").iterdir()) == []


async def test_what_lies_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "echo/run-1").mkdir(parents=True)
    (tmp_path / "echo/run-1/precious").touch()
    with pytest.raises(DepositError, match="exists, and is not a deposit"):
        await make_store(tmp_path).begin()
    assert visible(tmp_path) == ["echo/run-1/precious"]


async def test_a_volume_that_is_not_mounted_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DepositError, match="is the volume mounted"):
        await make_store(tmp_path / "absent").begin()
    assert not (tmp_path / "absent").exists()


async def test_a_folder_that_takes_nothing_is_an_error_that_lasts() -> None:
    with pytest.raises(DepositError, match="/sys") as caught:
        await make_store(Path("/sys")).begin()
    assert not caught.value.transient


async def test_a_full_disk_is_an_error_that_lasts() -> None:
    writer = FileWriter(Path("/dev/full"))
    with pytest.raises(DepositError, match="/dev/full: No space left on device") as caught:
        await writer.receive(b"x")
    assert not caught.value.transient
    writer.close()


async def test_a_network_volume_may_come_back(tmp_path: Path) -> None:
    assert map_os_error(OSError(116, "Stale file handle"), tmp_path).transient


async def test_an_empty_result_is_an_empty_file(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "a")
    await writer.finish()
    assert (tmp_path / "a").read_bytes() == b""
    assert writer.byte_size == 0
    assert writer.sha256.startswith("e3b0c442")
