"""What the command of a job is given: its arguments, its environment, its limits."""

import os
import sys
from pathlib import Path

from lsst.ts.ocps.executors.base import Execution
from lsst.ts.ocps.payloads.command import build_command
from lsst.ts.ocps.payloads.parameters import decode, validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition, RunSpec

from .results import UPLOAD_FOLDER, JobFolder
from .schema import StoredJob

__all__ = ["attached_execution", "new_execution"]


def new_execution(
    definition: PayloadDefinition, stored: StoredJob, folder: JobFolder, *, max_output: int | None = None
) -> Execution:
    """Everything an executor has to know to run a job.

    Parameters
    ----------
    definition, stored, folder
        Payload, job, and the folder of the job.
    max_output
        How much is kept of what the command says on each of its streams (byte); None: everything.

    Raises
    ------
    ParameterError
        If the parameters do not suit the definition (any more).
    """
    run = definition.run
    if run is None:
        raise ValueError(f"payload {definition.name} is not run by this service")
    parameters = validate(definition, decode(definition, stored.pairs))
    return Execution(
        key=stored.job_id,
        command=build_command(run, parameters),
        directory=folder.path,
        environment=_environment(run, stored, folder),
        time_limit=stored.job.execution_duration or None,
        cpus=run.cpus,
        memory=run.memory,
        disk=run.disk,
        max_output=max_output,
    )


def attached_execution(stored: StoredJob, folder: JobFolder) -> Execution:
    """What suffices to find the command of an earlier life of the service again."""
    return Execution(key=stored.job_id, command=(), directory=folder.path)


def _environment(run: RunSpec, stored: StoredJob, folder: JobFolder) -> dict[str, str]:
    """Built from nothing, so that no secret of the service reaches a job."""
    search_path = (str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")
    return {
        "PATH": os.pathsep.join(search_path),
        "HOME": str(folder.path),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # Jobs share the machine; a payload that wants more threads says so in its definition.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        **run.environment,
        "JOB_ID": stored.job_id,
        "RUN_ID": stored.job.run_id or "",
        "JOB_DIR": str(folder.path),
        "JOB_OUTPUT_DIR": str(folder.output_path),
        **({"JOB_UPLOAD_DIR": str(folder.path / UPLOAD_FOLDER)} if run.uploads else {}),
    }
