"""The reporter on a Controller of our runtime, with the in-memory broker and a real ledger."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio
from typing_extensions import override

from lsst.ts.ocps.csc import reporter
from lsst.ts.ocps.csc.errors import LedgerError
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.outlet import NEW_TOPICS, Outlet
from lsst.ts.ocps.csc.records import CommandKey, FinalAck, Report, Reported, RunRecord
from lsst.ts.ocps.csc.reporter import Reporter
from lsst.ts.ocps.csc.results import Metric, RunResults
from lsst.ts.ocps.csc.runs import CreateIntended, CreateRefused, ReportBuilt
from lsst.ts.ocps.csc.texts import dump_json
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.uws.jobs import Result
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT
from support.runs import ended_record, make_job, make_record, with_news

pytestmark = pytest.mark.asyncio


class TalkativeOutlet(Outlet):
    """Writes down what goes out; some writes fail before or after they are done."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fail_before: list[str] = []
        self.fail_after: list[str] = []

    async def _do(self, name: str, details: dict[str, Any], work: Any) -> None:
        if name in self.fail_before:
            self.fail_before.remove(name)
            work.close()
            raise ConnectionError("the broker is away")
        # Other tasks get their chance between any two records.
        await asyncio.sleep(0.001)
        self.calls.append((name, details))
        await work
        if name in self.fail_after:
            self.fail_after.remove(name)
            raise ConnectionError("the answer of the broker was lost")

    @override
    async def write(self, name: str, **fields: Any) -> None:
        await self._do(name, fields, super().write(name, **fields))

    @override
    async def acknowledge(self, command: str, key: Any, **details: Any) -> None:
        told = {"seq_num": key.seq_num} | details
        await self._do("ack", told, super().acknowledge(command, key, **details))

    def of(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self.calls if call[0] in names]


@dataclass
class Bench:
    controller: Controller
    outlet: TalkativeOutlet
    ledger: Ledger
    reporter: Reporter
    ledger_errors: list[LedgerError] = field(default_factory=list)

    async def add(self, record: RunRecord) -> RunRecord:
        assert await self.ledger.add(record) is None
        return record

    async def report(self, record: RunRecord, results: RunResults | None = None) -> RunRecord:
        async with asyncio.timeout(TIMEOUT):
            return await self.reporter.report(record, results or RunResults())


