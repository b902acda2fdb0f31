"""What the demo runs, and how each run must end."""

from dataclasses import dataclass, field
from typing import Any

from lsst.ts.ocps.observer.runs import RunOutcome, RunRequest, RunVerdict
from lsst.ts.ocps.observer.text import ack_name
from lsst.ts.ocps.observer.updates import UpdateKind

__all__ = ["STAGES", "PlannedRun", "Stage", "find_problems"]

_FINAL_PHASES = {
    RunVerdict.COMPLETED: "COMPLETED",
    RunVerdict.FAILED: "ERROR",
    RunVerdict.ABORTED: "ABORTED",
}
_FINAL_ACKS = {
    RunVerdict.COMPLETED: "COMPLETE",
    RunVerdict.FAILED: "FAILED",
    RunVerdict.ABORTED: "ABORTED",
    RunVerdict.REJECTED: "FAILED",
}


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the demo."""

    label: str
    """Its name: label of the run, row of the table, folder of its results."""

    payload: str
    parameters: dict[str, Any] = field(default_factory=dict)
    expected: RunVerdict = RunVerdict.COMPLETED
    is_aborted: bool = False
    """Whether the demo aborts it as soon as it executes."""

    @property
    def request(self) -> RunRequest:
        """The fields of the command."""
        return RunRequest(payload=self.payload, parameters=self.parameters, label=self.label)


@dataclass(frozen=True, slots=True)
class Stage:
    """Runs that are sent together."""

    title: str
    runs: tuple[PlannedRun, ...]


STAGES = (
    Stage("sources of M13", (PlannedRun("source-catalog", "source-catalog"),)),
    Stage("a raw frame of SAAO's 1.0 m telescope", (PlannedRun("ccd-reduce", "ccd-reduce"),)),
    Stage("a master bias", (PlannedRun("bias-combine", "bias-combine", {"frames": 10}),)),
    Stage(
        "two at once",
        (
            PlannedRun("catalog-deep", "source-catalog", {"threshold": 2.5, "deblend_contrast": 0.0005}),
            PlannedRun("reduce-flat", "ccd-reduce", {"overscan_order": 0}),
        ),
    ),
    Stage(
        "a run that must fail: its image does not exist",
        (
            PlannedRun(
                "missing-image", "ccd-reduce", {"image": "/no/such/image.fits"}, expected=RunVerdict.FAILED
            ),
        ),
    ),
    Stage(
        "a run that is aborted while it executes",
        (
            PlannedRun(
                "aborted",
                "bias-combine",
                {"frames": 60},
                expected=RunVerdict.ABORTED,
                is_aborted=True,
            ),
        ),
    ),
    Stage(
        "a run that must be rejected: its parameters have wrong types",
        (
            PlannedRun(
                "rejected",
                "source-catalog",
                {"threshold": "high", "min_area": 2.5},
                expected=RunVerdict.REJECTED,
            ),
        ),
    ),
)
"""The demo, in order; each stage begins when the one before it has ended."""


def find_problems(planned: PlannedRun, outcome: RunOutcome) -> list[str]:
    """Say what is not as it must be; empty if all is well.

    Parameters
    ----------
    planned
        What was wanted.
    outcome
        What was seen.
    """
    problems = []
    if outcome.verdict is not planned.expected:
        problems.append(f"{outcome.verdict} instead of {planned.expected}: {outcome.message}")
        return problems
    acks = [ack_name(u.data.ack) for u in outcome.updates if u.kind is UpdateKind.ACK]
    final = _FINAL_ACKS[planned.expected]
    if planned.expected is RunVerdict.REJECTED:
        if acks != [final]:
            problems.append(f"acknowledgements {acks} instead of one {final}")
        return problems
    if acks[0] != "INPROGRESS" or acks[-1] != final:
        problems.append(f"acknowledgements {acks} instead of INPROGRESS … {final}")
    wanted = _FINAL_PHASES[planned.expected]
    if not outcome.phases or outcome.phases[-1] != wanted:
        problems.append(f"phases {list(outcome.phases)} do not end in {wanted}")
    kinds = [update.kind for update in outcome.updates]
    if kinds.count(UpdateKind.RESULT) != 1:
        problems.append(f"{kinds.count(UpdateKind.RESULT)} job_result events instead of one")
    elif kinds[-2:] != [UpdateKind.RESULT, UpdateKind.ACK]:
        problems.append("job_result and the final acknowledgement are not the last two")
    if planned.expected is RunVerdict.COMPLETED and not outcome.result.get("results"):
        problems.append("no results")
    return problems
