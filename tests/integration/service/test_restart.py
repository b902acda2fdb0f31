"""The service as a process: crashes, stops and starts with commands under way."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_calls import Calls
from support.service_process import ServiceProcess

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
MakeService = Callable[..., ServiceProcess]


def waiting_for(gate: Path, then: str) -> str:
    """A script that begins, waits for a file and then does something."""
    return f"echo begun >> begun; while [ ! -e {gate} ]; do sleep 0.02; done; {then}"


async def test_commands_survive_a_crash_and_their_jobs_end_with_the_right_exit_codes(
    make_service_process: MakeService, tmp_path: Path
) -> None:
    service = make_service_process(max_running=3)
    await service.start()
    ends = {
        "while running": (
            waiting_for(tmp_path / "later", 'echo out > "$JOB_OUTPUT_DIR/out.txt"'),
            P.COMPLETED,
        ),
        "while down": (waiting_for(tmp_path / "down", "echo wrong 7 >&2; exit 7"), P.ERROR),
        "in between": (waiting_for(tmp_path / "later", "kill -9 $$"), P.ERROR),
        "queued": (waiting_for(tmp_path / "later", "exit 0"), P.COMPLETED),
    }
    paths = {}
    async with Calls.to(service.url) as calls:
        for name, (script, _) in ends.items():
            paths[name] = await calls.create("shell", script=script, RUNID=name, PHASE="RUN")
        for name in ("while running", "while down", "in between"):
            assert (await calls.executing(paths[name])).phase is P.EXECUTING
            await until((service.config.jobs_directory / paths[name][-17:] / "begun").exists, "it has begun")
        assert (await calls.job(paths["queued"])).phase is P.QUEUED
    await service.kill()
    (tmp_path / "down").touch()
    await until(
        (service.config.jobs_directory / paths["while down"][-17:] / ".ended.json").exists, "one has ended"
    )

    await service.start()
    async with Calls.to(service.url) as calls:
        assert (await calls.end(paths["while down"])).phase is P.ERROR
        assert (await calls.job(paths["while running"])).phase is P.EXECUTING
        (tmp_path / "later").touch()
        jobs = {name: await calls.end(path) for name, path in paths.items()}
    assert {name: job.phase for name, job in jobs.items()} == {name: end for name, (_, end) in ends.items()}
    messages = {name: job.error.message for name, job in jobs.items() if job.error}
    assert messages == {"while down": "wrong 7", "in between": "ended by SIGKILL"}
    assert [result.result_id for result in jobs["while running"].results] == ["out.txt"]
    for path in paths.values():
        begun = service.config.jobs_directory / path[-17:] / "begun"
        assert begun.read_text() == "begun\n", "nothing runs twice"


@pytest.mark.system
async def test_a_command_found_again_can_be_aborted(make_service_process: MakeService) -> None:
    service = make_service_process()
    await service.start()
    async with Calls.to(service.url) as calls:
        path = await calls.create("sleep", PHASE="RUN")
        await calls.executing(path)
    await service.kill()
    await service.start()
    async with Calls.to(service.url) as calls:
        answer = await calls.post(f"{path}/phase", PHASE="ABORT")
        assert (await calls.job(answer.headers["Location"])).phase is P.ABORTED
    await until((service.config.jobs_directory / path[-17:] / ".ended.json").exists, "the command is gone")


@pytest.mark.system
async def test_a_crash_between_any_two_steps_loses_no_job_and_doubles_none(
    make_service_process: MakeService,
) -> None:
    """Kills the service again and again while it takes, starts and ends jobs."""
    service = make_service_process(attach_patience=1)
    paths: list[str] = []
    for life in range(4):
        await service.start()
        async with Calls.to(service.url) as calls:
            creating = [
                asyncio.create_task(
                    calls.create("shell", script="echo begun >> begun; sleep 0.05", PHASE="RUN")
                )
                for _ in range(10)
            ]
            await asyncio.wait(creating, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.03 * life)
            await service.kill()
            answers = await asyncio.gather(*creating, return_exceptions=True)
        paths += [answer for answer in answers if isinstance(answer, str)]
    assert paths
    await service.start()
    async with Calls.to(service.url) as calls:
        listed = {ref.job_id for ref in await calls.jobs("shell")}
        assert {path[-17:] for path in paths} <= listed
        for job_id in listed:
            job = await calls.end(f"/shell/async/{job_id}")
            # Those, too, that were taken and not started when the service was killed.
            assert (job.phase, job.error) == (P.COMPLETED, None)
            assert (service.config.jobs_directory / job_id / "begun").read_text() == "begun\n"


@pytest.mark.system
async def test_a_stop_leaves_commands_running(make_service_process: MakeService, tmp_path: Path) -> None:
    service = make_service_process()
    await service.start()
    async with Calls.to(service.url) as calls:
        script = waiting_for(tmp_path / "gate", "exit 0")
        path = await calls.create("shell", script=script, PHASE="RUN")
        await calls.executing(path)
    await service.stop()
    (tmp_path / "gate").touch()
    await until((service.config.jobs_directory / path[-17:] / ".ended.json").exists, "the command has ended")
    await service.start()
    async with Calls.to(service.url) as calls:
        assert (await calls.end(path)).phase is P.COMPLETED
    await service.stop()


@pytest.mark.system
async def test_on_stop_abort_leaves_no_command(make_service_process: MakeService) -> None:
    service = make_service_process(on_stop="abort")
    await service.start()
    async with Calls.to(service.url) as calls:
        path = await calls.create("shell", script="trap '' TERM; while :; do sleep 0.05; done", PHASE="RUN")
        await calls.executing(path)
    await service.stop()
    assert (service.config.jobs_directory / path[-17:] / ".ended.json").exists()
    await service.start()
    async with Calls.to(service.url) as calls:
        assert (await calls.job(path)).phase is P.ABORTED


async def test_a_service_that_cannot_start_ends_with_the_reason(
    make_service_process: MakeService, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    service = make_service_process(data_directory=tmp_path / "file" / "data")
    with pytest.raises(AssertionError, match=r"cannot start: .* cannot be written"):
        await service.start()
    assert service.process is not None
    assert service.process.returncode == 1


async def test_the_log_tells_of_each_job_in_json_with_its_ids(make_service_process: MakeService) -> None:
    service = make_service_process()
    await service.start()
    async with Calls.to(service.url) as calls:
        path = await calls.create("fail", RUNID="ocps-test-1-x", PHASE="RUN")
        await calls.end(path)
    await service.stop()
    records = [json.loads(line) for line in service.log.read_text().splitlines()]
    told = [record["event"] for record in records if record.get("job_id") == path[-17:]]
    assert told == ["created", "handed over", "executing", "ended"]
    for record in records:
        if record.get("job_id") == path[-17:]:
            assert (record["run_id"], record["payload"]) == ("ocps-test-1-x", "fail")
            assert {"time", "level", "logger"} <= set(record)


@pytest.mark.system
async def test_nothing_that_the_service_or_its_commands_write_is_for_other_users(
    make_service_process: MakeService, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(0o755)
    service = make_service_process()
    await service.start()
    script = 'echo said; mkdir "$JOB_OUTPUT_DIR/deep"; echo made > "$JOB_OUTPUT_DIR/deep/result.txt"'
    async with Calls.to(service.url) as calls:
        path = await calls.create("shell", script=script, PHASE="RUN")
        assert (await calls.end(path)).phase is P.COMPLETED
        # While it runs SQLite has more than one file.
        written = [file for file in service.config.data_directory.rglob("*") if not file.is_socket()]
    await service.stop()
    names = {file.name for file in written}
    assert names >= {"jobs", "deep", "result.txt", "stdout.txt", ".ended.json"}
    for file in written:
        if file.exists():
            assert file.stat().st_mode & 0o077 == 0, file