@pytest_asyncio.fixture
async def bench(
    memory_settings: SalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", memory_settings.topic_subname)
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", memory_settings.broker_address)
    monkeypatch.setenv("LSST_SCHEMA_REGISTRY_URL", memory_settings.registry_url)
    ledger = await Ledger.open(tmp_path, 1)
    async with Controller("OCPS", 1) as controller:
        outlet = TalkativeOutlet(controller)
        errors: list[LedgerError] = []
        deaths: list[BaseException] = []
        reporter = Reporter(
            outlet,
            ledger,
            on_ledger_error=errors.append,
            on_death=lambda _name, error: deaths.append(error),
        )
        yield Bench(controller, outlet, ledger, reporter, errors)
        await reporter.aclose()
        assert deaths == []
        # Every write has named every field of our own interface.
        assert outlet.differences == {}
    await ledger.aclose()


async def read_results(bench: Bench) -> Any:
    """The last job_result as a late joiner finds it."""
    async with Remote(bench.controller.domain, "OCPS", 1, include=["job_result"]) as remote:
        return remote.evt_job_result.get()


async def test_result_and_final_ack_of_one_run_are_never_interleaved_with_those_of_another(
    bench: Bench,
) -> None:
    records = [
        await bench.add(ended_record(job=make_job(ExecutionPhase.COMPLETED, job_id=str(n))))
        for n in range(20)
    ]
    await asyncio.gather(*(bench.report(record) for record in records))
    pairs = bench.outlet.of("evt_job_result", "ack")
    assert [name for name, _ in pairs] == ["evt_job_result", "ack"] * 20
    for (_, result), (_, ack) in zip(pairs[::2], pairs[1::2], strict=True):
        assert ack["result"] == result["result"]
    assert await bench.ledger.unfinished() == []


async def test_the_first_ack_and_the_pair_are_half_a_second_apart(bench: Bench) -> None:
    record = await bench.add(ended_record())
    bench.reporter.note_first_ack(record.run.run_id)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await bench.report(record)
    assert loop.time() - began >= 0.5
    began = loop.time()
    detached = await bench.add(ended_record(detach=True))
    bench.reporter.note_first_ack(detached.run.run_id)
    await bench.report(detached)
    assert [name for name, _ in bench.outlet.of("evt_job_result", "ack")] == [
        "evt_job_result",
        "ack",
        "evt_job_result",
    ]


async def test_the_row_is_at_reporting_while_the_pair_goes_out(bench: Bench) -> None:
    record = await bench.add(ended_record())
    steps = []
    write = bench.outlet.write

    async def look(name: str, **fields: Any) -> None:
        found = await bench.ledger.find(record.run.run_id)
        steps.append((name, found and found.state.step))
        await write(name, **fields)

    bench.outlet.write = look  # type: ignore[method-assign]
    reported = await bench.report(record)
    assert ("evt_job_result", "reporting") in steps
    assert isinstance(reported.state, Reported)
    assert await bench.ledger.find(record.run.run_id) == reported


async def test_outputs_and_metrics_come_before_the_result(bench: Bench) -> None:
    job = make_job(
        ExecutionPhase.COMPLETED,
        results=(Result("a.fits", "http://x/a", 12, "image/fits", "ab" * 32), Result("b")),
    )
    record = await bench.add(ended_record(job=job))
    await bench.report(record, RunResults({"v": 1}, (Metric("noise", 1.5, "adu", {"amp": 1}),)))
    assert [name for name, _ in bench.outlet.calls] == [
        "evt_job_output",
        "evt_job_output",
        "evt_job_metric",
        "evt_job_result",
        "ack",
    ]
    (_, first), (_, second), (_, metric), (_, result), _ = bench.outlet.calls
    assert first == {
        "job_id": "7",
        "output_id": "a.fits",
        "url": "http://x/a",
        "mime_type": "image/fits",
        "checksum": "ab" * 32,
        "byte_size": 12,
    }
    assert (second["url"], second["byte_size"]) == ("", -1)
    assert (metric["metric_name"], metric["value"], metric["tags"]) == ("noise", 1.5, '{"amp":1}')
    assert json.loads(result["result"])["value"] == {"v": 1}


async def test_fields_that_only_we_or_only_the_interface_has_are_named_once_and_stop_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.outlet.write("evt_job_result", job_id="1", exit_code=7, result="{}")
    assert bench.outlet.differences == {}
    for job_id in ("2", "3"):
        await bench.outlet.write("evt_job_result", job_id=job_id, result="{}", colour="red")
    last = bench.controller.evt_job_result.data
    # Nothing is inherited from the record before.
    assert (last.job_id, last.exit_code, last.result) == ("3", 0, "{}")
    assert bench.outlet.differences == {"evt_job_result": ("colour", "exit_code")}
    assert caplog.text.count("another version of a topic") == 1
    bench.outlet.differences.clear()


async def test_what_the_interface_lacks_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    bare = SimpleNamespace(cmd_execute=None, evt_job_result=None)
    outlet = Outlet(bare)  # type: ignore[arg-type]
    outlet.log_missing()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert all(name in record.getMessage() for name in NEW_TOPICS)
    await outlet.write("evt_job_phase", job_id="1")


async def test_two_equal_results_are_two_records(bench: Bench) -> None:
    async with Remote(bench.controller.domain, "OCPS", 1, include=["job_result"]) as remote:
        for _ in range(2):
            await bench.outlet.write("evt_job_result", job_id="1", exit_code=0, result="{}")
        for _ in range(2):
            assert (await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)).job_id == "1"


