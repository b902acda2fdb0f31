import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from lsst.ts.ocps.csc.errors import (
    LedgerDamagedError,
    LedgerError,
    LedgerInUseError,
    LedgerRowMissingError,
)
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.ledger_file import check_file_system
from lsst.ts.ocps.csc.records import RECORD, FinalAck, Report
from lsst.ts.ocps.csc.runs import CreateIntended, JobCreated, ReportBuilt, ReportWritten, observe
from support.runs import URL, ended_record, make_job, make_record, make_run, with_news

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(tmp_path, 1)
    yield ledger
    await ledger.aclose()


REPORT = Report(FinalAck.COMPLETE, "Done", result="{}", exit_code=0)


def kept_aside(folder: Path) -> list[Path]:
    return list(folder.glob("ocps-1.sqlite3.damaged-*"))


async def test_what_was_written_is_there_after_the_process_has_died(tmp_path: Path) -> None:
    record = with_news(make_record(), CreateIntended(), JobCreated(URL, make_job()))
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from lsst.ts.ocps.csc.ledger import Ledger\n"
        "from lsst.ts.ocps.csc.records import RECORD\n"
        "async def main():\n"
        "    ledger = await Ledger.open(Path(sys.argv[1]), 1)\n"
        "    await ledger.add(RECORD.validate_json(sys.argv[2]))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path), RECORD.dump_json(record).decode()]
    process = await asyncio.to_thread(subprocess.run, arguments, check=False, timeout=30)
    assert process.returncode == -9
    ledger = await Ledger.open(tmp_path, 1)
    assert await ledger.unfinished() == [record]
    await ledger.aclose()


async def test_a_command_record_starts_one_run(ledger: Ledger) -> None:
    first = make_record()
    again = replace(first, run=replace(make_run(), key=first.run.key))
    assert await ledger.add(first) is None
    assert await ledger.add(again) == first
    assert await ledger.find_command(first.run.key) == first
    assert await ledger.unfinished() == [first]
    assert await ledger.unfinished(known={first.run.run_id}) == []


async def test_the_same_number_from_another_sender_is_another_command(ledger: Ledger) -> None:
    key = make_run().key
    for other in (
        replace(key, identity="x"),
        replace(key, origin=1),
        replace(key, seq_num=1),
        replace(key, snd_stamp=1.0),
        key,
    ):
        assert await ledger.add(make_record(key=other)) is None
    assert len(await ledger.unfinished()) == 5


async def test_saves_are_kept_in_order(ledger: Ledger) -> None:
    record = make_record()
    assert await ledger.add(record) is None
    steps = [record]
    for news in (CreateIntended(), JobCreated(URL, make_job())):
        steps.append(observe(steps[-1], news))
    await asyncio.gather(*(ledger.save(step) for step in steps))
    assert await ledger.find(record.run.run_id) == steps[-1]


async def test_runs_are_found_by_run_id_and_by_job_id(ledger: Ledger) -> None:
    old, new = ended_record(), ended_record()
    await asyncio.gather(ledger.add(old), ledger.add(new))
    assert await ledger.find(old.run.run_id) == old
    assert await ledger.find("7") == new
    assert await ledger.find("8") is None


async def test_reported_runs_are_finished_counted_and_forgotten_one_day(ledger: Ledger) -> None:
    living = make_record()
    record = ended_record()
    await asyncio.gather(ledger.add(living), ledger.add(record))
    assert await ledger.count_outcomes(0) == {"completed": 1}
    assert await ledger.purge(4e9) == 0
    await ledger.save(with_news(record, ReportBuilt(REPORT), ReportWritten()))
    assert await ledger.unfinished() == [living]
    assert await ledger.purge(1e9) == 0
    assert await ledger.purge(4e9) == 1
    assert await ledger.find(record.run.run_id) is None


async def test_a_save_of_an_unknown_run_is_an_error_and_spoils_nothing_else(ledger: Ledger) -> None:
    record = make_record()
    assert await ledger.add(record) is None
    saves = [ledger.save(make_record()), ledger.save(observe(record, CreateIntended()))]
    answers = await asyncio.gather(*saves, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerRowMissingError, type(None)]
    # It is not tried again.
    await ledger.save_unsaved()


