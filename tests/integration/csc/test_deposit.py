"""Results of jobs are deposited in a folder; whatever goes wrong there loses no result (fake service)."""

import asyncio
import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.csc.deposit_directory import DirectoryStore
from lsst.ts.ocps.salobj import SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack
from support.deposits import RESULTS, DepositBench, find_sets, list_names, start, wait_for_deposit

pytestmark = pytest.mark.asyncio
COMPLETE = SalRetCode.CMD_COMPLETE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "deposits"
    folder.mkdir()
    return folder


def list_remains(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() or "partial" in path.name]


async def test_results_are_where_job_result_and_job_output_say(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=f"{root}/{{payload}}/{{index}}")
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote, label="night", parameters='{"secret": "planted"}')
        final = await final_ack(remote, "run", ack)
        assert final.ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        document = json.loads(result.result)
        assert final.result == result.result
        folder = root / "echo" / "1" / document["runId"]
        assert document["deposit"] == {"state": "complete", "location": f"{folder.as_uri()}/", "message": ""}
        assert document["value"] == {"seeing": 0.7}
        outputs = {output.output_id: output for output in await spy.wait_for("job_output", len(RESULTS))}
    names = {"result.json": "result.json", "a/b.fits": "a_b.fits", "empty.txt": "empty.txt"}
    for result_id, content in RESULTS.items():
        path = folder / names[result_id]
        assert path.read_bytes() == content
        output = outputs[result_id]
        assert output.url == path.as_uri()
        assert output.checksum == hashlib.sha256(content).hexdigest()
        assert output.byte_size == len(content)
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    assert {entry["result_id"]: entry["name"] for entry in manifest["files"]} == names
    assert (manifest["run_id"], manifest["label"]) == (document["runId"], "night")
    assert manifest["versions"]["backend"] == "1.1"
    assert manifest["phase"] == "COMPLETED"
    # What is secret is hidden from the world, and from this file.
    assert "planted" not in text
    assert list_names(folder.parent) == [folder.name]


async def test_a_run_is_deposited_only_if_it_is_wanted_and_has_completed(
    csc_bench: CscBench, root: Path
) -> None:
    bench = DepositBench.of(csc_bench, enabled=False, location=str(root))
    async with bench.talk() as (_, remote, spy):
        await start(remote)
        (result,) = await spy.wait_for("job_result")
        assert json.loads(result.result)["deposit"] is None
    bench = DepositBench.of(csc_bench, location=str(root))
    bench.on_end(ExecutionPhase.ERROR)
    async with bench.talk() as (_, remote, spy):
        await start(remote)
        # The last one of the earlier CSC may be read first, as by any late joiner.
        await eventually(lambda: any(each.exit_code == 1 for each in spy.of("job_result")))
        assert json.loads(spy.of("job_result")[-1].result)["deposit"] is None
    assert list_names(root) == []
    assert not any(call.startswith("download") for call in bench.service.calls)


async def fail(bench: DepositBench, root: Path, reason: str) -> None:
    """The run ends as if nothing had happened, says why the deposit failed, and nothing is left."""
    async with bench.talk() as (csc, remote, spy):
        ack = await start(remote)
        final = await final_ack(remote, "run", ack)
        deposit_ = await wait_for_deposit(spy)
        assert deposit_["state"] == "failed"
        assert reason in deposit_["message"]
        (result,) = spy.of("job_result")
        assert (final.ack, result.exit_code) == (COMPLETE, 0)
        document = json.loads(result.result)
        assert document["value"] == {"seeing": 0.7}
        assert len(document["results"]) == len(RESULTS)
        # The back end still has them.
        outputs = await spy.wait_for("job_output", len(RESULTS))
        assert {output.checksum for output in outputs} == {""}
        assert csc.summary_state is State.ENABLED
        await eventually(lambda: not csc.context.tracker._followers)
        assert await csc.context.ledger.unfinished() == []
    assert find_sets(root) == []
    assert list_remains(root) == []


async def test_a_result_that_is_too_large_fails_the_deposit_only(csc_bench: CscBench, root: Path) -> None:
    await fail(DepositBench.of(csc_bench, location=str(root), max_file_bytes=100), root, "100 are allowed")


