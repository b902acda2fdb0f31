"""What is left of runs when processes of the product were killed: on the broker, the service, the disk."""

import hashlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.csc.backends import BackendPool, to_stored_settings
from lsst.ts.ocps.csc.records import RECORD, Run, RunRecord
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import AckError, Remote, SalRetCode, State
from lsst.ts.ocps.uws.jobs import JobRef
from support import run_dying_csc
from support.processes import until
from support.run_dying_csc import DeathStep
from support.sal_log import read_samples
from support.stack import ProcessStack

__all__ = ["TIMEOUT", "CrashBench", "check_deposit", "send_nap", "send_run", "write_deposited_payload"]

TIMEOUT = 90.0
"""Longest wait for anything that a test expects (s); two starts of the CSC may lie in it."""


async def send_nap(remote: Remote, seconds: float, prereq_jobs: str = "") -> Any:
    """Run the payload that sleeps."""
    return await send_run(remote, "nap", prereq_jobs=prereq_jobs, parameters=json.dumps({"seconds": seconds}))


async def send_run(remote: Remote, payload: str, **fields: Any) -> Any:
    """Send ``run``; the first acknowledgement, or the failed one."""
    try:
        return await remote.cmd_run.set_start(payload=payload, wait_done=False, timeout=TIMEOUT, **fields)
    except AckError as error:
        return error.ackcmd


_KEEP = """
import os, pathlib
for name in ("first.txt", "second.txt", "third.txt"):
    pathlib.Path(os.environ["JOB_OUTPUT_DIR"], name).write_text(name * 1000)
"""


