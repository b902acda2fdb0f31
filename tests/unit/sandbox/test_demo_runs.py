import json
from types import SimpleNamespace
from typing import Any

import pytest

from lsst.ts.ocps.observer.runs import RunOutcome, RunVerdict
from lsst.ts.ocps.observer.updates import Update, UpdateKind
from lsst.ts.ocps.payloads.catalogue import load_catalogue
from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.parameters import validate
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.sandbox.demo_runs import STAGES, PlannedRun, find_problems
from lsst.ts.ocps.sandbox.installation import find_configuration

RUNS = [planned for stage in STAGES for planned in stage.runs]
RESULTS = json.dumps({"results": [{"id": "a", "uri": "http://x/a"}]})


def ack(code: SalRetCode) -> Update:
    return Update(UpdateKind.ACK, SimpleNamespace(ack=code))


def phase(name: str) -> Update:
    return Update(UpdateKind.PHASE, SimpleNamespace(phase=name))


def result(text: str = RESULTS) -> Update:
    return Update(UpdateKind.RESULT, SimpleNamespace(result=text, exit_code=0))


GOOD = (
    ack(SalRetCode.CMD_INPROGRESS),
    phase("PENDING"),
    phase("COMPLETED"),
    result(),
    ack(SalRetCode.CMD_COMPLETE),
)


def judge(*updates: Update, verdict: RunVerdict = RunVerdict.COMPLETED, **planned: Any) -> list[str]:
    outcome = RunOutcome(verdict=verdict, message="why", job_id="1", updates=updates)
    return find_problems(PlannedRun("x", "x", **planned), outcome)


def test_a_run_that_ends_as_planned_has_no_problem() -> None:
    assert judge(*GOOD) == []


def test_another_verdict_is_a_problem_that_tells_why() -> None:
    assert judge(verdict=RunVerdict.NO_ANSWER) == ["no answer instead of completed: why"]
    assert judge(*GOOD, expected=RunVerdict.FAILED) == ["completed instead of failed: why"]


@pytest.mark.parametrize(
    ("updates", "problem"),
    [
        (GOOD[1:], "instead of INPROGRESS … COMPLETE"),
        ((*GOOD[:2], *GOOD[3:]), "do not end in COMPLETED"),
        ((*GOOD[:3], GOOD[4]), "0 job_result events instead of one"),
        ((*GOOD[:4], result(), GOOD[4]), "2 job_result events instead of one"),
        ((*GOOD[:2], GOOD[3], GOOD[2], GOOD[4]), "are not the last two"),
        ((*GOOD[:3], result("{}"), GOOD[4]), "no results"),
    ],
)
def test_what_is_missing_or_out_of_order_is_a_problem(updates: tuple[Update, ...], problem: str) -> None:
    assert any(problem in each for each in judge(*updates))


def test_a_rejected_run_has_one_ack_and_nothing_else() -> None:
    rejected = {"verdict": RunVerdict.REJECTED, "expected": RunVerdict.REJECTED}
    failed = ack(SalRetCode.CMD_FAILED)
    assert judge(failed, **rejected) == []
    assert judge(failed, failed, **rejected) == [
        "acknowledgements ['FAILED', 'FAILED'] instead of one FAILED"
    ]


def test_the_plan_shows_every_way_a_run_can_end_with_every_payload() -> None:
    assert {planned.expected for planned in RUNS} == {
        RunVerdict.COMPLETED,
        RunVerdict.FAILED,
        RunVerdict.ABORTED,
        RunVerdict.REJECTED,
    }
    assert len({planned.label for planned in RUNS}) == len(RUNS)
    assert any(len(stage.runs) == 2 for stage in STAGES)
    catalogue = load_catalogue([find_configuration() / "payloads"])
    assert {planned.payload for planned in RUNS} == set(catalogue)


@pytest.mark.parametrize("planned", RUNS, ids=lambda planned: planned.label)
def test_the_parameters_are_right_exactly_where_the_run_is_not_to_be_rejected(planned: PlannedRun) -> None:
    definition = load_catalogue([find_configuration() / "payloads"])[planned.payload]
    if planned.expected is RunVerdict.REJECTED:
        with pytest.raises(ParameterError):
            validate(definition, planned.parameters)
    else:
        validate(definition, planned.parameters)
