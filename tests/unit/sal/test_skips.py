"""Records that were skipped are all counted and rarely logged."""

import logging

import pytest

from lsst.ts.ocps.sal.broker.base import Record
from lsst.ts.ocps.sal.skips import SkipCounter, SkipReason


def test_every_record_is_counted_and_the_log_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    counter = SkipCounter(logging.getLogger("Test"))
    for offset in range(1500):
        counter.add(Record("topic", 0, offset, None, None, 0), SkipReason.TOMBSTONE)
        counter.add(Record("topic", 0, offset, None, b"", 0), SkipReason.OTHER_INDEX)
    assert counter.counts == {SkipReason.TOMBSTONE: 1500, SkipReason.OTHER_INDEX: 1500}
    assert [record.message for record in caplog.records] == [
        f"skipped the record at topic offset {count - 1} (tombstone); {count} such so far"
        for count in (1, 10, 100, 1000)
    ]


def test_a_reason_that_nobody_thought_of_comes_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    counter = SkipCounter(logging.getLogger("Test"))
    counter.add(Record("topic", 0, 5, None, b"", 0), SkipReason.UNEXPECTED, ValueError("odd"))
    assert "offset 5 (unexpected: odd)" in caplog.text
    assert caplog.records[0].exc_info
