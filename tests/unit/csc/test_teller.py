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

    async def acknowledge(self, record: RunRecord, duration: float | None = None) -> None:
        now = asyncio.get_running_loop().time()
        self.acks.append((now, duration or record.run.expected_duration))

    async def publish_job(self, record: RunRecord) -> None:
        pass

    async def publish_phase(self, record: RunRecord) -> None:
        pass


async def tell(expected_duration: float, *, lives: float, is_restored: bool) -> list[tuple[float, float]]:
    """Time and timeout of each acknowledgement, that of the SAL layer included."""
    listener, tasks = Listener(), TaskSupervisor("test")
    parts: Any = SimpleNamespace(reporter=listener, tasks=tasks, patience=Patience())
    teller = Teller(cast("Parts", parts), is_restored=is_restored)
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


def test_the_codes_of_faults_are_those_of_the_guide() -> None:
    assert [(code.name, code.value) for code in FaultCode] == [
        ("BACKEND_UNREACHABLE", 1),
        ("SIMULATED", 2),
        ("LEDGER_UNUSABLE", 3),
        ("TASK_DIED", 4),
    ]
