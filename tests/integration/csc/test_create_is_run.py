"""Where creating a job starts it (design section 6, point 5): nothing is asked for twice, nothing lost."""

import asyncio
import json
from typing import Any

import pytest

from lsst.ts.ocps.client.base import ShellJob, Submission
from lsst.ts.ocps.client.settings import ApiServerSettings
from lsst.ts.ocps.csc import runs
from lsst.ts.ocps.csc.backends import to_stored_settings
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.records import CommandKey, RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, observe
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import SalRetCode, State
from support.api_server_double import ApiServerDouble
from support.csc import TIMEOUT, eventually
from support.http_server import drop, status
from support.runs import make_run
from support.sal_log import read_samples
from support.served_csc import ServedBench, start

pytestmark = pytest.mark.asyncio

COMPLETE, FAILED, ABORTED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED, SalRetCode.CMD_ABORTED
KIND = "api_server"


async def test_execute_sends_the_deployed_job_and_reports_its_end(served_bench: ServedBench) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        query = "instrument='LATISS' AND exposure IN (2024031300001..2024031300005)"
        ack = await start(
            served.remote,
            "execute",
            pipeline="${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml",
            version="",
            config="-j 8 -i a,b  --register-dataset-types ",
            data_query=query,
        )
        assert ack.ack == SalRetCode.CMD_INPROGRESS
        (put,) = server.sent("PUT")
        body = json.loads(put.body)
        assert body.pop("run_id").startswith("ocps-test-1-")
        assert body == {
            "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
            "url": "https://github.com/lsst-dm/uws_scripts",
            "commit_ref": "main",
            "environment": [
                {"name": "IMAGE_TAG", "value": ""},
                {"name": "PIPELINE_URL", "value": "${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml"},
                {"name": "BUTLER_REPO", "value": "LATISS"},
                {"name": "RUN_OPTIONS", "value": "-i LATISS/defaults -j 8 -i a,b  --register-dataset-types "},
                {"name": "OUTPUT_GLOB", "value": "*"},
                {"name": "DATA_QUERY", "value": query},
            ],
        }
        final = await served.end(ack, "execute")
        assert (final.ack, final.result) == (COMPLETE, "Done")
        (result,) = await served.spy.wait_for("job_result")
        (job_id,) = server.jobs
        document = json.loads(result.result)
        assert (document["jobId"], document["phase"]) == (job_id, "COMPLETED")
        assert {one["id"] for one in document["results"]} == {"result.json", "log.txt"}


async def test_a_value_that_the_server_would_change_is_refused_by_name_at_once(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        ack = await start(served.remote, "execute", pipeline="p.yaml", data_query='physical_filter = "r"')
        assert ack.ack == FAILED
        assert "back end served: cannot be sent: DATA_QUERY: holds a double quote" in ack.result
        ack = await start(served.remote, payload="echo")
        assert "payload echo has no section api_server" in ack.result
        assert server.sent("PUT") == []
        assert served.spy.of("job_result") == []


@pytest.mark.parametrize("how", ["timeout", "connection"])
async def test_defect_17_a_job_whose_answer_was_lost_is_found_by_its_run_id(
    served_bench: ServedBench, how: str
) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        assert isinstance(server, ApiServerDouble)
        if how == "timeout":
            server.loses_answers = 1
        else:

            async def create_and_drop(request: Any) -> Any:
                await server.answer(request)
                return await drop()(request)

            server.misbehave("PUT", "/job", create_and_drop)
        ack = await served.sleep(duration=0.2)
        (job_id,) = server.jobs
        assert (ack.ack, json.loads(ack.result)) == (SalRetCode.CMD_INPROGRESS, {"job_id": job_id})
        assert (await served.end(ack)).ack == COMPLETE
        assert len(server.sent("PUT")) == 1


async def test_a_job_that_is_not_found_is_not_asked_for_again(served_bench: ServedBench) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        server.misbehave("PUT", "/job", status(500, "the cluster is away"))
        ack = await served.sleep()
        assert ack.ack == FAILED
        assert "outcome unknown, not resubmitted: back end served: PUT http://" in ack.result
        assert "500 Internal Server Error: 'the cluster is away'" in ack.result
        (result,) = await served.spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["phase"]) == (1, "UNKNOWN")
        assert len(server.sent("PUT")) == 1
        assert server.sent("DELETE") == []


async def read_acks(count: int) -> list[tuple[int, str]]:
    """All acknowledgements, when there are so many."""
    acks = await read_samples(SalSettings.from_environment(), "OCPS", "ack_ackcmd", count=count)
    return [(each["ack"], each["result"]) for each in acks]


