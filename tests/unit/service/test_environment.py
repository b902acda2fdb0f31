"""What a command is given."""

import sys
from pathlib import Path

import pytest

from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.service.environment import new_execution
from lsst.ts.ocps.service.results import JobFolder
from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.uws.jobs import Job, Parameter
from lsst.ts.ocps.uws.phases import ExecutionPhase

FOLDER = JobFolder(Path("/data/jobs/1a"), "out")


def stored(*pairs: tuple[str, str], run_id: str | None = "ocps-1", duration: int = 60) -> StoredJob:
    job = Job(
        "1a",
        ExecutionPhase.QUEUED,
        run_id=run_id,
        creation_time=now(),
        execution_duration=duration,
        parameters=tuple(Parameter(name, value) for name, value in pairs),
    )
    return StoredJob(job, "p", "local", "out")


def definition(**run: object) -> PayloadDefinition:
    return PayloadDefinition.model_validate(
        {
            "name": "p",
            "description": "",
            "parameters": {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}},
            "run": {"command": ["python", "-m", "x", "--n={n}"], **run},
        }
    )


def test_the_environment_is_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    environment = new_execution(definition(environment={"EXTRA": "1"}), stored(), FOLDER).environment
    assert environment == {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/data/jobs/1a",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "EXTRA": "1",
        "JOB_ID": "1a",
        "RUN_ID": "ocps-1",
        "JOB_DIR": "/data/jobs/1a",
        "JOB_OUTPUT_DIR": "/data/jobs/1a/out",
    }


def test_a_payload_may_change_what_every_job_gets() -> None:
    run = definition(environment={"OMP_NUM_THREADS": "4"})
    assert new_execution(run, stored(), FOLDER).environment["OMP_NUM_THREADS"] == "4"


def test_a_job_without_run_id_has_an_empty_one() -> None:
    assert new_execution(definition(), stored(run_id=None), FOLDER).environment["RUN_ID"] == ""


def test_command_and_limits_come_from_job_and_definition() -> None:
    run = definition(cpus=2, memory="1GiB", disk="3MiB")
    execution = new_execution(run, stored(("N", "5")), FOLDER, max_output=1000)
    assert execution.command == (sys.executable, "-m", "x", "--n=5")
    assert (execution.key, execution.directory) == ("1a", FOLDER.path)
    assert (execution.time_limit, execution.cpus, execution.memory) == (60, 2, 2**30)
    assert (execution.disk, execution.max_output) == (3 * 2**20, 1000)


def test_no_execution_duration_is_no_limit() -> None:
    assert new_execution(definition(), stored(duration=0), FOLDER).time_limit is None


def test_parameters_that_no_longer_suit_the_definition_are_refused() -> None:
    with pytest.raises(ParameterError, match="gone"):
        new_execution(definition(), stored(("gone", "1")), FOLDER)
