"""``ocps`` from another process than the CSC: what people see of a run."""

import re
import subprocess

import pytest

from support.sandbox import COMMAND, SandboxFolder, clean_environment, read_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("running_sandbox")]

LINE = re.compile(r"^ *(\d+\.\d+)  (\w+) +(.*)$", re.MULTILINE)


def ocps(sandbox: SandboxFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sandbox.ocps(*arguments, speaks_to_it=True)


def test_run_shows_acks_and_events_in_the_order_in_which_they_are_written(
    running_sandbox: SandboxFolder,
) -> None:
    run = ocps(running_sandbox, "run", "source-catalog", "threshold=5", "--label", "order", "--wait")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = LINE.findall(run.stdout)
    times = [float(time) for time, _, _ in lines]
    assert times == sorted(times)
    kinds = [kind for _, kind, _ in lines]
    assert kinds[:3] == ["run", "ack", "job_id"]
    assert kinds[-2:] == ["job_result", "ack"]
    # On a busy machine the run may last so long that the CSC repeats its first word.
    middle = [kind for kind in kinds[3:-2] if kind != "ack"]
    order = ["job_phase", "job_output", "job_metric"]
    assert middle == sorted(middle, key=order.index), "phases, then outputs, then metrics"
    assert set(middle) == set(order)
    acks = [text.split()[0] for _, kind, text in lines if kind == "ack"]
    assert (acks[-1], set(acks[:-1])) == ("COMPLETE", {"INPROGRESS"})
    phases = [text for _, kind, text in lines if kind == "job_phase"]
    assert phases[0] == "PENDING"
    assert phases[-2:] == ["EXECUTING", "COMPLETED"]
    assert next(text for _, kind, text in lines if kind == "job_result").startswith("exit code 0")
    assert any(text.startswith("catalog.ecsv ") for _, kind, text in lines if kind == "job_output")
    assert any(text.startswith("source_count = ") for _, kind, text in lines if kind == "job_metric")


def test_a_run_that_fails_has_exit_status_1_and_the_reason(running_sandbox: SandboxFolder) -> None:
    run = ocps(running_sandbox, "run", "ccd-reduce", "image=/no/such/image.fits")
    assert run.returncode == 1
    assert re.search(r"^failed \(job \S+\): .*/no/such/image\.fits.*no such file", run.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing-like-it",), "'nothing-like-it' is not configured"),
        (
            ("source-catalog", "threshold=high", "min_area=2.5"),
            "parameters.min_area: 2.5 is not of type 'integer'",
        ),
        (("source-catalog", "treshold=5"), "parameters.treshold"),
        (("source-catalog", "threshold"), "'threshold' is not of the form key=value or key:=JSON"),
        (("source-catalog", "threshold:=5 sigma"), "parameter threshold: '5 sigma' is not JSON"),
    ],
)
def test_what_is_rejected_has_exit_status_2_and_the_reason(
    running_sandbox: SandboxFolder, arguments: tuple[str, ...], reason: str
) -> None:
    run = ocps(running_sandbox, "run", *arguments)
    assert run.returncode == 2, run.stdout + run.stderr
    assert reason in run.stderr
    assert "INPROGRESS" not in run.stdout


@pytest.mark.system
def test_a_job_is_listed_watched_and_aborted_from_other_terminals(running_sandbox: SandboxFolder) -> None:
    environment = running_sandbox.environment
    command = (*COMMAND, "run", "nap", "seconds=50", "--label", "long")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as run:
        try:
            shown = read_until(run, "EXECUTING")
            job_id = re.search(r"job_id +(\S+)", shown)
            assert job_id
            listed = ocps(running_sandbox, "jobs")
            row = next(line for line in listed.stdout.splitlines() if line.startswith(job_id[1]))
            assert row.split()[1:3] == ["nap", "EXECUTING"]
            watching = (*COMMAND, "watch", job_id[1])
            with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True, env=environment) as watch:
                read_until(watch, "watching OCPS:1")
                aborted = ocps(running_sandbox, "abort", job_id[1])
                assert aborted.returncode == 0, aborted.stderr
                seen, _ = watch.communicate(timeout=60)
            rest, _ = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 3
    assert f"aborted (job {job_id[1]})" in rest
    assert re.search(rf"{job_id[1]} +job_phase +ABORTED", seen)
    assert re.search(rf"{job_id[1]} +job_result +exit code 255", seen)
    assert ocps(running_sandbox, "watch", job_id[1]).returncode == 1


@pytest.mark.system
def test_all_jobs_of_the_service_are_listed_without_sal(running_sandbox: SandboxFolder) -> None:
    run = ocps(running_sandbox, "run", "nap", "--detach")
    # The event job_id follows the acknowledgement that ends a detached command, and may come too late.
    job_id = re.search(r"^accepted \(job (\S+)\)$", run.stdout, re.MULTILINE)
    assert job_id, run.stdout + run.stderr
    variables = {"OCPS_SERVICE_URL": running_sandbox.state.variables["OCPS_SERVICE_URL"]}
    listed = subprocess.run(
        (*COMMAND, "jobs", "--all"),
        capture_output=True,
        text=True,
        env=clean_environment() | variables,
        check=True,
    )
    row = next(line for line in listed.stdout.splitlines() if line.startswith(job_id[1]))
    assert row.split()[1] == "nap"
    assert row.split()[-1].startswith("ocps-sandbox-1-")


def test_aborting_what_nobody_knows_fails_by_name(running_sandbox: SandboxFolder) -> None:
    aborted = ocps(running_sandbox, "abort", "no-such-job")
    assert aborted.returncode == 1
    assert "no-such-job was not aborted" in aborted.stderr


@pytest.mark.system
def test_a_detached_run_returns_with_the_job_and_goes_on(running_sandbox: SandboxFolder) -> None:
    run = ocps(running_sandbox, "run", "source-catalog", "--detach")
    assert run.returncode == 0, run.stderr
    assert re.search(r"^accepted \(job \S+\)$", run.stdout, re.MULTILINE)
    assert "COMPLETE" in run.stdout
    assert "job_result" not in run.stdout


@pytest.mark.system
def test_giving_up_waiting_has_exit_status_4_and_leaves_the_run_alone(running_sandbox: SandboxFolder) -> None:
    run = ocps(running_sandbox, "run", "nap", "seconds=50", "--timeout", "0.5")
    assert run.returncode == 4
    assert "gave up after 0.5 s; the run may go on" in run.stderr
    assert "nap" in ocps(running_sandbox, "jobs").stdout


@pytest.mark.system
def test_the_state_is_shown_and_changed_step_by_step(running_sandbox: SandboxFolder) -> None:
    shown = ocps(running_sandbox, "state")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("OCPS:1  ENABLED\n")
    assert "payloads bias-combine, ccd-reduce, fail, nap, source-catalog" in shown.stdout
    down = ocps(running_sandbox, "state", "standby")
    assert down.stdout.split() == ["ENABLED", "DISABLED", "STANDBY"]
    try:
        refused = ocps(running_sandbox, "run", "source-catalog")
        assert refused.returncode == 2
        assert "not allowed in state" in refused.stderr
    finally:
        up = ocps(running_sandbox, "state", "ENABLED")
    assert up.stdout.split() == ["STANDBY", "DISABLED", "ENABLED"]


@pytest.mark.system
def test_a_csc_that_does_not_run_is_no_answer(running_sandbox: SandboxFolder) -> None:
    shown = ocps(running_sandbox, "state", "--index", "3")
    assert shown.returncode == 4
    assert "OCPS:3 tells no summaryState" in shown.stderr
