"""What is left of many runs: on the disk, on the service, on the broker; and whether it fits together."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.csc.records import RECORD, CommandKey, RunRecord
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.uws.jobs import JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.sal_log import read_samples
from support.stack import ProcessStack

__all__ = ["Evidence", "collect_evidence", "read_unfinished"]

_FINAL_CODES = {SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED, SalRetCode.CMD_ABORTED}


@dataclass(frozen=True)
class Evidence:
    """What is left of the runs of one CSC."""

    records: Sequence[RunRecord]
    """All rows of the ledger."""

    jobs: Sequence[JobRef]
    results: Counter[str]
    """How many ``job_result`` were written, by run_id."""

    finals: Mapping[tuple[str, int, int], Counter[str]]
    """How often each text was the final acknowledgement, by identity, origin and number of the command."""

    @property
    def accepted(self) -> list[RunRecord]:
        """The runs that have, or had, a job."""
        return [record for record in self.records if record.handle is not None]

    @property
    def ran(self) -> Counter[str]:
        """How many jobs were started, by run_id."""
        return Counter(ref.run_id or "" for ref in self.jobs if ref.phase is not ExecutionPhase.PENDING)

    def rows(self) -> list[tuple[str, Any]]:
        """Names and figures for a report."""
        acks = [self._finals_of(record.run.key) for record in self.records]
        outcomes = Counter(record.outcome.kind.value for record in self.accepted if record.outcome)
        return [
            ("accepted: runs with a job", len(self.accepted)),
            ("ended: runs with one job_result", sum(count == 1 for count in self.results.values())),
            *((f"… of these {kind}", count) for kind, count in sorted(outcomes.items())),
            ("doubled: runs with several job_results", len(self.doubled_results)),
            ("doubled: runs with several jobs that ran", len(self.doubled_jobs)),
            ("lost: accepted runs without job_result", len(self.lost)),
            ("lost: jobs that ran and are in no ledger", len(self.unknown_jobs)),
            ("runs without final acknowledgement", len(self.unanswered)),
            ("runs with final acknowledgements that differ", len(self.contradicted)),
            ("runs whose final acknowledgement was repeated", sum(each.total() > 1 for each in acks)),
            ("jobs left PENDING that never ran", sum(r.phase is ExecutionPhase.PENDING for r in self.jobs)),
        ]

    @property
    def doubled_results(self) -> list[str]:
        """run_ids with more than one ``job_result``."""
        return [run_id for run_id, count in self.results.items() if count > 1]

    @property
    def doubled_jobs(self) -> list[str]:
        """run_ids with more than one job that ran."""
        return [run_id for run_id, count in self.ran.items() if count > 1]

    @property
    def lost(self) -> list[str]:
        """run_ids of accepted runs that the world has never heard the end of."""
        return [record.run.run_id for record in self.accepted if not self.results[record.run.run_id]]

    @property
    def unknown_jobs(self) -> list[str]:
        """run_ids of jobs that ran, of which the ledger knows nothing."""
        known = {record.run.run_id for record in self.records}
        return [run_id for run_id in self.ran if run_id not in known]

    @property
    def unanswered(self) -> list[str]:
        """run_ids of runs whose sender was never told the end."""
        return [record.run.run_id for record in self.records if not self._finals_of(record.run.key)]

    @property
    def contradicted(self) -> list[str]:
        """run_ids of runs whose sender was told two ends."""
        return [record.run.run_id for record in self.records if len(self._finals_of(record.run.key)) > 1]

    def complaints(self) -> list[str]:
        """One line for each run of which anything is wrong."""
        wrong = {
            "several job_results": self.doubled_results,
            "several jobs ran": self.doubled_jobs,
            "no job_result": self.lost,
            "not in the ledger": self.unknown_jobs,
            "no final acknowledgement": self.unanswered,
            "final acknowledgements differ": self.contradicted,
        }
        return [f"* {run_id}: {what}" for what, run_ids in wrong.items() for run_id in sorted(run_ids)]

    def _finals_of(self, key: CommandKey) -> Counter[str]:
        return self.finals.get((key.identity, key.origin, key.seq_num), Counter())


def read_unfinished(ledger: Path) -> int:
    """How many runs are not reported yet."""
    return sum(record.state.step != "reported" for record in _read_ledger(ledger))


def _read_ledger(ledger: Path) -> list[RunRecord]:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT record FROM runs").fetchall()
    return [RECORD.validate_json(text) for (text,) in rows]


async def collect_evidence(stack: ProcessStack) -> Evidence:
    """Read the ledger, the job list of payload ``nap``, and the topics."""
    settings = SalSettings.from_environment()
    backend = await open_backend("service", UwsSettings(url=stack.service_url))
    try:
        jobs = await backend.list_jobs("nap", last=1_000_000)
    finally:
        await backend.aclose()
    results = await read_samples(settings, "OCPS", "evt_job_result")
    finals: dict[tuple[str, int, int], Counter[str]] = defaultdict(Counter)
    for ack in await read_samples(settings, "OCPS", "ack_ackcmd"):
        if ack["ack"] in _FINAL_CODES:
            command = (ack["identity"], ack["origin"], ack["private_seqNum"])
            finals[command][f"{ack['ack']} {ack['error']} {ack['result']}"] += 1
    return Evidence(
        records=_read_ledger(stack.ledger),
        jobs=jobs,
        results=Counter(json.loads(each["result"])["runId"] for each in results),
        finals=finals,
    )
