import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lsst.ts.ocps.payloads.locations import Location, parse_location, safe_part
from lsst.ts.ocps.payloads.schema import PayloadDefinition

FIELDS = {"payload": "echo", "site": "a/b", "index": "1", "day": "20261125"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/data/ocps", ("file", "/data/ocps", "")),
        ("/data/ocps/{payload}/{day}/x", ("file", "/data/ocps", "echo/20261125/x")),
        ("file:///data/a%20b/{index}", ("file", "/data/a b", "1")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("s3://bucket/p//q-{payload}/", ("s3", "bucket", "p/q-echo")),
        ("s3://usdf@tenant:bucket/x", ("s3", "usdf@tenant:bucket", "x")),
        # A site is what somebody wrote into the environment: it makes one folder, whatever it holds.
        ("/data/{site}", ("file", "/data", "a_b")),
        ("lfa://cp", ("lfa", "cp", "")),
    ],
)
def test_a_place_has_a_root_that_exists_and_a_folder_that_is_made(
    text: str, place: tuple[str, str, str]
) -> None:
    assert parse_location(text).render(FIELDS) == Location(*place)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data/ocps", "a location is"),
        ("file://host/data", "a location is"),
        ("http://host/data", "a location is"),
        ("s3:///prefix", "a location is"),
        ("lfa://cp/prefix", "a location is"),
        ("lfa://c-p", "a location is"),
        ("lfa://" + "a" * 51, "a location is"),
        ("s3://user:secret@bucket/x", "no password"),
        ("s3://bucket/x?y", "no query"),
        ("/{day}", "not with a placeholder"),
        ("/", "not with a placeholder"),
        ("/data/../etc", "cannot be part"),
        ("s3://bucket/a/../b", "cannot be part"),
        ("/data/{user}", "{user} is unknown"),
        ("/data/{day", "has no partner"),
    ],
)
def test_what_is_no_place_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_location(text)
    definition: dict[str, Any] = {"name": "a", "description": "b", "deposit": {"location": text}}
    with pytest.raises(ValidationError, match=re.escape(reason)):
        PayloadDefinition.model_validate(definition)


@given(st.text(max_size=300))
def test_a_safe_name_is_one_visible_part_of_a_path(text: str) -> None:
    part = safe_part(text)
    assert re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]{0,120}", part)
    assert safe_part(part) == part


def test_what_is_safe_already_stays() -> None:
    assert safe_part("calib-2_r.fits") == "calib-2_r.fits"
    assert safe_part("x" * 300 + ".fits").endswith("x.fits")
