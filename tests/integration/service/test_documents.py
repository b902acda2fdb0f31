"""Documents of jobs with real commands are valid against the official schemas and the rules of UWS 1.1."""

import pytest
from lxml import etree

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.document_rules import UWS, document_problems
from support.service_calls import Calls

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
NASTY = "<&>\"' ]]> \r\n\t ünïcode \N{SNOWMAN}"


async def check(calls: Calls, url: str) -> etree._Element:
    answer = await calls.http.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    assert document_problems(answer.content) == []
    return etree.fromstring(answer.content)


async def check_job(calls: Calls, path: str, phase: ExecutionPhase) -> None:
    root = await check(calls, path)
    assert root.findtext(f"{UWS}phase") == phase.value
    for part in ("results", "parameters"):
        await check(calls, f"{path}/{part}")


async def test_all_documents_of_all_phases_are_valid(calls: Calls) -> None:
    await check(calls, "/jobs")
    await check(calls, "/echo/async")
    nasty = {"text": NASTY, "needed": NASTY, "RUNID": "<&>\"'"}

    pending = await calls.create("echo", nasty)
    await check_job(calls, pending, P.PENDING)

    running = await calls.create("shell", script="sleep 60", PHASE="RUN")
    await calls.executing(running)
    await check_job(calls, running, P.EXECUTING)

    completed = await calls.create("echo", nasty, PHASE="RUN")
    assert (await calls.end(completed)).parameters[0].value == NASTY
    await check_job(calls, completed, P.COMPLETED)

    failed = await calls.create("fail", message=NASTY.replace("\r\n", " "), PHASE="RUN")
    await calls.end(failed)
    await check_job(calls, failed, P.ERROR)

    for path in (pending, running):
        await calls.post(f"{path}/phase", PHASE="ABORT")
        await check_job(calls, path, P.ABORTED)

    script = 'echo \'{"fraction": 0.5, "message": "<&>"}\' > "$JOB_OUTPUT_DIR/progress.json"; sleep 60'
    progressing = await calls.create("shell", script=script, PHASE="RUN")
    await calls.until(progressing, lambda job: job.job_info is not None)
    await check_job(calls, progressing, P.EXECUTING)

    for query in ("", "?LAST=2", "?PHASE=ABORTED&PHASE=ERROR", "?AFTER=2020-01-01"):
        await check(calls, f"/jobs{query}")
        await check(calls, f"/echo/async{query}")


async def test_what_the_service_says_of_itself_is_valid(calls: Calls) -> None:
    for part in ("availability", "capabilities"):
        await check(calls, f"/{part}")
