"""``run_ocps INDEX`` as a process of its own; the broker is in its memory, so that none is needed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.brokers import make_settings
from support.csc import environment_of, write_configuration
from support.ports import free_port

TIMEOUT = 60.0


class Program:
    """The program and its environment."""

    def __init__(self, folder: Path) -> None:
        state_dir = folder / "state"
        state_dir.mkdir()
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},  # noqa: TID251 (passed on)
            **environment_of(make_settings(), state_dir),
            "OCPS_CONNECT_TIMEOUT": "3",
            "DM_CONFIG_OCPS_DIR": str(write_configuration(folder / "config").parents[1]),
        }
        self.log = folder / "log.txt"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lsst.ts.ocps.csc.main", *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def fail(self, *arguments: str) -> str:
        """Run it to its failure; the last line that it says."""
        assert self.start(*arguments).wait(TIMEOUT) == 1
        return self.log.read_text().splitlines()[-1]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    for process in program.processes:
        if process.poll() is None:
            process.kill()
            process.wait(TIMEOUT)


@pytest.mark.parametrize("name", ["LSST_TOPIC_SUBNAME", "LSST_SITE", "OCPS_STATE_DIR", "DM_CONFIG_OCPS_DIR"])
def test_a_missing_variable_is_one_clear_line_and_status_1(program: Program, name: str) -> None:
    del program.environment[name]
    assert name in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_a_configuration_folder_that_is_not_there_is_one_clear_line(program: Program) -> None:
    program.environment["DM_CONFIG_OCPS_DIR"] = "/does/not/exist"
    assert "/does/not/exist" in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_a_state_folder_that_is_not_there_is_one_clear_line(program: Program) -> None:
    program.environment["OCPS_STATE_DIR"] = "/does/not/exist"
    assert "/does/not/exist does not exist" in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(program: Program) -> None:
    # No file can be made there, whoever tries.
    program.environment["OCPS_STATE_DIR"] = "/sys"
    assert "ledger lock /sys/ocps-1.lock cannot be written" in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_a_registry_that_is_not_there_is_named(program: Program) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    program.environment["LSST_SCHEMA_REGISTRY_URL"] = url
    assert url in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_a_broker_that_is_not_there_is_named(program: Program) -> None:
    address = f"127.0.0.1:{free_port()}"
    program.environment["LSST_KAFKA_BROKER_ADDR"] = address
    assert address in program.fail("1")
    assert "Traceback" not in program.log.read_text()


def test_an_index_that_does_not_exist_is_a_usage_error(program: Program) -> None:
    assert program.start("7").wait(TIMEOUT) == 2


def test_version_needs_no_environment(program: Program) -> None:
    program.environment = {}
    assert program.start("--version").wait(TIMEOUT) == 0


def test_it_runs_until_it_is_told_to_stop_and_a_second_one_is_refused(program: Program) -> None:
    first = program.start("1")
    ledger = Path(program.environment["OCPS_STATE_DIR"]) / "ocps-1.sqlite3"
    deadline = 600
    while not ledger.exists() and first.poll() is None and deadline:
        deadline -= 1
        try:
            first.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert first.poll() is None, program.log.read_text()
    line = program.fail("1")
    assert f"held by process {first.pid}" in line
    first.send_signal(signal.SIGTERM)
    assert first.wait(TIMEOUT) == 0, program.log.read_text()
    # All but the last words of a program that cannot start is JSON.
    lines = [line for line in program.log.read_text().splitlines() if not line.startswith("run_ocps: ")]
    assert lines
    assert all(json.loads(line).keys() >= {"time", "level", "logger", "event"} for line in lines)