async def test_a_result_larger_than_told_is_noticed_while_it_comes(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=str(root), max_file_bytes=100)
    bench.service.tells_sizes = False
    await fail(bench, root, "larger than 100 bytes")


async def test_a_volume_that_is_not_mounted_fails_the_deposit_only(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=f"{root}/absent/{{day}}")
    await fail(bench, root, "is the volume mounted?")
    assert list_names(root) == []


async def test_a_read_only_place_fails_the_deposit_only(csc_bench: CscBench, root: Path) -> None:
    await fail(DepositBench.of(csc_bench, location="/sys"), root, "/sys/")


async def test_a_full_disk_fails_the_deposit_only(
    csc_bench: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scratch(_store: DirectoryStore, _name: str) -> Path:
        return Path("/dev/full")

    monkeypatch.setattr(DirectoryStore, "scratch", scratch)
    bench = DepositBench.of(csc_bench, location=str(root))
    await fail(bench, root, "No space left on device")


async def test_a_deposit_ends_at_its_deadline_and_nothing_is_left(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=str(root), timeout=1.0)
    bench.hold("a/b.fits")
    await fail(bench, root, "no end after 1 s")


async def test_a_bug_in_a_deposit_loses_no_result(
    csc_bench: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin(_store: DirectoryStore) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(DirectoryStore, "begin", begin)
    await fail(DepositBench.of(csc_bench, location=str(root)), root, "a bug")


async def test_a_back_end_that_is_away_for_a_moment_is_asked_again(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    bench.hold("result.json")
    async with bench.talk() as (_, remote, spy):
        await start(remote)
        async with asyncio.timeout(TIMEOUT):
            await bench.reached["result.json"].wait()
        bench.service.fail("fetch", *(BackendUnavailableError("fake", "away") for _ in range(3)))
        bench.held["result.json"].set()
        assert (await wait_for_deposit(spy))["state"] == "complete"
    assert bench.service.calls["download a/b.fits"] + bench.service.calls["download empty.txt"] == 2 + 3
    (folder,) = find_sets(root)
    assert (folder / "a_b.fits").read_bytes() == RESULTS["a/b.fits"]


@pytest.mark.parametrize(
    "failures",
    [{1, 2}, {4, 5}, {5, 7}, {6, 7}],
    ids=["a file", "the manifest", "the folder of the set", "the folder that it is renamed in"],
)
async def test_a_network_volume_that_is_away_for_a_moment_is_written_again(
    memory_csc: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch, failures: set[int]
) -> None:
    calls = 0
    sync = os.fsync

    def sync_or_fail(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls in failures:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        sync(descriptor)

    bench = DepositBench.of(memory_csc, location=str(root))
    async with bench.talk() as (_, remote, spy):
        monkeypatch.setattr(os, "fsync", sync_or_fail)
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        deposit = await wait_for_deposit(spy)
    (folder,) = find_sets(root)
    assert deposit == {"state": "complete", "location": f"{folder.as_uri()}/", "message": ""}
    assert calls > max(failures)
    assert list_names(folder) == ["a_b.fits", "empty.txt", "manifest.json", "result.json"]
    assert (folder / "a_b.fits").read_bytes() == RESULTS["a/b.fits"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["files"]] == ["result.json", "a_b.fits", "empty.txt"]
    assert list_names(root) == [folder.name]


async def test_one_deposit_holds_up_no_other_run_and_its_own_sender_is_told(
    csc_bench: CscBench, root: Path
) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    bench.hold("a/b.fits")
    async with bench.talk() as (_, remote, spy):
        # This payload says that it takes half a second, so that its sender would wait no longer than that.
        slow = await start(remote, payload="short")
        async with asyncio.timeout(TIMEOUT):
            await bench.reached["a/b.fits"].wait()
        held = bench.held.pop("a/b.fits")
        quick = await start(remote, payload="echo")
        assert (await final_ack(remote, "run", quick)).ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        assert result.job_id == json.loads(quick.result)["job_id"]
        again = await remote.cmd_run.next_ackcmd(slow, timeout=TIMEOUT, wait_done=False)
        assert again.ack == SalRetCode.CMD_INPROGRESS
        held.set()
        assert (await final_ack(remote, "run", slow)).ack == COMPLETE
        await spy.wait_for("job_result", 2)
    assert len(find_sets(root)) == 2


async def test_the_next_run_of_a_payload_need_not_wait_for_the_deposit(
    csc_bench: CscBench, root: Path
) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    bench.hold("a/b.fits")
    async with bench.talk() as (_, remote, spy):
        await start(remote, payload="narrow")
        async with asyncio.timeout(TIMEOUT):
            await bench.reached["a/b.fits"].wait()
        held = bench.held.pop("a/b.fits")
        await start(remote, payload="narrow")
        await spy.wait_for("job_result")
        held.set()
        await spy.wait_for("job_result", 2)
    assert len(find_sets(root)) == 2


async def start_and_kill(bench: DepositBench, spy: Spy, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CSC that ends as if it were killed while it writes the second file: it cleans nothing up."""

    async def discard(_store: DirectoryStore) -> None:
        pass

    bench.hold("a/b.fits")
    async with bench.csc() as csc, bench.remote() as remote:
        await start(remote)
        async with asyncio.timeout(TIMEOUT):
            await bench.reached["a/b.fits"].wait()
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryStore, "discard", discard)
            await csc.context.tracker.aclose()
    del bench.held["a/b.fits"]
    assert spy.of("job_result") == []
    assert find_sets(root) == []
    (partial,) = list_names(root)
    assert list_names(root / partial) == ["a_b.fits", "result.json"]


async def test_a_deposit_that_was_killed_is_done_by_the_next_life_at_the_same_place(
    csc_bench: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    async with bench.remote() as remote:
        spy = Spy(remote)
        await start_and_kill(bench, spy, root, monkeypatch)
        # The configuration of today is not that of the run.
        DepositBench.of(csc_bench, enabled=False)
        async with bench.csc(State.STANDBY):
            assert (await wait_for_deposit(spy))["state"] == "complete"
            (result,) = spy.of("job_result")
    (folder,) = find_sets(root)
    assert folder == root / json.loads(result.result)["runId"]
    assert (folder / "a_b.fits").read_bytes() == RESULTS["a/b.fits"]
    assert list_names(root) == [folder.name]


async def test_a_csc_that_stops_in_the_middle_cleans_up(csc_bench: CscBench, root: Path) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    bench.hold("a/b.fits")
    async with bench.csc() as csc, bench.remote() as remote:
        await start(remote)
        async with asyncio.timeout(TIMEOUT):
            await bench.reached["a/b.fits"].wait()
        await csc.close()
    assert list_remains(root) == []


async def test_a_complete_set_of_an_earlier_life_is_reported_and_not_made_again(
    csc_bench: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = DepositBench.of(csc_bench, location=str(root))
    async with bench.remote() as remote:
        spy = Spy(remote)
        stuck = asyncio.Event()
        with monkeypatch.context() as patch:
            real = DirectoryStore.commit

            async def commit_and_hang(store: DirectoryStore, manifest: bytes) -> None:
                await real(store, manifest)
                stuck.set()
                await asyncio.Event().wait()

            patch.setattr(DirectoryStore, "commit", commit_and_hang)
            async with bench.csc() as csc:
                await start(remote)
                async with asyncio.timeout(TIMEOUT):
                    await stuck.wait()
                await csc.context.tracker.aclose()
        (folder,) = find_sets(root)
        before = (folder / "manifest.json").stat()
        downloads = {name: count for name, count in bench.service.calls.items() if "download" in name}
        async with bench.csc(State.STANDBY):
            assert (await wait_for_deposit(spy))["state"] == "complete"
            outputs = await spy.wait_for("job_output", len(RESULTS))
    assert (folder / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns
    assert downloads == {name: count for name, count in bench.service.calls.items() if "download" in name}
    (fits,) = (output for output in outputs if output.output_id == "a/b.fits")
    assert fits.checksum == hashlib.sha256(RESULTS["a/b.fits"]).hexdigest()