async def test_a_ledger_knows_whether_it_ever_held_a_run(ledger: Ledger) -> None:
    assert await ledger.is_empty()
    await ledger.add(make_record())
    assert not await ledger.is_empty()


async def test_a_ledger_has_one_owner(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerInUseError, match=r"held by process \d+"):
        await Ledger.open(tmp_path, 1)
    other = await Ledger.open(tmp_path, 2)
    await other.aclose()
    await ledger.aclose()
    again = await Ledger.open(tmp_path, 1)
    await again.aclose()


async def test_a_closed_ledger_says_so(ledger: Ledger) -> None:
    await ledger.aclose()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.unfinished()


async def test_what_was_asked_for_before_the_end_is_done(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path, 1)
    record = make_record()
    added = asyncio.ensure_future(ledger.add(record))
    await asyncio.sleep(0)
    await ledger.aclose()
    assert await added is None
    again = await Ledger.open(tmp_path, 1)
    assert await again.unfinished() == [record]
    await again.aclose()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="missing does not exist"):
        await Ledger.open(tmp_path / "missing", 1)


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be looked at" * 20, b"SQLite format 3\0" * 64]
)
async def test_a_damaged_ledger_is_named_and_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ocps-1.sqlite3"
    path.write_bytes(content)
    ledger = await Ledger.open(tmp_path, 1)
    (aside,) = kept_aside(tmp_path)
    assert aside.read_bytes() == content
    assert str(path) in ledger.damage
    assert aside.name in ledger.damage
    assert await ledger.add(make_record()) is None
    await ledger.aclose()
    again = await Ledger.open(tmp_path, 1)
    assert again.damage == ""
    assert len(await again.unfinished()) == 1
    await again.aclose()


async def test_a_ledger_whose_pages_are_damaged_is_kept_aside_before_anything_is_done(
    ledger: Ledger, tmp_path: Path
) -> None:
    for _ in range(50):
        await ledger.add(make_record())
    await ledger.aclose()
    path = tmp_path / "ocps-1.sqlite3"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * len(content[8192:])
    path.write_bytes(content)
    again = await Ledger.open(tmp_path, 1)
    assert "malformed" in again.damage
    assert await again.unfinished() == []
    await again.aclose()
    (aside,) = kept_aside(tmp_path)
    assert aside.read_bytes() == content


async def test_another_database_is_no_ledger(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ocps-1.sqlite3") as connection:
        connection.execute("CREATE TABLE runs (a)")
    connection.close()
    with pytest.raises(LedgerError, match="not a ledger of OCPS"):
        await Ledger.open(tmp_path, 1)
    assert kept_aside(tmp_path) == []


async def test_a_ledger_of_a_later_version_is_refused(tmp_path: Path) -> None:
    await (await Ledger.open(tmp_path, 1)).aclose()
    with sqlite3.connect(tmp_path / "ocps-1.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="later version: schema 99"):
        await Ledger.open(tmp_path, 1)
    assert kept_aside(tmp_path) == []


async def test_a_row_that_cannot_be_read_is_an_error_of_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    record = make_record()
    other = make_record()
    await ledger.add(record)
    await ledger.add(other)
    await ledger.aclose()
    with sqlite3.connect(tmp_path / "ocps-1.sqlite3") as connection:
        connection.execute("UPDATE runs SET record = '{}' WHERE run_id = ?", (record.run.run_id,))
    connection.close()
    again = await Ledger.open(tmp_path, 1)
    with pytest.raises(LedgerDamagedError, match="a row that cannot be read"):
        await again.unfinished()
    # The others are followed, and each row is complained of once.
    complaints: list[LedgerDamagedError] = []
    for _ in range(2):
        assert await again.unfinished(complaints.append) == [other]
    assert len(complaints) == 1
    await again.aclose()


async def test_a_full_disk_is_an_error_of_the_ledger(ledger: Ledger) -> None:
    record = make_record()
    await ledger.add(record)
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="cannot be used: database or disk is full"):
        await ledger.add(make_record(parameters={"text": "x" * 100_000}))
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    assert await ledger.unfinished() == [record]


async def test_a_disk_that_cannot_be_written_is_said_at_the_start() -> None:
    # No file can be made there, whoever tries.
    with pytest.raises(LedgerError, match=r"ledger lock /sys/ocps-1\.lock cannot be written"):
        await Ledger.open(Path("/sys"), 1)


async def test_a_write_that_the_disk_refuses_is_an_error_of_the_ledger(ledger: Ledger) -> None:
    record = make_record()
    await ledger.add(record)
    ledger._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerError, match="cannot be used: attempt to write a readonly database"):
        await ledger.save(observe(record, CreateIntended()))
    ledger._connection.execute("PRAGMA query_only = OFF")
    await ledger.save(observe(record, CreateIntended()))


