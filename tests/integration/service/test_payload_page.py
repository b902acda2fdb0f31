"""What the page for payload authors shows is so: its files are written, its commands are run."""

import re
import shlex
from pathlib import Path

import pytest

from lsst.ts.ocps.cli.main import run_command_line
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.uws.codec import parse_progress
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.pages import Step, read_files, read_page, read_steps
from support.processes import end_commands
from support.service_calls import Calls

PAGE = "payload-author.rst"
PAYLOADS, TEMPORARY, URL = "/opt/payloads", "/tmp/", "http://127.0.0.1:8080"  # noqa: S108 (words of the page)
P = ExecutionPhase


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page, with the folders that it names moved to a temporary one."""
    for name, content in read_files(read_page(PAGE)):
        file = Path(moved(name, tmp_path))
        file.parent.mkdir(exist_ok=True)
        file.write_text(moved(content, tmp_path))
    return tmp_path


def moved(text: str, folder: Path) -> str:
    places = {PAYLOADS: f"{folder}/payloads", TEMPORARY: f"{folder}/"}
    return re.sub("|".join(places), lambda match: places[match[0]], text)


def assert_said(step: Step, said: str, folder: Path) -> None:
    """Compare with what the page shows; ``…`` there stands for anything."""
    pattern = ".*".join(map(re.escape, moved(step.output, folder).split("…")))
    assert re.fullmatch(pattern, said.strip(), re.DOTALL), f"{step.command}\n{said}"


def steps_of(program: str) -> list[Step]:
    return [step for step in read_steps(read_page(PAGE)) if step.command.startswith(f"{program} ")]


def test_every_step_of_the_page_is_tried() -> None:
    steps = read_steps(read_page(PAGE))
    assert len(steps) == sum(len(steps_of(name)) for name in ("ocps config", "ocps service", "curl")) == 7
    assert [Path(name).suffix for name, _ in read_files(read_page(PAGE))] == [".py", ".yaml", ".txt"]


def test_the_definition_is_checked_as_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (step,) = steps_of("ocps config")
    assert run_command_line(shlex.split(moved(step.command, folder))[1:]) == 0
    assert_said(step, capsys.readouterr().out, folder)


@pytest.mark.asyncio
async def test_the_jobs_of_the_page_end_as_shown(folder: Path) -> None:
    config = ServiceConfig(
        payload_directories=(folder / "payloads",), data_directory=folder / "ocps-jobs", port=0
    )
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            for step in steps_of("curl"):
                assert_said(step, await curl(calls, moved(step.command, folder)), folder)
                for ref in await calls.jobs("sky-level"):
                    # The page says "later" before it looks at the list.
                    await calls.end(f"/sky-level/async/{ref.job_id}")
            await check_the_job(calls)
    finally:
        end_commands(config.jobs_directory)


async def curl(calls: Calls, command: str) -> str:
    """Do what a command line of curl does, as far as the page uses it."""
    words = shlex.split(command)[1:]
    follow, url = False, ""
    form: dict[str, str] = {}
    while words:
        match words.pop(0):
            case "-s":
                pass
            case "-L":
                follow = True
            case "-d":
                name, _, value = words.pop(0).partition("=")
                form[name] = value
            case word:
                assert word.startswith(URL)
                url = word.removeprefix(URL)
    answer = await calls.http.request(
        "POST" if form else "GET", url, data=form or None, follow_redirects=follow
    )
    return answer.text


async def check_the_job(calls: Calls) -> None:
    """Its files have the meaning that the page gives them."""
    (ref,) = await calls.jobs("sky-level", {"PHASE": "COMPLETED", "LAST": "1"})
    path = f"/sky-level/async/{ref.job_id}"
    job = await calls.job(path)
    assert (job.run_id, job.phase, parse_progress(job.job_info)) == ("first", P.COMPLETED, None)
    assert [result.result_id for result in job.results] == ["metrics.json", "result.json"]
    (metric,) = (await calls.http.get(f"{path}/results/metrics.json")).json()
    assert metric == {"name": "sky", "value": 10.0, "units": "adu", "tags": {}}
