import json
from types import SimpleNamespace
from typing import Any

import pytest

from lsst.ts.ocps.observer.text import ack_name, clock_text, describe_update, size_text
from lsst.ts.ocps.observer.updates import Update, UpdateKind
from lsst.ts.ocps.salobj import SalRetCode, tai_from_utc_unix


def describe(kind: UpdateKind, **fields: Any) -> str:
    return describe_update(Update(kind, SimpleNamespace(**fields)))


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (
            UpdateKind.ACK,
            {"ack": SalRetCode.CMD_INPROGRESS, "result": '{"job_id": "7"}', "timeout": 60.0},
            'INPROGRESS {"job_id": "7"} (next word within 60 s)',
        ),
        (UpdateKind.ACK, {"ack": -302, "result": "Failed: x\ny"}, "FAILED Failed: x y"),
        (UpdateKind.ACK, {"ack": 303, "result": "{" + 400 * "x"}, "COMPLETE"),
        (UpdateKind.ACK, {"ack": 303, "result": "Done"}, "COMPLETE Done"),
        (UpdateKind.JOB_ID, {"job_id": "7"}, "7"),
        (UpdateKind.PHASE, {"phase": "PENDING", "message": ""}, "PENDING"),
        (UpdateKind.PHASE, {"phase": "ERROR", "message": "no disk"}, "ERROR: no disk"),
        (
            UpdateKind.OUTPUT,
            {"output_id": "a.fits", "byte_size": 51500, "url": "http://x/a"},
            "a.fits 51.5 kB http://x/a",
        ),
        (UpdateKind.OUTPUT, {"output_id": "a.fits", "byte_size": -1, "url": ""}, "a.fits"),
        (
            UpdateKind.METRIC,
            {"metric_name": "noise", "metric_units": "adu", "value": 4.0494},
            "noise = 4.0494 adu",
        ),
        (UpdateKind.METRIC, {"metric_name": "n", "metric_units": "unitless", "value": 255.0}, "n = 255"),
        (
            UpdateKind.RESULT,
            {"exit_code": 0, "result": json.dumps({"value": {"n": 1}})},
            'exit code 0, value {"n": 1}',
        ),
        (UpdateKind.RESULT, {"exit_code": 255, "result": ""}, "exit code 255"),
    ],
)
def test_each_kind_of_news_is_one_line(kind: UpdateKind, fields: dict[str, Any], text: str) -> None:
    assert describe(kind, **fields) == text


def test_an_unknown_ack_code_is_its_number() -> None:
    assert ack_name(-12345) == "-12345"


def test_a_stamp_is_shown_as_utc_time_of_day() -> None:
    assert clock_text(tai_from_utc_unix(1_700_000_000.25)) == "22:13:20.250"
    assert clock_text(0.0) == "-"


@pytest.mark.parametrize(
    ("size", "text"), [(-1, ""), (999, "999 B"), (1500, "1.5 kB"), (2_100_000, "2.1 MB")]
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
