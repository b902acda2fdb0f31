import logging

import pytest

from lsst.ts.ocps.csc.logs import get_logger


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
