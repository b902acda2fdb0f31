"""Conditions and ranges of requests for files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.service.conditional import Choice, Version, choose

VERSION = Version(size=100, modified=1_764_000_000.5, mark="1a-64")
THEN = "Mon, 24 Nov 2025 16:00:00 GMT"
EARLIER = "Mon, 24 Nov 2025 15:59:59 GMT"
LATER = "Mon, 24 Nov 2025 16:00:01 GMT"
ALL = Choice(200, 0, 100)


def test_every_answer_tells_the_version() -> None:
    told = VERSION.headers
    assert (told["ETag"], told["Last-Modified"], told["Accept-Ranges"]) == ('"1a-64"', THEN, "bytes")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("bytes=0-0", Choice(206, 0, 1)),
        ("bytes=0-99", Choice(206, 0, 100)),
        ("Bytes=10-19", Choice(206, 10, 10)),
        ("bytes=90-", Choice(206, 90, 10)),
        ("bytes=90-1000", Choice(206, 90, 10)),
        ("bytes=-1", Choice(206, 99, 1)),
        ("bytes=-1000", Choice(206, 0, 100)),
        ("bytes=100-", Choice(416)),
        ("bytes=100-200", Choice(416)),
        ("bytes=-0", Choice(416)),
        ("bytes=5-4", ALL),
        ("bytes=-", ALL),
        ("bytes=0-1,5-6", ALL),
        ("bytes=a-b", ALL),
        ("lines=0-1", ALL),
        ("", ALL),
    ],
)
def test_single_ranges_are_served(text: str, choice: Choice) -> None:
    assert choose({"range": text}, VERSION) == choice


def test_an_empty_file_has_no_ranges() -> None:
    empty = Version(size=0, modified=0, mark="0")
    assert choose({}, empty) == Choice(200)
    for text in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        assert choose({"range": text}, empty) == Choice(416)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": '"1a-64"'}, 304),
        ({"if-none-match": 'W/"1a-64"'}, 304),
        ({"if-none-match": '"other", "1a-64"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"other"'}, 200),
        ({"if-none-match": "1a-64"}, 200),
        ({"if-modified-since": THEN}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        # The tag knows better than the time.
        ({"if-none-match": '"other"', "if-modified-since": LATER}, 200),
        ({"if-match": '"1a-64"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"other"'}, 412),
        ({"if-match": 'W/"1a-64"'}, 412),
        ({"if-unmodified-since": THEN}, 200),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-none-match": '"1a-64"', "range": "bytes=0-1"}, 304),
        ({"if-range": '"1a-64"', "range": "bytes=0-1"}, 206),
        ({"if-range": THEN, "range": "bytes=0-1"}, 206),
        ({"if-range": '"other"', "range": "bytes=0-1"}, 200),
        ({"if-range": 'W/"1a-64"', "range": "bytes=0-1"}, 200),
        ({"if-range": LATER, "range": "bytes=0-1"}, 200),
        ({"if-range": "nonsense", "range": "bytes=0-1"}, 200),
        ({"if-range": '"other"', "range": "bytes=500-"}, 200),
    ],
)
def test_conditions_decide_before_ranges(headers: dict[str, str], status: int) -> None:
    assert choose(headers, VERSION).status == status


@given(st.text(alphabet="bytes=0123456789-, ", max_size=20), st.integers(0, 50))
def test_whatever_range_is_asked_for_nothing_beyond_the_file_is_chosen(text: str, size: int) -> None:
    choice = choose({"range": text}, Version(size=size, modified=0, mark="m"))
    assert choice.status in {200, 206, 416}
    assert 0 <= choice.start <= choice.start + choice.length <= size
    if choice.status == 206:
        assert choice.length > 0


@given(st.text(max_size=30))
def test_no_condition_whatever_it_is_fails(text: str) -> None:
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"):
        assert choose({name: text, "range": "bytes=0-1"}, VERSION).status in {200, 206, 304, 412}
