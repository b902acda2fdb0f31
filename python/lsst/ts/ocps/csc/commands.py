"""From a validated request to the row of a run, and from a run to the first acknowledgement. No I/O."""

import time
from typing import Any

from lsst.ts.ocps.client.base import ShellJob
from lsst.ts.ocps.payloads.kinds import Kind
from lsst.ts.ocps.payloads.parameters import HIDDEN
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.run_id import new_run_id

from .config import CscConfig
from .deposit_plan import make_plan
from .documents import accepted_text, build_report, in_progress_text
from .records import CommandKey, FinalAck, Reported, Reporting, Run, RunRecord
from .requests import RunRequest
from .results import RunResults

__all__ = ["FirstAck", "build_run", "build_shell", "choose_first_ack"]


def build_run(
    request: RunRequest,
    key: CommandKey,
    *,
    site: str,
    index: int,
    config: CscConfig,
    backend: dict[str, Any],
    creates_pending: bool,
) -> Run:
    """Everything that is to be remembered of a new run.

    Parameters
    ----------
    request, key
        What was asked for, by which command record.
    site, index
        Become part of the run_id.
    config
        The configuration in force.
    backend
        Stored settings of the back end.
    creates_pending
        Whether that back end leaves new jobs PENDING.
    """
    definition, run_id, now = request.definition, new_run_id(site, index), time.time()
    return Run(
        run_id=run_id,
        command=request.command,
        key=key,
        payload=definition.name,
        parameters=request.parameters,
        pairs=tuple(
            (name, HIDDEN if name in request.secret_names else value) for name, value in request.pairs
        ),
        has_secrets=bool(request.secret_names),
        backend=backend,
        creates_pending=creates_pending,
        accepted_at=now,
        label=request.label,
        prerequisites=request.prerequisites,
        detach=request.detach,
        expected_duration=definition.expected_duration,
        execution_duration=definition.execution_duration,
        destruction_after=definition.destruction.total_seconds(),
        max_active=definition.limits.max_active,
        max_active_of_all=config.limits.max_active,
        reports_failure=request.command == "run" or config.execute_reports_failure,
        shell=build_shell(definition),
        deposit=make_plan(
            config.deposit,
            definition.deposit,
            payload=definition.name,
            run_id=run_id,
            site=site,
            index=index,
            accepted_at=now,
        ),
    )


def build_shell(definition: PayloadDefinition) -> ShellJob | None:
    """How a payload is run where only commands are known; None if its definition does not say."""
    spec = definition.api_server
    if spec is None:
        return None
    kinds = definition.kinds.items()
    return ShellJob(
        command=spec.command,
        url=spec.url,
        commit_ref=spec.commit_ref,
        environment=tuple(spec.environment.items()),
        text_lists=frozenset(name for name, kind in kinds if kind is Kind.TEXTS),
        json_lists=frozenset(name for name, kind in kinds if kind is Kind.JSONS),
    )


class FirstAck:
    """What the SAL layer is to send for a run that has a job, or none and never will.

    Parameters
    ----------
    final
        Which final acknowledgement; None: CMD_INPROGRESS.
    text
        Its result.
    duration
        How long the sender should wait (s), for CMD_INPROGRESS.
    """

    def __init__(self, final: FinalAck | None, text: str, duration: float = 0.0) -> None:
        self.final = final
        self.text = text
        self.duration = duration


def choose_first_ack(record: RunRecord) -> FirstAck:
    """What to send first; for a run that an earlier delivery of the record has started, what is true now."""
    state, run = record.state, record.run
    if isinstance(state, Reporting | Reported) and state.report.ack is not None:
        return FirstAck(state.report.ack, state.report.ack_result)
    if record.handle is not None:
        if run.detach:
            return FirstAck(FinalAck.COMPLETE, accepted_text(record))
        return FirstAck(None, in_progress_text(record), run.expected_duration)
    outcome = record.outcome
    if outcome is None:
        return FirstAck(FinalAck.FAILED, f"Failed: run {run.run_id} is no longer followed; see the log")
    # Word for word what will be written again if this process dies before it is out.
    report = build_report(record, RunResults())
    return FirstAck(report.ack or FinalAck.FAILED, report.ack_result)
