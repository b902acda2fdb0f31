"""What a back end can do to the CSC: never stop its heartbeats, never lose a job, never go unnamed."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.salobj import SalRetCode, State, current_tai
from support.api_server_double import ApiServerDouble, DoubleJob, json_reply
from support.csc import TIMEOUT, eventually
from support.http_server import Behaviour, Reply, Request, html, redirect, status, text
from support.served_csc import KINDS, SOME_KINDS, ServedBench, dead_url, url_of
from support.uws_server import UwsServer, _Job

pytestmark = pytest.mark.asyncio

COMPLETE, FAILED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED
AnyServer = UwsServer | ApiServerDouble


def about_another_job(server: AnyServer) -> Behaviour:
    """A good answer to another question."""
    if isinstance(server, UwsServer):
        reply = Reply(body=server._document(_Job("999", "sleep", [])).encode())
    else:
        reply = json_reply(server._describe(DoubleJob("999", "r", "run", [])))

    async def behave(request: Request) -> Reply | None:
        # The probes, and the phase, which has no id in it, are answered as ever.
        is_job = request.path.rpartition("/")[2] in server.jobs
        return reply if is_job and request.method == "GET" else None

    return behave


def truncated(server: AnyServer) -> Behaviour:
    """The beginning of a good answer."""

    async def behave(request: Request) -> Reply:
        whole = await server.answer(request)
        return Reply(body=whole.body[: len(whole.body) // 2], kind=whole.kind)

    return behave


TROUBLES: dict[str, tuple[Callable[[AnyServer], Behaviour], str | dict[str, str]]] = {
    "500": (lambda _: status(500, "the disk is full"), "500 Internal Server Error: 'the disk is full'"),
    "503": (lambda _: status(503, "maintenance"), "503 Service Unavailable: 'maintenance'"),
    "html": (lambda _: html("Apache2 Default Page"), "Apache2 Default Page"),
    "nothing": (
        lambda _: text(""),
        {
            "uws": "200 OK: the job document is not XML: an empty answer",
            "api_server": "200 OK: no JSON: nothing",
        },
    ),
    "truncated": (
        truncated,
        {"uws": "not well-formed XML (no element found", "api_server": "200 OK: no JSON: '\"exec'"},
    ),
    "wrong job": (about_another_job, "job '999'"),
    "login": (lambda _: redirect("/sso/login?next=/"), "redirected to a login page"),
    "elsewhere": (
        lambda _: redirect("https://idp.example/x"),
        "redirected to another host, https://idp.example/x",
    ),
}


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS)
async def test_defect_02_a_back_end_that_takes_2_s_for_each_answer(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        server.delay = 2.0
        sending = asyncio.create_task(served.sleep())
        await server.received(1)
        # Neither heartbeats nor another command wait for the answer.
        await served.pulse.goes_on()
        await served.remote.cmd_setLogLevel.set_start(level=20, timeout=TIMEOUT)
        ack = await sending
        assert ack.ack == SalRetCode.CMD_INPROGRESS
        await served.pulse.goes_on()
        assert (await served.end(ack)).ack == COMPLETE


@pytest.mark.parametrize("kind", KINDS)
async def test_a_back_end_that_is_down_at_submit(served_bench: ServedBench, kind: str) -> None:
    with dead_url() as url:
        served_bench.configure(kind, url, create_timeout=0.5)
        async with served_bench.running() as served:
            ack = await served.sleep()
            assert ack.ack == FAILED
            assert f"back end served: {'POST' if kind == 'uws' else 'PUT'} {url}" in ack.result
            assert "no connection: Connection refused" in ack.result
            await served.pulse.goes_on()
            assert served.csc.summary_state is State.ENABLED
            assert served.spy.of("job_result") == []


def missed_probes(server: AnyServer) -> list[Request]:
    """The questions whether it is there that came while it was not."""
    ending = "/availability" if isinstance(server, UwsServer) else "/job"
    return [one for one in server.missed if one.path.endswith(ending)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_required_back_end_that_is_down_for_less_than_fault_after(
    served_bench: ServedBench, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served_bench.serve(kind) as server:
        served_bench.configure(kind, url_of(server), required=True, fault_after=60)
        async with served_bench.running() as served:
            ack = await served.sleep(duration=0.5)
            server.go_down()
            await eventually(lambda: "the job cannot be reached" in caplog.text)
            # Whether it was started already or is being started just now.
            assert re.search(f"back end served: (GET|POST) {re.escape(url_of(server))}", caplog.text)
            # Each probe asks twice: two have failed when the third one has begun.
            await eventually(lambda: len(missed_probes(server)) > 4)
            await eventually(lambda: not served.remote.evt_backend_status.get().connected)
            await served.pulse.goes_on()
            assert served.csc.summary_state is State.ENABLED
            server.come_up()
            assert (await served.end(ack)).ack == COMPLETE
            (result,) = await served.spy.wait_for("job_result")
            assert result.exit_code == 0
            assert len(server.jobs) == 1
            assert served.csc.summary_state is State.ENABLED


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS)
async def test_defect_03_a_required_back_end_that_is_down_for_10_s_while_a_job_runs(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server:
        served_bench.configure(kind, url_of(server), required=True)
        async with served_bench.running() as served:
            ack = await served.sleep(duration=3)
            await eventually(lambda: "EXECUTING" in served.spy.phases())
            server.go_down()
            # The outage itself, by the clock: the job ends in it.
            async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                group.create_task(served.pulse.goes_on(9))
            assert served.csc.summary_state is State.ENABLED
            assert served.spy.of("job_result") == []
            server.come_up()
            assert (await served.end(ack)).ack == COMPLETE
            (result,) = await served.spy.wait_for("job_result")
            assert (result.exit_code, json.loads(result.result)["phase"]) == (0, "COMPLETED")
            assert len(server.jobs) == 1
            assert served.csc.summary_state is State.ENABLED


@pytest.mark.parametrize("kind", KINDS)
async def test_defect_21_a_required_back_end_that_is_down_for_longer_than_fault_after(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server:
        served_bench.configure(kind, url_of(server), required=True, fault_after=0.5)
        async with served_bench.running() as served:
            ack = await served.sleep(duration=0.5)
            server.go_down()
            down_at = current_tai()
            await eventually(lambda: served.csc.summary_state is State.FAULT)
            await eventually(lambda: served.remote.evt_errorCode.get().errorCode)
            error = served.remote.evt_errorCode.get()
            # Not at the first probe that failed: one comes every 0.3 s.
            assert error.private_sndStamp - down_at > 0.5
            assert error.errorCode == FaultCode.BACKEND_UNREACHABLE
            assert f"served at {url_of(server)}: GET " in error.errorReport
            await served.pulse.goes_on()
            server.come_up()
            assert (await served.end(ack)).ack == COMPLETE
            (result,) = await served.spy.wait_for("job_result")
            assert json.loads(result.result)["phase"] == "COMPLETED"


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("kind", SOME_KINDS)
async def test_defect_03_bad_answers_while_a_job_runs(
    served_bench: ServedBench, kind: str, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = TROUBLES[trouble]
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        ack = await served.sleep(duration=0.3)
        await eventually(lambda: "EXECUTING" in served.spy.phases())
        server.habit = make(server)
        # What waits for the end of the job at the server would not notice.
        server.break_connections()
        await eventually(lambda: "the job cannot be reached" in caplog.text)
        (line, *_) = (one for one in caplog.messages if "the job cannot be reached" in one)
        assert f"back end served: GET {server.url}" in line
        assert (words if isinstance(words, str) else words[kind]) in line
        await served.pulse.goes_on()
        assert served.csc.summary_state is State.ENABLED
        server.habit = None
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        assert result.exit_code == 0


@pytest.mark.parametrize("kind", SOME_KINDS)
async def test_defect_20_an_unknown_phase_is_told_and_is_no_end(served_bench: ServedBench, kind: str) -> None:
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        ack = await served.sleep(duration=3)
        await eventually(lambda: "EXECUTING" in served.spy.phases())
        (job,) = server.jobs.values()
        if isinstance(job, DoubleJob):
            job.phase = "weird"
        else:
            job.change("WEIRD")
        await eventually(lambda: "UNKNOWN" in served.spy.phases())
        await served.pulse.goes_on()
        assert served.spy.of("job_result") == []
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        assert (result.exit_code, json.loads(result.result)["phase"]) == (0, "COMPLETED")


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (status(500, "the disk is full"), "500 Internal Server Error: 'the disk is full'"),
        (html("Apache2 Default Page"), "an HTML page titled 'Apache2 Default Page'"),
        (text("{", "application/json"), "'{'"),
        (redirect("/sso/login?next=/"), "redirected to a login page"),
    ],
)
async def test_defect_25_bad_answers_at_submit_are_told_in_words(
    served_bench: ServedBench, kind: str, behaviour: Behaviour, words: str
) -> None:
    async with served_bench.serve(kind) as server, served_bench.running() as served:
        method = "POST" if kind == "uws" else "PUT"

        async def behave(request: Request) -> Reply | None:
            return await behaviour(request) if request.method == method else None

        server.habit = behave
        ack = await served.sleep()
        server.habit = None
        if ack.ack == COMPLETE:
            pytest.fail("a job that nobody created")
        assert ack.ack == FAILED
        assert f"back end served: {method} {server.url}" in ack.result
        assert words in ack.result
        await served.pulse.goes_on()
        again: Any = await served.sleep()
        assert (await served.end(again)).ack == COMPLETE


async def test_a_server_that_says_1_1_and_ignores_wait_is_polled(served_bench: ServedBench) -> None:
    async with served_bench.serve("uws") as server, served_bench.running() as served:
        assert isinstance(server, UwsServer)
        server.blocks = False
        ack = await served.sleep(duration=0.5)
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        assert result.exit_code == 0
