"""When a sender is told that its run goes on: before its patience is over, however long the job takes."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.csc.enums import FaultCode
from lsst.ts.ocps.csc.parts import Parts
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, JobCreated
from lsst.ts.ocps.csc.teller import Teller
from support.runs import URL, make_job, make_record, with_news
from support.virtual_time import run_in_virtual_time


class Listener:
    """A reporter that only notes when it was to acknowledge, and for how long."""

    def __init__(self) -> None:
        self.acks: list[tuple[float, float]] = []
        self.news: list[str] = []

    async def acknowledge(self, record: RunRecord, duration: float | None = None) -> None:
        now = asyncio.get_running_loop().time()
        self.acks.append((now, duration or record.run.expected_duration))

    async def publish_job(self, record: RunRecord) -> None:
        assert record.handle is not None
        self.news.append(record.handle.job_id)

    async def publish_phase(self, record: RunRecord) -> None:
        self.news.append(record.phase.value)


def make_teller(listener: Listener, tasks: TaskSupervisor, *, is_restored: bool) -> Teller:
    parts: Any = SimpleNamespace(reporter=listener, tasks=tasks, patience=Patience())
    return Teller(cast("Parts", parts), is_restored=is_restored)


async def tell(expected_duration: float, *, lives: float, is_restored: bool) -> list[tuple[float, float]]:
    """Time and timeout of each acknowledgement, that of the SAL layer included."""
    listener, tasks = Listener(), TaskSupervisor("test")
    teller = make_teller(listener, tasks, is_restored=is_restored)
    record = with_news(
        make_record(expected_duration=expected_duration), CreateIntended(), JobCreated(URL, make_job())
    )
    if not is_restored:
        listener.acks.append((asyncio.get_running_loop().time(), expected_duration))
    teller.release()
    await teller.tell(record)
    await asyncio.sleep(lives)
    teller.stop_acknowledging()
    await asyncio.sleep(10 * lives)
    await tasks.aclose()
    return listener.acks


@pytest.mark.parametrize("is_restored", [False, True])
@pytest.mark.parametrize(("expected", "lives"), [(0.5, 100.0), (20.0, 1000.0), (600.0, 86400.0)])
def test_rule_1_in_progress_is_repeated_before_the_last_one_runs_out_and_not_after_the_end(
    expected: float, lives: float, *, is_restored: bool
) -> None:
    acks = run_in_virtual_time(tell(expected, lives=lives, is_restored=is_restored))
    began = acks[0][0]
    assert acks[0][1] == expected
    for (sent, timeout), (repeated, _) in itertools.pairwise(acks):
        assert sent + 0.5 * timeout < repeated < sent + 0.9 * timeout
    last, timeout = acks[-1]
    assert last < began + lives < last + timeout
    # Once it is late anyway, the sender is not told every half second.
    assert len(acks) < 3 + lives / max(0.7 * expected, 20)


async def hold_back(*, is_restored: bool) -> tuple[list[str], list[str]]:
    """What is told of a job before the SAL layer sends the first acknowledgement, and after that."""
    listener, tasks = Listener(), TaskSupervisor("test")
    teller = make_teller(listener, tasks, is_restored=is_restored)
    telling = asyncio.create_task(
        teller.tell(with_news(make_record(), CreateIntended(), JobCreated(URL, make_job())))
    )
    await asyncio.sleep(5.0)
    before = list(listener.news)
    teller.release()
    await telling
    teller.stop_acknowledging()
    await tasks.aclose()
    return before, listener.news


def test_rule_2_nothing_is_told_of_a_job_before_the_first_acknowledgement() -> None:
    assert run_in_virtual_time(hold_back(is_restored=False)) == ([], ["7", "PENDING"])
    # Of a run of an earlier life it is the teller that acknowledges.
    assert run_in_virtual_time(hold_back(is_restored=True)) == (["7", "PENDING"], ["7", "PENDING"])


def test_the_codes_of_faults_are_those_of_the_guide() -> None:
    assert [(code.name, code.value) for code in FaultCode] == [
        ("BACKEND_UNREACHABLE", 1),
        ("SIMULATED", 2),
        ("LEDGER_UNUSABLE", 3),
        ("TASK_DIED", 4),
    ]