def write_deposited_payload(folder: Path, name: str, location: str) -> None:
    """Define a payload of three results that go to a place; nothing else of it is of interest."""
    folder.mkdir(exist_ok=True)
    definition = {
        "name": name,
        "description": "Write three results.",
        "deposit": {"location": location, "include": ["*.txt"]},
        "run": {"command": ["python", "-c", _KEEP]},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")


def check_deposit(files: Mapping[str, bytes], document: Mapping[str, Any]) -> None:
    """A deposit is whole, and of this run.

    Parameters
    ----------
    files
        Content of what lies there, by name.
    document
        What ``job_result`` says.
    """
    assert document["deposit"]["state"] == "complete"
    names = ("first.txt", "second.txt", "third.txt")
    assert set(files) == {"manifest.json", *names}
    manifest = json.loads(files["manifest.json"])
    assert manifest["run_id"] == document["runId"]
    sums = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
    for name in names:
        assert files[name] == name.encode() * 1000
        assert sums[name] == hashlib.sha256(files[name]).hexdigest()


class CrashBench:
    """Processes that die and are started again, and the traces that they leave.

    Parameters
    ----------
    stack
        Everything but the CSC runs.
    folder
        Where the CSC finds out when to die.
    """

    def __init__(self, stack: ProcessStack, folder: Path) -> None:
        self.stack = stack
        self._csc: psutil.Process | None = None
        self._step_file = folder / "step"
        self._variables: Mapping[str, str] = {}

    # Life and death of the CSC

    async def ensure_csc(self, remote: Remote) -> None:
        """Have a CSC that is ENABLED, and knows up to where it has read the commands."""
        if not self.stack.is_csc_alive:
            await self.start_csc(remote)
        await until(self._has_position, "the CSC has written down its position", seconds=TIMEOUT)

    async def start_csc(self, remote: Remote) -> None:
        """Start the CSC, and wait until it is ENABLED; it dies of nothing."""
        self._step_file.unlink(missing_ok=True)
        program, states = str(Path(run_dying_csc.__file__)), remote.evt_summaryState
        variables = [f"{name}={value}" for name, value in self._variables.items()]
        self._csc = process = self.stack.start_csc(
            ["env", *variables, sys.executable, program, str(self._step_file), "1", "--state", "enabled"]
        )
        while True:
            data = await states.next(flush=False, timeout=TIMEOUT)
            if data.private_origin == process.pid and data.summaryState == State.ENABLED:
                return

    def temporary_files(self, prefix: str) -> list[Path]:
        """The temporary files of all processes of the stack whose names begin so."""
        return list(self.stack.folder.glob(f"{prefix}*"))

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """Give the next CSC some more environment variables; one that runs is ended."""
        self._variables = variables
        if self.stack.is_csc_alive:
            self.stack.stop_csc()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The CSC cannot write to any file; it may be killed meanwhile."""
        assert self._csc is not None
        unlimited = self._csc.rlimit(psutil.RLIMIT_FSIZE)
        self._csc.rlimit(psutil.RLIMIT_FSIZE, (1, unlimited[1]))
        try:
            yield
        finally:
            if self.stack.is_csc_alive:
                self._csc.rlimit(psutil.RLIMIT_FSIZE, unlimited)

    def arm(self, step: DeathStep) -> None:
        """Have the CSC die when it gets to a step."""
        self._step_file.write_text(step, encoding="utf-8")

    async def wait_for_death(self) -> None:
        """Wait until the CSC has killed itself."""
        await until(lambda: not self.stack.is_csc_alive, "the CSC has died", seconds=TIMEOUT)

    # Traces

    async def check_no_run(self, ack: Any, jobs: set[str], *, refusals: int = 1) -> None:
        """A command was refused, and nothing else came of it, nor of anything since.

        Parameters
        ----------
        ack
            An acknowledgement of the command.
        jobs
            What `list_naps` gave before it was sent.
        refusals
            How often its sender was told.
        """
        assert self._read_run(ack) is None
        assert await self.list_naps() == jobs
        assert [each["ack"] for each in await self._read_acks(ack)] == [SalRetCode.CMD_FAILED] * refusals

    async def check_run(self, ack: Any) -> dict[str, Any]:
        """A command had one job that ran, one ``job_result``, and final acknowledgements that are alike.

        Returns
        -------
        dict
            What ``job_result`` says.
        """
        await until(lambda: self._is_reported(ack), "the ledger says that the run is reported")
        record = self._read_run(ack)
        assert record is not None
        assert record.handle is not None
        refs = await self._list_jobs(record.run)
        # A second job may have been asked for; one that nobody starts stays PENDING until it is deleted.
        assert [ref.job_id for ref in refs if ref.phase == "COMPLETED"] == [record.handle.job_id]
        assert {ref.phase for ref in refs} <= {"COMPLETED", "PENDING"}

        results = await read_samples(SalSettings.from_environment(), "OCPS", "evt_job_result")
        counts = Counter(each["job_id"] for each in results)
        assert counts[record.handle.job_id] == 1
        assert set(counts.values()) == {1}, "a restart has repeated the end of an older run"
        (result,) = [each for each in results if each["job_id"] == record.handle.job_id]
        assert result["exit_code"] == 0
        document: dict[str, Any] = json.loads(result["result"])
        assert document["runId"] == record.run.run_id

        acks = await self._read_acks(ack)
        codes = [each["ack"] for each in acks]
        finals = [(each["error"], each["result"]) for each in acks if each["ack"] == SalRetCode.CMD_COMPLETE]
        assert finals, codes
        told = "Done" if record.run.command == "execute" else result["result"]
        assert set(finals) == {(0, told)}
        first_final = codes.index(SalRetCode.CMD_COMPLETE)
        assert set(codes[:first_final]) == {SalRetCode.CMD_INPROGRESS}
        assert set(codes[first_final:]) == {SalRetCode.CMD_COMPLETE}
        return document

    def read_run(self, ack: Any) -> Run:
        """What the ledger says of a command; nobody else need be alive."""
        record = self._read_run(ack)
        assert record is not None, "the ledger does not know the run"
        return record.run

    def _has_position(self) -> bool:
        return bool(self._query("SELECT 1 FROM positions WHERE topic LIKE '%command_run'", ()))

    def _is_reported(self, ack: Any) -> bool:
        record = self._read_run(ack)
        return record is not None and record.state.step == "reported"

    def _read_run(self, ack: Any) -> RunRecord | None:
        rows = self._query("SELECT record FROM runs WHERE seq_num = ?", (ack.private_seqNum,))
        records = [RECORD.validate_json(text) for (text,) in rows]
        # Each Remote counts from a number of its own; those of two may be the same.
        mine = [record for record in records if record.run.key.identity == ack.identity]
        return mine[0] if mine else None

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.stack.ledger}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, values).fetchall()

    async def list_naps(self) -> set[str]:
        """The ids of all jobs that `send_nap` has led to."""
        service = to_stored_settings("service", UwsSettings(url=self.stack.service_url))
        return {ref.job_id for ref in await self._list(service, "nap")}

    async def _list_jobs(self, run: Run) -> list[JobRef]:
        return [ref for ref in await self._list(run.backend, run.payload) if ref.run_id == run.run_id]

    async def _list(self, stored: Mapping[str, Any], payload: str) -> Sequence[JobRef]:
        pool = BackendPool()
        try:
            return await (await pool.get(stored)).list_jobs(payload, last=1000)
        finally:
            await pool.aclose()

    async def _read_acks(self, ack: Any) -> list[dict[str, Any]]:
        acks = await read_samples(SalSettings.from_environment(), "OCPS", "ack_ackcmd")
        return [
            each
            for each in acks
            if (each["private_seqNum"], each["identity"], each["origin"])
            == (ack.private_seqNum, ack.identity, ack.origin)
        ]