@pytest.mark.parametrize("exists", [True, False])
async def test_a_csc_that_died_while_it_asked_for_a_job_looks_for_it(
    served_bench: ServedBench, exists: bool
) -> None:
    async with served_bench.serve(KIND) as server:
        assert isinstance(server, ApiServerDouble)
        settings = ApiServerSettings(url=server.base)
        run = make_run(
            key=CommandKey("somebody", 1, 1, 1.0),
            payload="sleep",
            backend=to_stored_settings("served", settings),
            creates_pending=False,
        )
        backend = await served_bench.open_backend("served", settings)
        run_id = run.run_id if exists else "another"
        await backend.create(Submission("sleep", run_id, shell=ShellJob("run")))
        await backend.aclose()
        await eventually(lambda: {job.phase for job in server.jobs.values()} == {"completed"})
        ledger = await Ledger.open(served_bench.state_dir, 1)
        assert await ledger.add(observe(RunRecord(run), CreateIntended())) is None
        await ledger.aclose()
        async with served_bench.csc(State.STANDBY), served_bench.remote() as remote:
            result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
            acks = await read_acks(2 if exists else 1)
        assert result.exit_code == (0 if exists else 1)
        assert len(server.sent("PUT")) == 1
        if exists:
            # Which job it is was told to nobody before, and is told though it has ended.
            (job_id,) = server.jobs
            first, final = acks
            assert (first[0], json.loads(first[1])) == (SalRetCode.CMD_INPROGRESS, {"job_id": job_id})
            assert final == (COMPLETE, result.result)
        else:
            assert [ack for ack, _ in acks] == [FAILED]


async def test_defect_16_an_abort_deletes_the_job_and_the_command_is_aborted(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        ack = await served.sleep(duration=60)
        (job_id,) = server.jobs
        done = await served.remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        assert done.ack == COMPLETE
        assert (await served.end(ack)).ack == ABORTED
        (result,) = await served.spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["jobId"]) == (255, job_id)
        assert server.jobs == {}
        assert len(server.sent("DELETE")) == 1


async def test_defect_14_a_job_that_the_server_forgets_as_it_ends_is_reported_all_the_same(
    served_bench: ServedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MISSING_AFTER", 0.5)
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        ack, other = await served.sleep(duration=60), await served.sleep(duration=60)
        job_id = json.loads(ack.result)["job_id"]
        # Kubernetes removes it; that it had completed cannot be known any more.
        del server.jobs[job_id]
        final = await served.end(ack)
        assert final.ack == FAILED
        assert "does not know the job" in final.result
        (result,) = await served.spy.wait_for("job_result")
        document = json.loads(result.result)
        assert (result.exit_code, document["jobId"], document["phase"]) == (1, job_id, "UNKNOWN")
        assert document["errorSummary"]["message"] in final.result
        # It is no trouble of the back end, and no other job's.
        assert served.csc.summary_state is State.ENABLED
        assert json.loads(other.result)["job_id"] in server.jobs


async def test_defect_15_a_job_that_has_ended_keeps_its_files(served_bench: ServedBench) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        ack = await served.sleep()
        await served.end(ack)
        (job_id,) = server.jobs
        with pytest.raises(Exception, match="has ended as COMPLETED: nothing to abort"):
            await served.remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        assert server.sent("DELETE") == []


async def test_rule_1_a_waiting_run_gets_no_ack_until_its_job_exists_and_is_aborted_by_its_run_id(
    served_bench: ServedBench,
) -> None:
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        first = await served.sleep(duration=60)
        (job_id,) = server.jobs
        remote = served.remote
        remote.cmd_run.set(payload="sleep", parameters="", prereq_jobs=job_id)
        waiting = remote.cmd_run.start(wait_done=False, timeout=TIMEOUT)
        task = asyncio.create_task(waiting)

        def without_job() -> list[Any]:
            return [event for event in served.spy.of("job_phase") if event.job_id == ""]

        await eventually(lambda: len(without_job()) == 2)
        event = without_job()[-1]
        assert event.phase == "PENDING"
        assert not task.done()
        done = await remote.cmd_abort_job.set_start(job_id=event.run_id, timeout=TIMEOUT)
        assert done.ack == COMPLETE
        with pytest.raises(Exception, match="Aborted"):
            await task
        assert len(server.sent("PUT")) == 1
        await remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        assert (await served.end(first)).ack == ABORTED


async def test_an_abort_while_the_answer_is_lost_ends_the_job_that_nobody_has_seen(
    served_bench: ServedBench,
) -> None:
    served_bench.be_patient(lookup=20.0)
    async with served_bench.serve(KIND) as server, served_bench.running() as served:
        assert isinstance(server, ApiServerDouble)
        server.loses_answers = 1
        # The list does not show the job for a while, as after a slow creation.
        server.misbehave("GET", "/job", *(status(500, "busy") for _ in range(3)))
        await served.sleep(duration=60)
        (job_id,) = server.jobs
        await served.remote.cmd_abort_job.set_start(job_id=job_id, timeout=TIMEOUT)
        assert server.jobs == {}