async def test_a_topic_that_the_interface_lacks_is_skipped_in_silence(bench: Bench) -> None:
    for name in ("evt_job_phase", "evt_job_id", "evt_active_jobs", "cmd_run"):
        delattr(bench.controller, name)
    record = await bench.add(ended_record())
    await bench.reporter.publish_job(record)
    await bench.reporter.publish_phase(record)
    assert isinstance((await bench.report(record)).state, Reported)
    assert (await read_results(bench)).job_id == "7"


def left_at_reporting(text: str = '{"jobId":"7"}') -> RunRecord:
    report = Report(FinalAck.COMPLETE, text, exit_code=0, result=text)
    return with_news(ended_record(), ReportBuilt(report))


async def test_a_row_left_at_reporting_whose_result_is_out_gets_only_its_ack(bench: Bench) -> None:
    record = await bench.add(left_at_reporting())
    await bench.outlet.write("evt_job_result", job_id="7", exit_code=0, result='{"jobId":"7"}')
    bench.outlet.calls.clear()
    reported = await bench.report(record)
    assert [name for name, _ in bench.outlet.calls] == ["ack"]
    assert bench.outlet.calls[0][1]["ack"] == SalRetCode.CMD_COMPLETE
    assert isinstance(reported.state, Reported)


@pytest.mark.parametrize("last", [None, ("7", '{"jobId":"7","phase":"ERROR"}'), ("8", '{"jobId":"7"}')])
async def test_a_row_left_at_reporting_whose_result_is_not_out_gets_both(
    bench: Bench, last: tuple[str, str] | None
) -> None:
    record = await bench.add(left_at_reporting())
    if last is not None:
        await bench.outlet.write("evt_job_result", job_id=last[0], exit_code=0, result=last[1])
        bench.outlet.calls.clear()
    await bench.report(record)
    assert [name for name, _ in bench.outlet.calls] == ["evt_job_result", "ack"]
    assert (await read_results(bench)).result == '{"jobId":"7"}'


async def test_a_run_whose_result_is_out_though_the_ledger_does_not_know_gets_only_its_ack(
    bench: Bench,
) -> None:
    records = [await bench.add(with_news(make_record(), CreateIntended())) for _ in range(2)]
    result = dump_json({"jobId": "7", "runId": records[0].run.run_id, "phase": "COMPLETED"})
    for text in (result, "nonsense", "[]", "{}"):
        await bench.outlet.write("evt_job_result", job_id="7", exit_code=0, result=text)
    bench.outlet.calls.clear()
    known, unknown = await bench.reporter.recall(records)
    assert (unknown, (await bench.report(known)).state.step) == (records[1], "reported")
    told = [(name, ack["ack"], ack["result"]) for name, ack in bench.outlet.calls]
    assert told == [("ack", SalRetCode.CMD_COMPLETE, result)]


async def test_runs_are_as_the_ledger_has_them_if_nobody_tells(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bench.outlet, "read_results", AsyncMock(side_effect=ConnectionError("away")))
    monkeypatch.setattr(reporter, "_RECALL_TIME", 0.3)
    assert await bench.reporter.recall([record := await bench.add(make_record())]) == [record]
    assert "what was told before cannot be read" in caplog.text


async def test_a_rejected_command_is_told_after_its_ack(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "MIN_ACK_GAP", TIMEOUT)
    record = await bench.add(with_news(make_record(), CreateIntended(), CreateRefused("no")))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.reporter.settle_rejected(record), 0.2)
    assert [row.state.step for row in await bench.ledger.unfinished()] == ["reporting"]


async def test_a_result_whose_write_failed_is_written_again(bench: Bench) -> None:
    record = await bench.add(ended_record())
    bench.outlet.fail_before = ["evt_job_result", "ack"]
    await bench.report(record)
    assert [name for name, _ in bench.outlet.calls] == ["evt_job_result", "ack"]


async def test_a_result_whose_answer_was_lost_is_not_written_twice(bench: Bench) -> None:
    record = await bench.add(ended_record())
    bench.outlet.fail_after = ["evt_job_result"]
    await bench.report(record)
    assert [name for name, _ in bench.outlet.calls] == ["evt_job_result", "ack"]


