"""The processes of the product, started one by one: for tests that kill them and for benchmarks."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil

from lsst.ts.ocps.sandbox import parts
from lsst.ts.ocps.sandbox.environment import child_environment
from lsst.ts.ocps.sandbox.installation import find_configuration
from lsst.ts.ocps.sandbox.layout import SandboxLayout

from .apache_kafka import KAFKA_VERSION, ApacheKafka, find_missing_tools
from .ports import free_port

__all__ = ["BROKERS", "PAYLOADS", "ProcessStack", "run_stack", "wait_for_http"]

BROKERS = ("noida-db",) if find_missing_tools() else ("noida-db", f"Apache Kafka {KAFKA_VERSION}")
"""The brokers that this machine can run."""

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads"
"""Folder with payloads that take no time."""


def wait_for_http(url: str) -> None:
    """Wait until something answers; blocks.

    Raises
    ------
    RuntimeError
        If nothing does.
    """
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.02)  # noqa: TID251 (set-up, outside any event loop)
    raise RuntimeError(f"no answer from {url}")


class ProcessStack:
    """Broker, registry, service and CSC as processes of their own, each of which can be started again.

    Parameters
    ----------
    broker
        One of `BROKERS`.
    folder
        An empty folder.
    payloads
        Folders with payload definitions.
    """

    def __init__(self, broker: str, folder: Path, payloads: Sequence[Path]) -> None:
        self.broker = broker
        self._layout = SandboxLayout.from_folder(folder)
        self._layout.create()
        ports = {name: free_port() for name in parts.SERVING_PARTS}
        self.variables, plans = parts.plan_parts(
            self._layout, ports=ports, payload_directories=payloads, wait_for_csc=_nothing
        )
        self.service_url = self.variables["OCPS_SERVICE_URL"]
        self._layout.write_configuration(
            installed=find_configuration(), service_url=self.service_url, payload_directories=payloads
        )
        self._plans = {plan.name: plan for plan in plans}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._kafka: ApacheKafka | None = None
        if broker != BROKERS[0]:
            self._kafka = ApacheKafka(
                self._layout.broker_data, port=ports[parts.BROKER], controller_port=free_port()
            )

    def use_backend(self, url: str, payloads: Sequence[Path]) -> None:
        """Have the CSC use another back end than the service here, with other payloads, from its next start.

        Parameters
        ----------
        url
            Root URL of a UWS service.
        payloads
            Folders with payload definitions.
        """
        self._layout.write_configuration(
            installed=find_configuration(), service_url=url, payload_directories=payloads
        )

    def start(self) -> None:
        """Start everything but the CSC."""
        if self._kafka is None:
            self._start(parts.BROKER)
        else:
            self._kafka.format()
            self._kafka.start()
        for name in (parts.REGISTRY, parts.SERVICE):
            self._start(name)
        wait_for_http(f"{self.variables['LSST_SCHEMA_REGISTRY_URL']}/subjects")
        wait_for_http(f"{self.service_url}/availability")

    def _start(self, name: str, command: Sequence[str] | None = None) -> None:
        spec = self._plans[name].spec
        with spec.log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command or spec.command,
                # What a killed process leaves of its temporary files goes with the folder.
                env={**spec.environment, "TMPDIR": str(self._layout.folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_csc(self, command: Sequence[str] | None = None) -> psutil.Process:
        """Start the CSC, or another program in its place, and return its process at once."""
        self._start(parts.CSC, command)
        return psutil.Process(self._processes[parts.CSC].pid)

    @property
    def is_csc_alive(self) -> bool:
        """Whether the CSC was started and has not ended by itself."""
        return parts.CSC in self._processes and self._processes[parts.CSC].poll() is None

    def stop_csc(self) -> int:
        """End the CSC with SIGTERM and return its exit status."""
        return self._end(parts.CSC, signal.SIGTERM)

    def kill_csc(self) -> None:
        """End the CSC as a crash does (SIGKILL)."""
        self._end(parts.CSC, signal.SIGKILL)

    def kill_service(self) -> None:
        """End the service as a crash does (SIGKILL); its jobs run on."""
        self._end(parts.SERVICE, signal.SIGKILL)

    def restart_service(self) -> None:
        """Start the service again, on its data and port, and wait until it answers."""
        self._start(parts.SERVICE)
        wait_for_http(f"{self.service_url}/availability")

    def kill_broker(self) -> None:
        """End Apache Kafka as a crash does (SIGKILL)."""
        assert self._kafka is not None, "only an Apache Kafka of this stack is killed"
        self._kafka.kill()

    def restart_broker(self) -> None:
        """Start Apache Kafka again, on its data and port."""
        assert self._kafka is not None
        self._kafka.start()

    def _end(self, name: str, number: signal.Signals) -> int:
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=20)

    @property
    def folder(self) -> Path:
        """Where everything of it is, temporary files too."""
        return self._layout.folder

    @property
    def ledger(self) -> Path:
        """The file of the CSC's ledger."""
        return self._layout.csc_state / f"ocps-{parts.CSC_INDEX}.sqlite3"

    def count_runs(self) -> int:
        """How many runs the CSC's ledger knows."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)

    def log_of(self, name: str) -> str:
        """The log of one part, so far."""
        return self._plans[name].spec.log.read_text(encoding="utf-8")

    def aclose(self) -> None:
        """End every process."""
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=5)
        if self._kafka is not None:
            self._kafka.stop()


async def _nothing() -> None:
    """Readiness is what the benchmarks measure; nobody waits for it here."""


@contextmanager
def run_stack(broker: str, folder: Path, payloads: Sequence[Path]) -> Iterator[ProcessStack]:
    """Run the processes on one broker, with this process's environment set to speak to them."""
    stack = ProcessStack(broker, folder, payloads)
    saved: Mapping[str, str] = dict(os.environ)  # noqa: TID251 (the SAL runtime reads its settings there)
    try:
        stack.start()
        os.environ.update(child_environment(stack.variables))  # noqa: TID251 (same)
        yield stack
    finally:
        stack.aclose()
        os.environ.clear()  # noqa: TID251 (same)
        os.environ.update(saved)  # noqa: TID251 (same)
        shutil.rmtree(folder, ignore_errors=True)
