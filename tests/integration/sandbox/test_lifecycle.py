"""A sandbox from its start to its end, as real processes."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from lsst.ts.ocps.sandbox.process_table import is_running
from lsst.ts.ocps.sandbox.state import SandboxPhase
from support.sandbox import PAYLOADS, SandboxFolder, identity_of, read_until, running, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240), pytest.mark.xdist_group("lifecycle")]

PARTS = ["broker", "registry", "service", "csc"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxFolder]:
    with running(tmp_path_factory.mktemp("lifecycle") / "box", payloads=[PAYLOADS]) as place:
        yield place


def start_nap(place: SandboxFolder, seconds: int) -> str:
    """Start a job that lasts, and return its id when its process runs."""
    run = place.ocps("run", "nap", f"seconds={seconds}", "--no-wait", speaks_to_it=True)
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"accepted \(job (\S+)\)", run.stdout)
    assert found, run.stdout
    until(lambda: bool(place.jobs()), "a process of the job")
    return found[1]


def test_a_detached_sandbox_has_all_parts_and_an_enabled_csc(sandbox: SandboxFolder) -> None:
    status = sandbox.sandbox("status")
    assert status.returncode == 0, status.stdout + status.stderr
    for name in PARTS:
        part = sandbox.part(name)
        line = next(line for line in status.stdout.splitlines() if line.startswith(name))
        assert str(part.process.pid) in line.split()
        assert f"{part.port or '-'}" in line.split()
        assert re.search(r"\d+ MB +\d+:\d\d:\d\d", line)
    assert "csc ENABLED; sandbox running" in status.stdout


def test_every_part_has_a_log_of_its_own(sandbox: SandboxFolder) -> None:
    logs = {part.name: part.log for part in sandbox.state.parts}
    assert list(logs) == PARTS
    assert len(set(logs.values())) == len(PARTS)
    assert all(log.is_file() for log in logs.values())


def test_a_shell_that_evaluates_env_speaks_to_the_sandbox(sandbox: SandboxFolder) -> None:
    exports = sandbox.sandbox("env").stdout
    answer = subprocess.run(
        ("/bin/sh", "-c", 'eval "$(cat)"; env'),
        input=exports,
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    variables = dict(line.split("=", 1) for line in answer.stdout.splitlines())
    assert variables["LSST_TOPIC_SUBNAME"] == variables["LSST_SITE"] == "sandbox"
    assert variables["LSST_KAFKA_BROKER_ADDR"] == f"127.0.0.1:{sandbox.part('broker').port}"
    assert variables["OCPS_STATE_DIR"] == str(sandbox.layout.csc_state)
    registry = httpx.get(f"{variables['LSST_SCHEMA_REGISTRY_URL']}/subjects", trust_env=False)
    assert any("OCPS" in subject for subject in registry.json())
    jobs = httpx.get(f"{variables['OCPS_SERVICE_URL']}/availability", trust_env=False)
    assert jobs.status_code == 200


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_second_sandbox_in_one_folder_is_refused_by_name(
    sandbox: SandboxFolder, options: tuple[str, ...]
) -> None:
    before = sandbox.state
    second = sandbox.sandbox("up", *options)
    assert second.returncode == 1
    assert (
        f"a sandbox already runs in {sandbox.layout.folder} (process {before.supervisor.pid})"
        in second.stderr
    )
    assert sandbox.state == before
    assert all(is_running(part.process) for part in before.parts)


def test_down_leaves_no_process_not_even_of_a_job_and_can_be_repeated(sandbox_folder: SandboxFolder) -> None:
    with running(sandbox_folder.layout.folder, payloads=[PAYLOADS]) as place:
        start_nap(place, 60)
        state = place.state
        down = place.sandbox("down")
        assert down.returncode == 0, down.stderr
        assert "has ended" in down.stdout
        assert place.processes() == []
        assert not is_running(state.supervisor)
        assert place.state.phase is SandboxPhase.DOWN
        again = place.sandbox("down")
        assert (again.returncode, "no sandbox runs in" in again.stdout) == (0, True)
        for command in ("status", "env"):
            answer = place.sandbox(command)
            assert answer.returncode == 1
            assert answer.stdout == ""
            assert "no sandbox runs in" in answer.stderr


def test_ctrl_c_in_the_foreground_leaves_no_process(sandbox_folder: SandboxFolder) -> None:
    with sandbox_folder.foreground("--payloads", str(PAYLOADS)) as up:
        shown = read_until(up, "Ctrl-C ends everything")
        assert re.findall(r"csc is ([A-Z]+)", shown) == ["STANDBY", "DISABLED", "ENABLED"]
        start_nap(sandbox_folder, 60)
        os.kill(up.pid, signal.SIGINT)
        rest, _ = up.communicate(timeout=60)
        assert "stopped by SIGINT: everything has been ended" in rest
        assert up.returncode == 0
        assert sandbox_folder.processes() == []


def test_a_signal_while_it_starts_leaves_no_process(sandbox_folder: SandboxFolder) -> None:
    with sandbox_folder.foreground() as up:
        read_until(up, "registry is ready")
        os.kill(up.pid, signal.SIGTERM)
        rest, _ = up.communicate(timeout=60)
        assert "csc is ENABLED" not in rest
        assert sandbox_folder.processes() == []


def test_a_part_that_crashes_is_reported_with_its_log_and_the_rest_is_brought_down(
    sandbox_folder: SandboxFolder,
) -> None:
    with sandbox_folder.foreground() as up:
        read_until(up, "Ctrl-C ends everything")
        service = sandbox_folder.part("service")
        last_line = service.log.read_text().rstrip().rsplit("\n", 1)[-1]
        os.kill(service.process.pid, signal.SIGKILL)
        rest, _ = up.communicate(timeout=60)
        assert up.returncode == 1
        assert f"ocps: service was ended by SIGKILL; the end of {service.log}:" in rest
        assert last_line in rest
        assert sandbox_folder.processes() == []
        state = sandbox_folder.state
        assert state.phase is SandboxPhase.FAILED
        assert "service was ended by SIGKILL" in state.message


def test_sigkill_of_the_supervisor_harms_neither_the_next_start_nor_down(
    sandbox_folder: SandboxFolder,
) -> None:
    with sandbox_folder.foreground("--payloads", str(PAYLOADS)) as up:
        read_until(up, "Ctrl-C ends everything")
        start_nap(sandbox_folder, 60)
        first = sandbox_folder.state
        left = sandbox_folder.processes()
        up.kill()
        up.wait()
        with sandbox_folder.foreground() as again:
            read_until(again, "Ctrl-C ends everything")
            second = sandbox_folder.state
            assert not any(is_running(process) for process in left)
            assert second.variables == first.variables, "other terminals need not ask again"
            supervisor = identity_of(again)
            again.kill()
            again.wait()
            assert not is_running(supervisor)
            down = sandbox_folder.sandbox("down")
            assert down.returncode == 0, down.stderr
            assert sandbox_folder.processes() == []
