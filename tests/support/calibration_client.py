"""A client that does what the nightly calibration automation does with the CSC (baseline section 7).

It uses the names and defaults that a script of ts_externalscripts uses, and writes down a finding wherever
the script would go on with bad data.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import SalRetCode, State

__all__ = ["CONFIG", "DATA_QUERY", "PIPELINE", "CalibrationClient"]

PIPELINE = "${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml"
CONFIG = "-j 8 -i LATISS/raw/all,LATISS/calib  --register-dataset-types   -c isr:doDefect=False"
DATA_QUERY = "instrument='LATISS' AND detector IN (0) AND exposure IN (2024031300001..2024031300005)"

_OODS_TIMEOUT = 120.0
"""How long the script waits for an event after the final acknowledgement (s)."""


@dataclass
class CalibrationClient:
    """One script on one Remote; its branches share the Remote's queue of events."""

    remote: Remote
    pipeline: str = PIPELINE
    config: str = CONFIG
    data_query: str = DATA_QUERY
    findings: list[str] = field(default_factory=list)
    """Where the script would have gone on with bad data."""

    discarded: list[str] = field(default_factory=list)
    """Job ids of the results that were somebody else's."""

    async def assert_enabled(self) -> None:
        """Look at the summary state as a latecomer finds it."""
        state = await self.remote.evt_summaryState.aget(timeout=5)
        assert state.summaryState == State.ENABLED

    async def run_job(self, *, inputs: str = "") -> dict[str, Any]:
        """Run one pipeline to its end; the document of its ``job_result``.

        Parameters
        ----------
        inputs
            A collection that is named besides those of the configuration.
        """
        remote = self.remote
        ack = await remote.cmd_execute.set_start(
            wait_done=False,
            pipeline=self.pipeline,
            version="",
            config=f"{self.config} -i {inputs}" if inputs else self.config,
            data_query=self.data_query,
        )
        if ack.ack != SalRetCode.CMD_INPROGRESS:
            self.findings.append(f"the first acknowledgement is {ack.ack!r}")
        job_id = json.loads(ack.result)["job_id"]
        if not re.fullmatch(r"[A-Za-z0-9_-]+", job_id):
            self.findings.append(f"{job_id!r} cannot stand in a collection name and a shell command")
        final = await remote.cmd_execute.next_ackcmd(ack)
        document = await self._find_result(job_id)
        if final.ack == SalRetCode.CMD_COMPLETE and document.get("phase") != "COMPLETED":
            self.findings.append(f"goes on after a job that is {document.get('phase')}")
        return document

    async def _find_result(self, job_id: str) -> dict[str, Any]:
        """Throw results away, as the script does, until the right one comes."""
        while True:
            data = await self.remote.evt_job_result.next(flush=False, timeout=_OODS_TIMEOUT)
            document: dict[str, Any] = json.loads(data.result)
            if document["jobId"] == job_id:
                return document
            self.discarded.append(document["jobId"])

    async def run_chain(self, length: int = 3) -> list[dict[str, Any]]:
        """Run jobs one after another, each on the collection of the one before."""
        documents: list[dict[str, Any]] = []
        for _ in range(length):
            inputs = f"u/ocps/{documents[-1]['jobId']}" if documents else ""
            documents.append(await self.run_job(inputs=inputs))
        return documents

    async def run_branches(self, lengths: Sequence[int]) -> list[list[dict[str, Any]] | BaseException]:
        """Run chains at once, on one Remote; the error of one is the others' nothing."""
        return await asyncio.gather(*(self.run_chain(length) for length in lengths), return_exceptions=True)
