import json
import logging

import pytest

from lsst.ts.ocps.csc.logs import get_logger, make_json_formatter


def test_a_record_reads_well_and_keeps_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "OCPS"):
        get_logger("unit", run_id="r-1").info("100% done", phase="COMPLETED")
    (record,) = caplog.records
    assert record.name == "OCPS.unit"
    assert record.getMessage() == "100% done [run_id=r-1 phase=COMPLETED]"
    assert record.fields == {"run_id": "r-1", "phase": "COMPLETED"}  # type: ignore[attr-defined]


def test_a_record_names_the_place_that_wrote_it(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("unit").error("here")
    assert caplog.records[0].funcName == "test_a_record_names_the_place_that_wrote_it"


def test_an_exception_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("unit").error("it failed", exc_info=ValueError("a reason"))
    assert "a reason" in caplog.text


def test_what_is_below_the_level_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "OCPS"):
        get_logger("unit").info("nobody reads this")
    assert caplog.records == []


def test_standard_error_gets_one_json_object_a_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "OCPS"):
        get_logger("unit", run_id="r-1", job_id="7", payload="echo").info("it\nended", event_count=2, time=3)
    told = json.loads(line := make_json_formatter().format(caplog.records[0]))
    assert "\n" not in line
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "OCPS.unit",
        "event": "it\nended",
        "run_id": "r-1",
        "job_id": "7",
        "payload": "echo",
        "event_count": 2,
        # A field that would take the place of what every line has.
        "time_": 3,
    }


def test_records_of_other_libraries_are_json_too(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("other").error("%d of %s", 3, "them", exc_info=ValueError("a reason"))
    told = json.loads(make_json_formatter().format(caplog.records[0]))
    assert (told["logger"], told["level"], told["event"]) == ("other", "error", "3 of them")
    assert "ValueError: a reason" in told["exception"]


def test_a_logger_may_hide_what_is_secret(caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger("unit", hide=lambda text: text.replace("hunter2", "***"))
    log.error("refused", error="hunter2 is wrong", count=1)
    assert caplog.messages == ["refused [error=*** is wrong count=1]"]
