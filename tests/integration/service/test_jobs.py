"""Jobs over real HTTP with real commands: what they are given, what becomes of their outputs and words."""

import asyncio
import errno
import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from lsst.ts.ocps.uws.codec import parse_progress
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.local_bench import failing_once
from support.processes import until
from support.service_calls import Calls

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def shell(calls: Calls, script: str) -> str:
    return await calls.create("shell", script=script, PHASE="RUN")


class TestCommand:
    async def test_a_command_gets_its_parameters_and_finds_its_job(self, calls: Calls) -> None:
        text = "$(touch x) ; {number} \N{SNOWMAN}\n'"
        form = [("text", text), ("WORDS", "a"), ("words", "b c"), ("needed", "-x"), ("RUNID", "ocps-t-1")]
        path = await calls.create("echo", [*form, ("PHASE", "RUN")])
        job = await calls.end(path)
        assert job.phase is P.COMPLETED
        assert [(parameter.name, parameter.value) for parameter in job.parameters] == [
            ("text", text),
            ("number", "1"),
            ("words", "a"),
            ("words", "b c"),
            ("needed", "-x"),
        ]
        said = (await calls.http.get(f"{path}/results/result.json")).json()
        expected = [f"--text={text}", "--number=1", '--words=["a","b c"]', "--needed=-x"]
        assert said["arguments"] == expected
        environment = said["environment"]
        assert environment["JOB_ID"] == job.job_id
        assert environment["RUN_ID"] == "ocps-t-1"
        assert environment["JOB_DIR"] == said["directory"]
        assert environment["JOB_OUTPUT_DIR"] == f"{said['directory']}/out"
        assert environment["PAYLOAD_SAYS"] == "{not a placeholder}"
        assert str(Path(sys.executable).parent) in environment["PATH"]
        assert not {"PYTEST_CURRENT_TEST", "USER", "PWD", "VIRTUAL_ENV"} & set(environment)

    async def test_no_secret_of_the_service_reaches_a_command(
        self, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OCPS_DATABASE_PASSWORD", "hunter2")
        path = await shell(calls, 'env > "$JOB_OUTPUT_DIR/environment.txt"')
        await calls.end(path)
        told = (await calls.http.get(f"{path}/results/environment.txt")).text
        assert "JOB_ID=" in told
        assert "hunter2" not in told

    async def test_times_are_in_order(self, calls: Calls) -> None:
        job = await calls.end(await calls.create("sleep", seconds="0.1", PHASE="RUN"))
        assert job.creation_time is not None
        assert job.start_time is not None
        assert job.end_time is not None
        assert job.creation_time <= job.start_time <= job.end_time

    async def test_a_missing_parameter_is_named(self, calls: Calls) -> None:
        answer = await calls.post("/echo/async", number="x")
        assert answer.status_code == 400
        assert "parameters.needed: is required" in answer.text
        assert "parameters.number" in answer.text


class TestFailure:
    async def test_the_last_line_of_standard_error_is_the_error(self, calls: Calls) -> None:
        path = await calls.create("fail", message="frame 3: no such file", code="2", PHASE="RUN")
        job = await calls.end(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == "frame 3: no such file"
        assert job.error.has_detail
        assert not job.error.is_transient
        detail = await calls.text(f"{path}/error")
        assert detail == "Error: frame 3: no such file\n\nwarming up\nframe 3: no such file\n"

    async def test_a_silent_failure_tells_its_exit_code(self, calls: Calls) -> None:
        path = await shell(calls, "exit 42")
        job = await calls.end(path)
        assert job.error is not None
        assert (job.error.message, job.error.has_detail) == ("exit code 42", False)
        assert await calls.text(f"{path}/error") == "Error: exit code 42\n"

    async def test_a_signal_is_told_before_the_last_words(self, calls: Calls) -> None:
        job = await calls.end(await shell(calls, "echo reading >&2; kill -9 $$"))
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == "ended by SIGKILL; its last words: reading"

    async def test_words_that_no_document_can_hold_do_not_break_it(self, calls: Calls) -> None:
        job = await calls.end(await shell(calls, "printf 'bad \\001\\033[1m\\377<&>\\n' >&2; exit 1"))
        assert job.error is not None
        assert job.error.message == "bad   [1m\ufffd<&>"

    async def test_a_job_that_takes_too_much_disk_fails_with_the_reason(self, calls: Calls) -> None:
        # It is there as a whole, whenever somebody looks.
        script = "trap 'exit 0' TERM; head -c 5000000 /dev/zero > ../large; mv ../large .; sleep 60 & wait"
        job = await calls.end(await calls.create("tight", script=script, PHASE="RUN"))
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message.startswith("stopped: it took 4.7")
        assert job.error.message.endswith("MiB of disk, and may take 1 MiB")

    async def test_the_results_of_a_failed_job_are_listed(self, calls: Calls) -> None:
        path = await shell(calls, 'echo x > "$JOB_OUTPUT_DIR/partial.txt"; exit 1')
        job = await calls.end(path)
        assert [result.result_id for result in job.results] == ["partial.txt"]

    async def test_a_job_beyond_its_execution_duration_is_aborted_with_the_reason(self, calls: Calls) -> None:
        path = await calls.create("brief", PHASE="RUN")
        job = await calls.end(path)
        assert job.phase is P.ABORTED
        assert job.error is not None
        assert "execution duration, 1 s" in job.error.message
        assert (await calls.http.get(f"{path}/error")).status_code == 404


class TestResults:
    async def test_outputs_become_results_with_url_size_and_type(self, calls: Calls) -> None:
        script = """
            cd "$JOB_OUTPUT_DIR" && mkdir -p maps/deep && printf 12345 > maps/deep/a.fits
            printf '<p>' > page.html; ln -s /etc/passwd link.txt; echo x > .hidden; : > 'odd name#1?.txt'
        """
        path = await shell(calls, script)
        job = await calls.end(path)
        root = str(calls.http.base_url).rstrip("/")
        assert [(result.result_id, result.url, result.size, result.mime_type) for result in job.results] == [
            ("maps_deep_a.fits", f"{root}{path}/results/maps_deep_a.fits", 5, "application/fits"),
            ("odd name#1?.txt", f"{root}{path}/results/odd%20name%231%3F.txt", 0, "text/plain"),
            ("page.html", f"{root}{path}/results/page.html", 3, "text/html"),
        ]
        for result, content in zip(job.results, (b"12345", b"", b"<p>"), strict=True):
            assert result.url is not None
            answer = await calls.http.get(result.url)
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "sandbox"

    async def test_what_a_command_said_is_a_result_after_its_outputs(self, calls: Calls) -> None:
        path = await shell(calls, 'echo x > "$JOB_OUTPUT_DIR/z.txt"; echo said; echo complained >&2; exit 3')
        job = await calls.end(path)
        assert [result.result_id for result in job.results] == ["z.txt", "stdout.txt", "stderr.txt"]
        assert (await calls.http.get(f"{path}/results/stdout.txt")).text == "said\n"
        assert (await calls.http.get(f"{path}/results/stderr.txt")).text == "complained\n"
        digest = hashlib.sha256(b"complained\n").hexdigest()
        assert (job.results[2].size, job.results[2].mime_type, job.results[2].sha256) == (
            11,
            "text/plain",
            digest,
        )

    async def test_only_what_the_payload_calls_results_is_one_and_with_its_type(self, calls: Calls) -> None:
        script = (
            'cd "$JOB_OUTPUT_DIR"; mkdir maps; : > maps/a.map; : > b.fits; : > c.txt; echo 1 > metrics.json'
        )
        job = await calls.end(await calls.create("select", script=script, PHASE="RUN"))
        assert [(result.result_id, result.mime_type) for result in job.results] == [
            ("b.fits", "application/fits"),
            ("maps_a.map", "image/fits"),
            ("metrics.json", "application/json"),
        ]

    async def test_a_large_result_arrives_whole(self, calls: Calls) -> None:
        size = 5_000_001
        path = await shell(calls, f'head -c {size} /dev/zero | tr "\\0" "a" > "$JOB_OUTPUT_DIR/big.bin"')
        await calls.end(path)
        answer = await calls.http.get(f"{path}/results/big.bin")
        assert answer.content == b"a" * size

    @pytest.mark.parametrize(
        "name",
        [
            "../stderr.txt",
            "..%2Fstderr.txt",
            "%2e%2e/stderr.txt",
            "..%2f..%2f..%2fjobs.sqlite",
            "%2Fetc%2Fpasswd",
            "%2e%2e",
            "..",
            ".",
            "link.txt",
            "out.txt%00.png",
            "nothing",
        ],
    )
    async def test_nothing_outside_of_the_list_of_results_is_served(self, calls: Calls, name: str) -> None:
        path = await shell(
            calls, 'cd "$JOB_OUTPUT_DIR"; echo x > out.txt; ln -s /etc/passwd link.txt; echo y >&2'
        )
        await calls.end(path)
        url = calls.http.base_url.copy_with(raw_path=f"{path}/results/{name}".encode())
        answer = await calls.http.get(url)
        # The client itself resolves "." and "..": what is asked for then is the job or its list.
        if answer.status_code == 200:
            assert answer.headers["content-type"] == "application/xml"
        assert answer.status_code in {200, 404}
        assert "root:" not in answer.text

    async def test_a_result_replaced_by_a_link_later_is_not_served(self, calls: Calls) -> None:
        path = await shell(calls, 'echo x > "$JOB_OUTPUT_DIR/out.txt"')
        await calls.end(path)
        (result,) = (await calls.job(path)).results
        assert result.url is not None
        directory = await self.directory_of(calls, path)
        (directory / "out" / "out.txt").unlink()
        (directory / "out" / "out.txt").symlink_to("/etc/passwd")
        assert (await calls.http.get(result.url)).status_code == 404

    async def test_a_result_that_is_gone_is_not_found(self, calls: Calls) -> None:
        path = await shell(calls, 'echo x > "$JOB_OUTPUT_DIR/out.txt"; echo "$JOB_DIR"')
        await calls.end(path)
        ((await self.directory_of(calls, path)) / "out" / "out.txt").unlink()
        assert (await calls.http.get(f"{path}/results/out.txt")).status_code == 404

    @staticmethod
    async def directory_of(calls: Calls, path: str) -> Path:
        """The folder of a job; only the environment of another job of the service tells where that is."""
        echo = await calls.create("echo", needed="x", PHASE="RUN")
        await calls.end(echo)
        said = (await calls.http.get(f"{echo}/results/result.json")).json()
        return Path(said["directory"]).with_name(path.rpartition("/")[2])


class TestProgress:
    async def test_progress_is_shown_while_the_job_runs_and_is_no_result(self, calls: Calls) -> None:
        content = json.dumps({"fraction": 0.4, "message": "frame 4 <of> 10"})
        script = f"""
            cd "$JOB_OUTPUT_DIR"; echo '{content}' > .p && mv .p progress.json
            while [ ! -e go ]; do sleep 0.02; done; rm go
        """
        path = await shell(calls, script)
        await calls.executing(path)
        progress = parse_progress((await calls.until(path, lambda job: job.job_info)).job_info)
        assert progress is not None
        assert (progress.fraction, progress.message) == (0.4, "frame 4 <of> 10")
        directory = await TestResults.directory_of(calls, path)
        (directory / "out" / "go").touch()
        job = await calls.end(path)
        assert job.phase is P.COMPLETED
        assert (job.results, job.job_info) == ((), None)


class TestAbort:
    async def test_abort_ends_the_command_and_its_children_and_keeps_the_results(self, calls: Calls) -> None:
        path = await shell(
            calls, 'sleep 60 & echo $! > "$JOB_OUTPUT_DIR/.part"; cd "$JOB_OUTPUT_DIR"; mv .part child; wait'
        )
        await calls.executing(path)
        directory = await TestResults.directory_of(calls, path)
        await until((directory / "out" / "child").exists, "the child runs")
        child = psutil.Process(int((directory / "out" / "child").read_text()))
        answer = await calls.post(f"{path}/phase", PHASE="ABORT")
        job = await calls.job(answer.headers["Location"])
        assert job.phase is P.ABORTED
        assert job.end_time is not None
        await until(
            lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone"
        )
        last = await calls.until(path, lambda job: job.results)
        assert [result.result_id for result in last.results] == ["child"]
        assert (last.phase, last.end_time) == (P.ABORTED, job.end_time)

    async def test_delete_ends_the_command_and_removes_everything(self, calls: Calls) -> None:
        path = await shell(calls, "trap '' TERM; while :; do sleep 0.05; done")
        await calls.executing(path)
        directory = await TestResults.directory_of(calls, path)
        assert (await calls.http.delete(path)).status_code == 303
        assert (await calls.http.get(path)).status_code == 404
        await until(lambda: not directory.exists(), "the folder is gone")

    async def test_destruction_by_time_ends_every_process_and_removes_everything(self, calls: Calls) -> None:
        # One child in the group of the command, one that leaves it; none minds being asked to end.
        script = """
            trap '' TERM; cd "$JOB_OUTPUT_DIR"
            sleep 60 & echo $! >> pids
            timeout 60 sh -c 'sleep 60 & echo $! >> pids; mv pids children; wait' &
            wait; sleep 60
        """
        path = await shell(calls, script)
        directory = await TestResults.directory_of(calls, path)
        children = directory / "out" / "children"
        await until(children.exists, "the children run")
        processes = [psutil.Process(int(pid)) for pid in children.read_text().split()]
        assert len(processes) == 2
        soon = datetime.now(UTC) + timedelta(seconds=1)
        answer = await calls.post(f"{path}/destruction", DESTRUCTION=soon.isoformat())
        assert answer.status_code == 303
        await until(lambda: not directory.exists(), "the folder is gone")
        assert (await calls.job(path)).phase is P.ARCHIVED
        assert [process for process in processes if is_running(process)] == []


def is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class TestStart:
    async def test_a_start_that_fails_late_is_made_again_and_the_command_runs_once(
        self, calls: Calls
    ) -> None:
        with failing_once(os, "pidfd_open", errno.EMFILE):
            path = await shell(calls, 'echo begun >> "$JOB_OUTPUT_DIR/begun"')
            job = await calls.end(path)
        assert (job.phase, job.error) == (P.COMPLETED, None)
        assert (await calls.http.get(f"{path}/results/begun")).text == "begun\n"


async def test_fifty_jobs_at_once_all_complete(calls: Calls) -> None:
    paths = await asyncio.gather(
        *(calls.create("echo", needed=str(number), PHASE="RUN") for number in range(50))
    )
    jobs = await asyncio.gather(*(calls.end(path) for path in paths))
    assert {job.phase for job in jobs} == {P.COMPLETED}
    assert len({job.job_id for job in jobs}) == 50
