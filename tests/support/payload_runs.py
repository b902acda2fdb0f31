"""Runs a shipped payload as the service does: its command, as a process, with the environment of a job."""

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsst.ts.ocps.payloads.catalogue import load_catalogue
from lsst.ts.ocps.payloads.command import build_command
from lsst.ts.ocps.payloads.parameters import decode, encode, validate

__all__ = ["SHIPPED", "PayloadRun", "run_payload"]

SHIPPED = Path(__file__).parents[2] / "config" / "payloads"
"""The definitions that come with the package."""


@dataclass(frozen=True)
class PayloadRun:
    """A run that has ended."""

    exit_code: int
    stderr: str
    outputs: Path

    @property
    def reason(self) -> str:
        """The last line that is not empty on standard error: what the service tells as the error summary."""
        return [line for line in self.stderr.splitlines() if line.strip()][-1]

    @property
    def result(self) -> dict[str, Any]:
        """``result.json``."""
        found: dict[str, Any] = json.loads((self.outputs / "result.json").read_text())
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """The values of ``metrics.json`` by name."""
        return {
            item["name"]: item["value"] for item in json.loads((self.outputs / "metrics.json").read_text())
        }


def run_payload(
    folder: Path, payload: str, *, file_size_limit: int | None = None, **parameters: Any
) -> PayloadRun:
    """Run a payload to its end.

    The parameters go through the codec as they do between CSC and service. The job gets no variable of ours,
    and a home directory into which it cannot write. With ``file_size_limit`` (byte) larger files cannot be
    written, as on a full disk.
    """
    definition = load_catalogue([SHIPPED])[payload]
    assert definition.run is not None
    sent = encode(definition, validate(definition, parameters))
    command = build_command(definition.run, validate(definition, decode(definition, sent)))
    outputs = folder / definition.run.outputs
    outputs.mkdir(parents=True)
    environment = {
        **definition.run.environment,
        "HOME": "/proc/no-home",
        "JOB_ID": "1",
        "RUN_ID": "ocps-test-1-x",
        "JOB_DIR": str(folder),
        "JOB_OUTPUT_DIR": str(outputs),
    }

    def limit() -> None:
        if file_size_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, file_size_limit))

    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=limit,
    )
    return PayloadRun(ended.returncode, ended.stderr, outputs)
