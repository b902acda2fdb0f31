"""The programs as processes, without a sandbox."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.ports import free_port
from support.sandbox import COMMAND, clean_environment, read_until

PAYLOADS = Path(__file__).parents[2] / "data" / "payloads"


def service_command(data: Path, port: int, payloads: Path = PAYLOADS) -> tuple[str, ...]:
    options = ("--payloads", str(payloads), "--data", str(data), "--port", str(port))
    return (*COMMAND, "service", *options)


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment() | variables,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=clean_environment() | variables, check=False
    )


def test_a_service_serves_until_sigterm_and_ends_well(tmp_path: Path) -> None:
    port = free_port()
    with process(*service_command(tmp_path / "data", port)) as service:
        read_until(service, "service started")
        answer = httpx.get(f"http://127.0.0.1:{port}/availability", trust_env=False)
        assert answer.status_code == 200
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=60)
        assert service.returncode == 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = run(*service_command(tmp_path / "data", port))
    assert service.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in service.stderr
    assert "Traceback" not in service.stderr


def test_a_broken_payload_file_is_named_with_path_value_and_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: Bad Name\ndescription: x\nrun: {command: [ls]}\n")
    service = run(*service_command(tmp_path / "data", 0, tmp_path))
    assert service.returncode != 0
    assert str(tmp_path / "bad.yaml") in service.stderr
    assert "Bad Name" in service.stderr
    assert "Traceback" not in service.stderr


def test_who_is_waited_for_is_said_and_ctrl_c_ends_the_waiting() -> None:
    broker, registry = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    variables = {
        "LSST_TOPIC_SUBNAME": "test",
        "LSST_KAFKA_BROKER_ADDR": broker,
        "LSST_SCHEMA_REGISTRY_URL": registry,
    }
    with process(*COMMAND, "jobs", **variables) as jobs:
        shown = read_until(jobs, "waiting for")
        jobs.send_signal(signal.SIGINT)
        rest, _ = jobs.communicate(timeout=60)
    assert shown == f"waiting for the broker at {broker} and the schema registry at {registry} …\n"
    assert jobs.returncode == 130
    assert rest == "\nocps: interrupted\n"


def test_an_absent_broker_ends_in_one_line_with_its_address_after_a_bounded_time() -> None:
    broker = f"127.0.0.1:{free_port()}"
    variables = {
        "LSST_TOPIC_SUBNAME": "test",
        "LSST_KAFKA_BROKER_ADDR": broker,
        "LSST_SCHEMA_REGISTRY_URL": "memory://absent",
        "OCPS_CONNECT_TIMEOUT": "1",
    }
    for command in ((*COMMAND, "jobs"), (sys.executable, "-c", COMMANDER, "1")):
        answer = run(*command, **variables)
        assert answer.returncode == 4
        assert re.search(rf"(ocps: ).*{broker}.*\n$", answer.stderr)
        assert "Traceback" not in answer.stderr


COMMANDER = "from lsst.ts.ocps.cli.commander import command_ocps; command_ocps()"
