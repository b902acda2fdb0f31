"""Sandboxes as real processes, driven by the command line as people drive it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.environment import PART_VARIABLE
from lsst.ts.ocps.sandbox.layout import SandboxLayout
from lsst.ts.ocps.sandbox.process_table import ProcessIdentity, find_by_variable, identify
from lsst.ts.ocps.sandbox.state import PartState, SandboxState, load_state

__all__ = [
    "COMMAND",
    "PAYLOADS",
    "START_TIMEOUT",
    "SandboxFolder",
    "clean_environment",
    "identity_of",
    "read_until",
    "running",
    "until",
]

COMMAND = (sys.executable, "-m", "lsst.ts.ocps.cli.main")

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads"
"""Definitions for tests: ``nap`` sleeps, ``fail`` fails."""

START_TIMEOUT = 100.0
"""How long a sandbox may take to start on a machine that does other things too (s)."""

_SITE = re.compile(r"LSST_|OCPS_|DM_CONFIG_")


def clean_environment() -> dict[str, str]:
    """The environment of somebody who has configured nothing."""
    # As the test process got it; a test may have changed its own.
    return {name: value for name, value in os.environ.items() if not _SITE.match(name)}  # noqa: TID251 (see above)


def until(condition: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Wait for a condition.

    Parameters
    ----------
    condition
        True when it is met.
    what
        What is waited for, for the message.
    seconds
        Longest wait (s).
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        _pause()


def _pause() -> None:
    os.sched_yield()
    time.sleep(0.05)  # noqa: TID251 (no event loop here)


@dataclass(frozen=True)
class SandboxFolder:
    """A folder in which a sandbox runs, or may."""

    layout: SandboxLayout

    def ocps(
        self, *arguments: str, speaks_to_it: bool = False, timeout: float = START_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run one command.

        Parameters
        ----------
        *arguments
            As typed after ``ocps``.
        speaks_to_it
            Whether the command gets the variables of the sandbox.
        timeout
            Longest time (s).
        """
        return subprocess.run(
            (*COMMAND, *arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment if speaks_to_it else clean_environment(),
            cwd=self.layout.folder.parent,
            check=False,
        )

    def sandbox(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``ocps sandbox COMMAND`` for this folder."""
        return self.ocps("sandbox", command, "--folder", str(self.layout.folder), *arguments)

    @contextmanager
    def foreground(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run ``ocps sandbox up`` as in a terminal of its own; it is killed if it still runs at the end."""
        process = subprocess.Popen(
            (*COMMAND, "sandbox", "up", "--folder", str(self.layout.folder), *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
            self.sandbox("down")

    @property
    def state(self) -> SandboxState:
        """What the state file says."""
        state = load_state(self.layout.state_file)
        assert state is not None
        return state

    def part(self, name: str) -> PartState:
        """One part of the running sandbox."""
        return next(part for part in self.state.parts if part.name == name)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that speaks to the sandbox."""
        return clean_environment() | self.state.variables

    def processes(self) -> list[ProcessIdentity]:
        """Every process of the sandbox, jobs included, its supervisor excepted."""
        parts = find_by_variable(PART_VARIABLE, self.layout.folder)
        return [*parts, *self.jobs()]

    def jobs(self) -> list[ProcessIdentity]:
        """The processes of its jobs."""
        return list(find_by_variable("JOB_DIR", self.layout.service_data))


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the output of a process until a line holds a text; the lines read.

    Parameters
    ----------
    process
        Whose standard output is a pipe.
    text
        What is waited for. If the output ends before, the test fails and shows it.
    """
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or text not in lines[-1]:
        line = process.stdout.readline()
        assert line, f"no {text!r} in:\n{''.join(lines)}"
        lines.append(line)
    return "".join(lines)


def identity_of(process: subprocess.Popen[str]) -> ProcessIdentity:
    """The process, unmistakably."""
    identity = identify(process.pid)
    assert identity is not None
    return identity


@contextmanager
def running(folder: Path, *, payloads: Sequence[Path] = ()) -> Iterator[SandboxFolder]:
    """A sandbox with its CSC enabled.

    Parameters
    ----------
    folder
        Its folder.
    payloads
        Further folders with payload definitions.
    """
    place = SandboxFolder(SandboxLayout.from_folder(folder))
    extra = [item for path in payloads for item in ("--payloads", str(path))]
    up = place.sandbox("up", "--detach", *extra)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield place
    finally:
        place.sandbox("down")


@pytest.fixture
def sandbox_folder(tmp_path: Path) -> Iterator[SandboxFolder]:
    """A folder without a sandbox; whatever runs in it at the end is ended."""
    place = SandboxFolder(SandboxLayout.from_folder(tmp_path / "box"))
    yield place
    place.sandbox("down")


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxFolder]:
    """One sandbox, its CSC enabled, for all tests of a worker; it also has the payloads of the tests."""
    folder = tmp_path_factory.mktemp("sandbox") / "box"
    with running(folder, payloads=[PAYLOADS]) as place:
        yield place
