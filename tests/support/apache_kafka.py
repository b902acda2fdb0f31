"""A real Apache Kafka broker (KRaft, one node) for the system tests and the benchmarks.

The jars come from Maven Central through Maven, once, into a cache outside the repository.
"""

import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from support.jar_cache import fill_once, run_maven

__all__ = ["KAFKA_VERSION", "ApacheKafka", "ensure_jars", "find_missing_tools"]

KAFKA_VERSION = "3.9.1"
"""As in kafka-pom.xml."""

_POM = Path(__file__).with_name("kafka-pom.xml")
_PACKAGE_OF_TOOL = {"java": "openjdk-17-jre-headless", "mvn": "maven"}


def find_missing_tools() -> list[str]:
    """Name each missing tool with the Debian package that has it."""
    return [
        f"{tool} (Debian package {package})"
        for tool, package in _PACKAGE_OF_TOOL.items()
        if shutil.which(tool) is None
    ]


def ensure_jars() -> Path:
    """Return the folder of the jars, filled on the first call."""
    return fill_once(f"kafka-{KAFKA_VERSION}", _fetch)


def _fetch(folder: Path) -> None:
    run_maven("-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}")


class ApacheKafka:
    """One broker process, its data and its port.

    Parameters
    ----------
    directory
        Folder for data, configuration and log.
    port, controller_port
        Free TCP ports of the loopback interface.
    settings
        Further lines of ``server.properties``, by name.
    """

    def __init__(
        self, directory: Path, *, port: int, controller_port: int, settings: dict[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.log = directory / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(directory / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "num.network.threads": "2",
            "num.io.threads": "2",
            **(settings or {}),
        }
        self._properties = directory / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _java(self, *arguments: str) -> list[str]:
        return [
            *("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
            *("-cp", f"{ensure_jars()}/*", *arguments),
        ]

    def format(self, logins: Mapping[tuple[str, str], str] | None = None) -> None:
        """Prepare the empty data folder (once).

        Parameters
        ----------
        logins
            Passwords by SCRAM mechanism and user name; known from the first start on.
        """
        # One in 64 random ids begins with a dash, which the tool takes for an option of its own.
        cluster = "A" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:].rstrip("=")
        arguments = ["format", "-t", cluster, "-c", str(self._properties)]
        for (mechanism, user), password in (logins or {}).items():
            arguments += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        with self.log.open("ab") as log:
            subprocess.run(
                self._java("kafka.tools.StorageTool", *arguments),
                check=True,
                stdout=log,
                stderr=log,
                timeout=60,
            )

    def start(self, *, timeout: float = 60) -> None:
        """Start the broker and wait until it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)), stdout=log, stderr=log
            )
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)  # noqa: TID251 (start-up of a test bench, outside any event loop)
        self.stop()
        raise RuntimeError(f"Apache Kafka did not start; its log ends in:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End the broker as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the broker as an operator does (SIGTERM)."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process = None
