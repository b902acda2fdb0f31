"""The CSC and an observer on a runtime that offers them no more than ts_salobj 8 does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.csc.outlet import NEW_TOPICS
from lsst.ts.ocps.salobj import SalRetCode
from support.salobj_audit import find_uses, list_sources, shorten

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("strict_salobj")]

TIMEOUT = 90.0
"""Longest life of such a CSC (s)."""


def live(folder: Path, interface: str) -> Any:
    """One life of a CSC in a process of its own, where the stand-in takes the place of ts_salobj."""
    done = subprocess.run(
        [sys.executable, "-m", "support.run_strict_csc", str(folder), interface],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happens where the interface has all our topics."""
    return live(tmp_path_factory.mktemp("whole"), "all")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happens where the interface is the deployed one."""
    return live(tmp_path_factory.mktemp("deployed"), "deployed")


@pytest.fixture(params=["whole", "deployed"])
def told(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_the_stand_in_is_in_use_and_refuses_what_only_our_runtime_has(told: Any) -> None:
    assert told["runtime"] == "ts_salobj"
    assert told["is_probe_refused"]
    # The outlet looks for what only our runtime has, and does without it.
    looked_for = [["received command", name] for name in ("max_age", "settled_offset")]
    assert told["refused"] == [["SalInfo", "settings"], *looked_for]


def test_it_goes_through_its_states_and_is_alive(told: Any) -> None:
    assert told["states"] == ["STANDBY", "DISABLED", "ENABLED", "ENABLED", "DISABLED", "STANDBY"]
    assert told["is_alive"]


def test_execute_is_acknowledged_and_reported(told: Any) -> None:
    assert told["execute"] == {
        "acks": [SalRetCode.CMD_INPROGRESS, SalRetCode.CMD_COMPLETE],
        "job_id": "1",
        "result": ["1", 0, "COMPLETED"],
    }


def test_abort_job_ends_a_job_and_both_commands(told: Any) -> None:
    assert told["aborted"] == {
        "acks": [SalRetCode.CMD_COMPLETE, SalRetCode.CMD_ABORTED],
        "result": [True, 255],
    }


def test_run_is_followed_by_the_observer_and_by_the_commander(whole: Any) -> None:
    assert whole["run"] == {
        "verdict": "completed",
        "phases": ["PENDING", "EXECUTING", "COMPLETED"],
        "value": "COMPLETED",
        "has_schema": True,
    }
    assert whole["commander"] == [0, "hi"]
    assert [line for line in whole["log"] if "interface" in line] == []


def test_one_line_of_the_log_says_which_topics_are_missing(deployed: Any) -> None:
    (line,) = [line for line in deployed["log"] if "interface" in line]
    assert "the installed interface lacks topics" in line
    assert line.rpartition("topics=")[2].rstrip("]").split(", ") == list(NEW_TOPICS)


def test_an_observer_is_told_that_the_interface_lacks_the_command(deployed: Any) -> None:
    assert deployed["refusal"] == "the installed SAL interface has no topic cmd_run of OCPS"


def test_whatever_was_used_is_found_in_the_source_too(whole: Any, deployed: Any) -> None:
    found = find_uses(list_sources())
    used = {(kind, shorten(name)) for kind, name in [*whole["used"], *deployed["used"]]}
    # Objects are of the most special kind that the stand-in knows, source is read by annotations.
    same = {("ConfigurableCsc", name) for kind, name in found if kind == "Controller"}
    same |= {("ConfigurableCsc", f"{prefix}_*") for prefix in ("cmd", "evt", "tel")}
    assert len(used) > 20
    assert used - found - same == set()
