"""A real schema registry for the system tests: Apicurio Registry, which speaks Confluent's API under a path.

It comes from Maven Central, once, into a cache outside the repository, and keeps its data in memory.
"""

import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.jar_cache import fill_once, run_maven
from support.ports import free_port

__all__ = ["APICURIO_VERSION", "ApicurioRegistry", "ensure_apicurio"]

APICURIO_VERSION = "2.6.13.Final"
"""Runs on Java 17; everything is in one archive of Maven Central."""

_START_TIMEOUT = 240.0
"""Longest time of a start, which takes 10 s where nothing else runs (s)."""

_STOP_TIMEOUT = 20.0

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy"


def ensure_apicurio() -> Path:
    """Return the folder of the program, filled on the first call."""
    return fill_once(f"apicurio-{APICURIO_VERSION}", _fetch)


def _fetch(folder: Path) -> None:
    artifact = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
    run_maven(_PLUGIN, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()


class ApicurioRegistry:
    """One registry process.

    Parameters
    ----------
    directory
        Folder for its log.
    port
        A free TCP port of the loopback interface.
    """

    def __init__(self, directory: Path, *, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        """What a client is told; it has a path."""

        self.log = directory / "apicurio.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = ensure_apicurio() / f"apicurio-registry-app-{APICURIO_VERSION}-runner.jar"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
                    *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}"),
                    *("-jar", str(program)),
                ],
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
            )
        end = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.2)  # noqa: TID251 (start-up of a test bench, outside any event loop)
        self.stop()
        ending = self.log.read_text()[-2000:]
        raise RuntimeError(f"Apicurio Registry did not start; its log ends in:\n{ending}")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT)


@pytest.fixture(scope="session")
def apicurio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an Apicurio Registry process that all system tests share."""
    registry = ApicurioRegistry(tmp_path_factory.mktemp("apicurio"), port=free_port())
    registry.start()
    yield registry.url
    registry.stop()
