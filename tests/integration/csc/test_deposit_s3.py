"""Results of jobs are deposited in S3 and in the large file annex, on a server of its own (fake service)."""

import asyncio
import hashlib
import json
import socket
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from lsst.resources.s3 import S3ResourcePath

from lsst.ts.ocps.csc.deposit_s3 import PrefixStore
from lsst.ts.ocps.csc.outlet import Outlet
from lsst.ts.ocps.salobj import AsyncS3Bucket, SalRetCode, State
from support.csc import TIMEOUT, CscBench, Spy, final_ack
from support.deposits import RESULTS, DepositBench, list_names, start, wait_for_deposit
from support.s3_server import (
    S3_SECRET,
    S3_TOKEN,
    BusyFront,
    list_keys,
    make_bucket,
    read_objects,
    set_credentials,
)

# One worker, one server.
pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("s3")]

NAMES = {"result.json": "result.json", "a/b.fits": "a_b.fits", "empty.txt": "empty.txt"}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


async def test_results_are_below_the_prefix_and_the_manifest_comes_last(
    csc_bench: CscBench, s3_environment: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await make_bucket(f"deposits-{uuid.uuid4().hex}")
    uploaded: list[str] = []
    real = PrefixStore._upload

    async def upload(store: PrefixStore, path: Path, name: str) -> str:
        uploaded.append(name)
        return await real(store, path, name)

    monkeypatch.setattr(PrefixStore, "_upload", upload)
    bench = DepositBench.of(csc_bench, location=f"s3://{bucket.name}/ocps/{{payload}}")
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        deposit = await wait_for_deposit(spy)
        run_id = json.loads(spy.of("job_result")[0].result)["runId"]
        prefix = f"ocps/echo/{run_id}/"
        assert deposit == {"state": "complete", "location": f"s3://{bucket.name}/{prefix}", "message": ""}
        outputs = {output.output_id: output for output in await spy.wait_for("job_output", len(RESULTS))}
    assert uploaded[-1] == "manifest.json"
    assert sorted(await list_keys(bucket)) == sorted(prefix + name for name in uploaded)
    for result_id, content in RESULTS.items():
        assert (await bucket.download(prefix + NAMES[result_id])).getvalue() == content
        output = outputs[result_id]
        assert output.url == f"{deposit['location']}{NAMES[result_id]}"
        assert (output.checksum, output.byte_size) == (hashlib.sha256(content).hexdigest(), len(content))
    manifest = json.loads((await bucket.download(f"{prefix}manifest.json")).getvalue())
    assert {entry["result_id"]: entry["name"] for entry in manifest["files"]} == NAMES
    assert list_names(scratch) == []


@pytest.mark.parametrize(
    "is_stored",
    [
        pytest.param(False, id="refused"),
        pytest.param(True, id="stored, and the answer lost", marks=pytest.mark.system),
    ],
)
async def test_an_object_that_s3_does_not_take_at_once_is_stored_again(
    memory_csc: CscBench,
    s3_environment: str,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_stored: bool,
) -> None:
    bucket = await make_bucket(f"deposits-{uuid.uuid4().hex}")
    tries: Counter[str] = Counter()
    failures = {"a_b.fits": 1, "manifest.json": 2}
    transfer = S3ResourcePath.transfer_from

    def transfer_or_fail(self: S3ResourcePath, *args: Any, **kwargs: Any) -> None:
        name = self.basename()
        tries[name] += 1
        is_busy = tries[name] <= failures.get(name, 0)
        if is_stored or not is_busy:
            transfer(self, *args, **kwargs)
        if is_busy:
            answer: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(answer, "PutObject")

    monkeypatch.setattr(S3ResourcePath, "transfer_from", transfer_or_fail)
    bench = DepositBench.of(memory_csc, location=f"s3://{bucket.name}/ocps")
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        deposit = await wait_for_deposit(spy)
        document = json.loads(spy.of("job_result")[0].result)
        outputs = await spy.wait_for("job_output", len(RESULTS))
    assert (deposit["state"], deposit["message"]) == ("complete", "")
    assert tries == {"result.json": 1, "a_b.fits": 2, "empty.txt": 1, "manifest.json": 3}
    files = await read_objects(bucket, f"ocps/{document['runId']}/")
    manifest = json.loads(files.pop("manifest.json"))
    assert files == {NAMES[result_id]: content for result_id, content in RESULTS.items()}
    assert len(await list_keys(bucket)) == len(RESULTS) + 1
    assert [entry["name"] for entry in manifest["files"]] == list(NAMES.values())
    assert sorted(output.output_id for output in outputs) == sorted(NAMES)
    assert list_names(scratch) == []


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["s3", "lfa"])
async def test_a_server_that_answers_503_twice_gets_each_object_once(
    memory_csc: CscBench, s3_environment: str, scratch: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    instance = uuid.uuid4().hex
    name = f"deposits-{instance}" if scheme == "s3" else AsyncS3Bucket.make_bucket_name(instance)
    bucket = await make_bucket(name)
    async with BusyFront(s3_environment, refusals=2) as front:
        monkeypatch.setenv("S3_ENDPOINT_URL", front.url)
        bench = DepositBench.of(memory_csc, location=f"{scheme}://{name if scheme == 's3' else instance}")
        async with bench.talk() as (_, remote, spy):
            ack = await start(remote)
            assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
            deposit = await wait_for_deposit(spy)
    assert (deposit["state"], deposit["message"]) == ("complete", "")
    assert front.refused == 2
    contents = list((await read_objects(bucket, "")).values())
    assert len(contents) == len(RESULTS) + 1
    assert all(content in contents for content in RESULTS.values())


async def test_a_deposit_that_was_killed_is_completed_at_the_same_place(
    csc_bench: CscBench, s3_environment: str, scratch: Path
) -> None:
    bucket = await make_bucket(f"deposits-{uuid.uuid4().hex}")
    bench = DepositBench.of(csc_bench, location=f"s3://{bucket.name}")
    bench.hold("a/b.fits")
    async with bench.remote() as remote:
        spy = Spy(remote)
        async with bench.csc() as csc:
            await start(remote)
            async with asyncio.timeout(TIMEOUT):
                await bench.reached["a/b.fits"].wait()
            await csc.context.tracker.aclose()
        (only,) = await list_keys(bucket)
        assert only.endswith("/result.json")
        del bench.held["a/b.fits"]
        async with bench.csc(State.STANDBY):
            assert (await wait_for_deposit(spy))["state"] == "complete"
        folder = only.rpartition("/")[0]
        assert len(await list_keys(bucket)) == len(RESULTS) + 1
        assert (await bucket.download(f"{folder}/a_b.fits")).getvalue() == RESULTS["a/b.fits"]


async def test_files_that_could_not_be_announced_are_there_all_the_same(
    csc_bench: CscBench, s3_environment: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = uuid.uuid4().hex
    bucket = await make_bucket(AsyncS3Bucket.make_bucket_name(instance))

    async def write_all(outlet: Outlet, records: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        if records[0][0] == "evt_largeFileObjectAvailable":
            raise ConnectionError("the broker is away")
        for name, fields in records:
            await outlet.write(name, **fields)

    monkeypatch.setattr(Outlet, "write_all", write_all)
    bench = DepositBench.of(csc_bench, location=f"lfa://{instance}", timeout=6.0)
    async with bench.talk() as (_, remote, spy):
        await start(remote)
        deposit = await wait_for_deposit(spy)
    assert deposit["state"] == "complete"
    assert "deposited, but not announced: " in deposit["message"]
    assert len(await list_keys(bucket)) == len(RESULTS) + 1


async def get_failure(csc_bench: CscBench, **deposit: Any) -> str:
    bench = DepositBench.of(csc_bench, **deposit)
    async with bench.talk() as (_, remote, spy):
        ack = await start(remote)
        assert (await final_ack(remote, "run", ack)).ack == SalRetCode.CMD_COMPLETE
        told = await wait_for_deposit(spy)
        assert told["state"] == "failed"
        document = json.loads(spy.of("job_result")[0].result)
        assert document["value"] == {"seeing": 0.7}
        for secret in (S3_SECRET, S3_TOKEN):
            assert secret not in spy.of("job_result")[0].result
    message = told["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("location", ["s3://no-such-bucket-{}/x", "lfa://nosuch{}"])
async def test_a_bucket_that_does_not_exist_fails_the_deposit_only(
    csc_bench: CscBench, s3_environment: str, scratch: Path, location: str
) -> None:
    message = await get_failure(csc_bench, location=location.format(uuid.uuid4().hex))
    assert "NoSuchBucket" in message or "bucket does not exist" in message
    assert list_names(scratch) == []


@pytest.mark.parametrize("location", ["s3://bucket", "lfa://cp"])
async def test_a_server_that_is_down_fails_the_deposit_at_its_deadline(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    set_credentials(monkeypatch)
    with socket.socket() as probe:
        # Bound and not listening: connections are refused for as long as the test runs.
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        message = await get_failure(csc_bench, location=location, timeout=1.0)
    # The last error is told where it came in time, and no time was left to try again.
    assert "no end after 1 s" in message or "Could not connect" in message
    assert "; out of reach since 2" in message


async def test_files_of_the_annex_have_its_names_and_are_announced_when_they_are_there(
    csc_bench: CscBench, s3_environment: str, scratch: Path
) -> None:
    instance = uuid.uuid4().hex
    bucket = await make_bucket(AsyncS3Bucket.make_bucket_name(instance))
    bench = DepositBench.of(csc_bench, location=f"lfa://{instance}")
    async with bench.talk() as (_, remote, spy):
        await start(remote)
        told = [
            await remote.evt_largeFileObjectAvailable.next(flush=False, timeout=TIMEOUT)
            for _ in range(len(RESULTS) + 1)
        ]
        # Whoever hears of one finds all of them.
        keys = await list_keys(bucket)
        assert len(keys) == len(RESULTS) + 1
        deposit = await wait_for_deposit(spy)
        document = json.loads(spy.of("job_result")[0].result)
        outputs = {output.output_id: output for output in await spy.wait_for("job_output", len(RESULTS))}
    root = f"{s3_environment}/{bucket.name}/"
    assert [data.url.removeprefix(root) in keys for data in told] == [True] * len(told)
    last = told[-1]
    assert deposit["state"] == "complete"
    assert last.url.removeprefix(root) == deposit["location"].removeprefix(f"s3://{bucket.name}/")
    start_of_name = f"OCPS:1_echo_{document['runId']}_"
    for data, name in zip(told, [*NAMES.values(), "manifest.json"], strict=True):
        key = data.url.removeprefix(root)
        parts = key.split("/")
        assert parts[:2] == ["OCPS:1", "echo"]
        assert parts[-1] == start_of_name + name
        content = (await bucket.download(key)).getvalue()
        assert data.byteSize == len(content)
        assert data.checkSum == hashlib.sha256(content).hexdigest()
        assert (data.generator, data.version, data.id) == ("echo", 1.0, document["jobId"])
    assert last.mimeType == "application/json"
    for result_id, data in zip(RESULTS, told, strict=False):
        assert outputs[result_id].url == data.url
    assert list_names(scratch) == []