async def test_news_that_cannot_be_written_do_not_stop_a_run(bench: Bench) -> None:
    record = await bench.add(ended_record())
    bench.outlet.fail_before = ["evt_job_id", "evt_job_phase"]
    await bench.reporter.publish_job(record)
    await bench.reporter.publish_phase(record)
    assert isinstance((await bench.report(record)).state, Reported)


async def test_cancelling_the_caller_does_not_tear_the_pair_apart(bench: Bench) -> None:
    record = await bench.add(ended_record())
    written = asyncio.Event()
    write = bench.outlet.write

    async def slow(name: str, **fields: Any) -> None:
        await write(name, **fields)
        written.set()
        await asyncio.sleep(0.1)

    bench.outlet.write = slow  # type: ignore[method-assign]
    task = asyncio.create_task(bench.report(record))
    await asyncio.wait_for(written.wait(), TIMEOUT)
    task.cancel()
    await asyncio.wait([task])
    await bench.reporter.aclose()
    assert [name for name, _ in bench.outlet.calls] == ["evt_job_result", "ack"]
    assert await bench.ledger.unfinished() == []


async def test_runs_are_reported_from_memory_when_the_ledger_fails(bench: Bench) -> None:
    record = await bench.add(ended_record())
    bench.ledger._connection.execute("PRAGMA query_only = ON")
    reported = await bench.report(record)
    assert isinstance(reported.state, Reported)
    assert [name for name, _ in bench.outlet.calls] == ["evt_job_result", "ack"]
    assert len(bench.ledger_errors) == 2
    bench.ledger._connection.execute("PRAGMA query_only = OFF")


async def test_a_rejected_command_left_behind_gets_one_failed_ack_and_no_result(bench: Bench) -> None:
    record = with_news(make_record(), CreateIntended(), CreateRefused("the back end is down"))
    await bench.add(record)
    await bench.report(record)
    ((name, ack),) = bench.outlet.calls
    assert (name, ack["ack"], ack["result"]) == ("ack", SalRetCode.CMD_FAILED, "Failed: the back end is down")


async def test_nothing_is_remembered_of_a_rejected_command(bench: Bench) -> None:
    record = await bench.add(with_news(make_record(), CreateIntended(), CreateRefused("no place")))
    bench.reporter.note_first_ack(record.run.run_id)
    record = await bench.reporter.settle_rejected(record)
    assert isinstance(record.state, Reported)
    assert bench.reporter._acked_at == {}


async def test_an_ack_reaches_the_sender_of_a_stored_command(bench: Bench) -> None:
    domain = bench.controller.domain
    async with Remote(domain, "OCPS", 1, include=[]) as remote:
        sending = asyncio.create_task(
            remote.cmd_run.set_start(payload="echo", wait_done=False, timeout=TIMEOUT)
        )
        data = await bench.controller.cmd_run.next(timeout=TIMEOUT)
        key = CommandKey.of(data)
        record = await bench.add(ended_record(key=key))
        await bench.reporter.acknowledge(record)
        ack = await sending
        assert (ack.ack, json.loads(ack.result), ack.timeout) == (
            SalRetCode.CMD_INPROGRESS,
            {"job_id": "7"},
            600,
        )


async def test_active_jobs_are_told_at_the_start_and_at_every_change(bench: Bench) -> None:
    records: list[RunRecord] = []
    async with Remote(bench.controller.domain, "OCPS", 1, include=["active_jobs"]) as remote:
        bench.reporter.start(lambda: records)
        event = remote.evt_active_jobs
        assert (await event.next(flush=False, timeout=TIMEOUT)).jobs == "[]"
        records.append(ended_record(label="x"))
        bench.reporter.note_change()
        (entry,) = json.loads((await event.next(flush=False, timeout=TIMEOUT)).jobs)
        assert entry.keys() == {"run_id", "job_id", "payload", "phase", "requester", "start_time"}
        assert (entry["job_id"], entry["requester"]) == ("7", "tester@host")
