"""Programs that cannot start say why in one line, and end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.installation import find_configuration
from support.brokers import NoidaProcess
from support.ports import free_port

TIMEOUT = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a CSC needs, with a broker and a registry at addresses where nothing listens."""
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 (what a shell would pass on)
        if not name.startswith(("LSST_", "OCPS_"))
    }
    return inherited | {
        "LSST_TOPIC_SUBNAME": "test",
        "LSST_SITE": "test",
        "LSST_KAFKA_BROKER_ADDR": f"127.0.0.1:{free_port()}",
        "LSST_SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{free_port()}",
        "DM_CONFIG_OCPS_DIR": str(find_configuration()),
        "OCPS_STATE_DIR": str(tmp_path),
        "OCPS_CONNECT_TIMEOUT": "2",
    }


def run(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "variable", ["LSST_TOPIC_SUBNAME", "LSST_SITE", "DM_CONFIG_OCPS_DIR", "OCPS_STATE_DIR"]
)
def test_the_csc_names_a_variable_that_is_not_set(environment: dict[str, str], variable: str) -> None:
    del environment[variable]
    done = run("lsst.ts.ocps.csc.main", "1", environment=environment)
    assert done.returncode == 1
    assert variable in last_line(done)
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_the_csc_tries_an_absent_broker_for_a_bounded_time_and_names_its_address(
    environment: dict[str, str], registry_url: str
) -> None:
    environment["LSST_SCHEMA_REGISTRY_URL"] = registry_url
    begin = time.monotonic()
    done = run("lsst.ts.ocps.csc.main", "1", environment=environment)
    assert done.returncode == 1
    assert environment["LSST_KAFKA_BROKER_ADDR"] in last_line(done)
    assert time.monotonic() - begin >= 1.5, "it gave up before its time"


@pytest.mark.system
def test_the_csc_names_the_address_of_an_absent_registry(
    environment: dict[str, str], noida_process: NoidaProcess
) -> None:
    environment["LSST_KAFKA_BROKER_ADDR"] = noida_process.address
    # The broker, which is there, gets all the time that it may need on a busy machine.
    environment["OCPS_CONNECT_TIMEOUT"] = "6"
    done = run("lsst.ts.ocps.csc.main", "1", environment=environment)
    assert done.returncode == 1
    assert environment["LSST_SCHEMA_REGISTRY_URL"] in last_line(done)


def test_the_command_line_names_what_is_missing(environment: dict[str, str]) -> None:
    del environment["LSST_TOPIC_SUBNAME"]
    done = run("lsst.ts.ocps.cli.main", "state", environment=environment)
    assert done.returncode != 0
    assert "LSST_TOPIC_SUBNAME" in last_line(done)
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_the_command_line_names_the_address_of_an_absent_broker(
    environment: dict[str, str], registry_url: str
) -> None:
    environment["LSST_SCHEMA_REGISTRY_URL"] = registry_url
    done = run("lsst.ts.ocps.cli.main", "run", "nap", environment=environment)
    assert done.returncode != 0
    assert environment["LSST_KAFKA_BROKER_ADDR"] in last_line(done)
