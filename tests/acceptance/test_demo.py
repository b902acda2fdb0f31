"""The demo as people see it."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.layout import SandboxLayout
from lsst.ts.ocps.sandbox.state import SandboxPhase
from support.sandbox import COMMAND, SandboxFolder, clean_environment, read_until

pytestmark = pytest.mark.timeout(300)

VERDICTS = {
    "source-catalog": "completed",
    "ccd-reduce": "completed",
    "bias-combine": "completed",
    "catalog-deep": "completed",
    "reduce-flat": "completed",
    "missing-image": "failed",
    "aborted": "aborted",
    "rejected": "rejected",
}


def command(folder: Path, results: Path) -> tuple[str, ...]:
    return (*COMMAND, "sandbox", "demo", "--folder", str(folder), "--results", str(results))


def check_output(text: str, results: Path) -> None:
    states = re.findall(r"^csc is ([A-Z]+) ", text, re.MULTILINE)
    assert states == ["STANDBY", "DISABLED", "ENABLED"]
    verdicts = re.findall(r"^ok +(\S+) +[\d.]+ s +(\w+), as expected$", text, re.MULTILINE)
    assert dict(verdicts) == VERDICTS
    assert text.endswith("8 of 8 runs ended as expected\n")
    files = [Path(line) for line in re.findall(r"^  (/\S+)$", text, re.MULTILINE)]
    assert {"catalog.ecsv", "reduced.fits", "master-bias.fits"} <= {file.name for file in files}
    assert all(file.is_relative_to(results) and file.stat().st_size for file in files)


@pytest.mark.system
def test_the_demo_shows_every_way_a_run_can_end_and_leaves_nothing_running(tmp_path: Path) -> None:
    place = SandboxFolder(SandboxLayout.from_folder(tmp_path / "box"))
    arguments = command(place.layout.folder, tmp_path / "results")
    try:
        demo = subprocess.run(
            arguments, capture_output=True, text=True, timeout=250, env=clean_environment(), check=False
        )
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert place.processes() == []
        assert place.state.phase is SandboxPhase.DOWN
        check_output(demo.stdout, tmp_path / "results")
        # A second one begins in the state that the first has left; Ctrl-C in a run does no harm.
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment()
        ) as second:
            try:
                read_until(second, "EXECUTING")
                second.send_signal(signal.SIGINT)
                rest, _ = second.communicate(timeout=60)
            finally:
                second.kill()
        assert "stopped by SIGINT" in rest
        assert second.returncode == 130
        assert place.processes() == []
    finally:
        place.sandbox("down")