async def test_what_the_disk_did_not_take_is_written_when_it_has_room_the_latest_of_each_run(
    ledger: Ledger,
) -> None:
    record = make_record()
    await ledger.add(record)
    asked = observe(record, CreateIntended())
    created = observe(asked, JobCreated(URL, make_job()))
    ledger._connection.execute("PRAGMA query_only = ON")
    saves = [ledger.save(asked), ledger.save(created)]
    for saved in await asyncio.gather(*saves, return_exceptions=True):
        assert isinstance(saved, LedgerError)
    with pytest.raises(LedgerError, match="readonly"):
        await ledger.save_unsaved()
    ledger._connection.execute("PRAGMA query_only = OFF")
    await ledger.save_unsaved()
    assert await ledger.unfinished() == [created]


async def test_a_run_is_found_as_it_is_though_the_disk_has_not_taken_that(ledger: Ledger) -> None:
    record = make_record()
    await ledger.add(record)
    created = observe(observe(record, CreateIntended()), JobCreated(URL, make_job()))
    ledger._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerError):
        await ledger.save(created)
    ledger._connection.execute("PRAGMA query_only = OFF")
    assert await ledger.find(record.run.run_id) == created
    assert await ledger.find_command(record.run.key) == created
    # The same command record once more.
    assert await ledger.add(make_record(key=record.run.key)) == created


async def test_what_the_disk_did_not_take_of_a_caller_who_is_gone_is_written_at_the_end(
    tmp_path: Path,
) -> None:
    ledger = await Ledger.open(tmp_path, 1)
    record = make_record()
    await ledger.add(record)
    asked = observe(record, CreateIntended())
    ledger._connection.execute("PRAGMA query_only = ON")
    saved = ledger.save(asked)
    saved.cancel()
    with pytest.raises(LedgerError, match="readonly"):
        await ledger.save(asked)
    closing = asyncio.create_task(ledger.aclose())
    await asyncio.sleep(0)
    ledger._connection.execute("PRAGMA query_only = OFF")
    await closing
    again = await Ledger.open(tmp_path, 1)
    assert await again.unfinished() == [asked]
    await again.aclose()


async def test_nobody_else_can_read_the_ledger(ledger: Ledger) -> None:
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


async def test_every_commit_waits_for_the_disk(ledger: Ledger) -> None:
    connection = ledger._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize(
    ("kind", "refused"), [("ext4", False), ("nfs4", True), ("cifs", True), ("xfs", False)]
)
async def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver:/x /mnt/my\\040state {kind} rw 0 0\n")
    folder = Path("/mnt/my state/ocps")
    if refused:
        with pytest.raises(LedgerError, match=rf"network file system \({kind}\)"):
            check_file_system(folder, mounts)
    else:
        check_file_system(folder, mounts)
    check_file_system(folder, tmp_path / "absent")


async def test_positions_are_remembered(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path, 1)
    assert await ledger.position("lsst.sal.OCPS.command_run") is None
    await ledger.save_positions({"lsst.sal.OCPS.command_run": 5, "lsst.sal.OCPS.command_execute": 7})
    await ledger.save_positions({"lsst.sal.OCPS.command_run": 6})
    await ledger.aclose()
    ledger = await Ledger.open(tmp_path, 1)
    assert await ledger.position("lsst.sal.OCPS.command_run") == 6
    assert await ledger.position("lsst.sal.OCPS.command_execute") == 7
    await ledger.aclose()


async def test_a_ledger_from_before_positions_gets_them(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path, 1)
    record = make_record()
    await ledger.add(record)
    path = ledger.path
    await ledger.aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE positions")
    connection.close()
    ledger = await Ledger.open(tmp_path, 1)
    assert await ledger.position("topic") is None
    await ledger.save_positions({"topic": 1})
    assert await ledger.position("topic") == 1
    assert await ledger.unfinished() == [record]
    await ledger.aclose()
