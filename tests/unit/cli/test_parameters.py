from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.cli.errors import UsageError
from lsst.ts.ocps.cli.parameters import parse_assignments

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "maybe": {"type": ["number", "null"]},
        "exposures": {"type": "array", "items": {"type": "integer"}},
        "names": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("x=3", 3),
        ("x=-2.5e3", -2500.0),
        ("x=true", True),
        ("x=[1, 2]", [1, 2]),
        ('x={"a": 1}', {"a": 1}),
        ("x=plain text", "plain text"),
        ("x=", ""),
        ("x=a=b", "a=b"),
        ("x=null", "null"),
        ('x="quoted"', '"quoted"'),
        ("x=NaN", "NaN"),
        ("x=[1,", "[1,"),
        ("x:=null", None),
        ('x:="3"', "3"),
        ("x:=3", 3),
    ],
)
def test_without_a_schema_the_value_decides(argument: str, value: Any) -> None:
    assert parse_assignments([argument]) == {"x": value}


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["name=42"], {"name": "42"}),
        (["name=true"], {"name": "true"}),
        (["name:=42"], {"name": 42}),
        (["count=42"], {"count": 42}),
        (["count=many"], {"count": "many"}),
        (["maybe=null"], {"maybe": None}),
        (["exposures=[1,2]"], {"exposures": [1, 2]}),
        (["exposures=1"], {"exposures": [1]}),
        (["exposures=1", "count=3", "exposures=2"], {"exposures": [1, 2], "count": 3}),
        (["names=1", "names=2"], {"names": ["1", "2"]}),
        (["unknown=1"], {"unknown": 1}),
    ],
)
def test_with_a_schema_the_declared_type_decides(arguments: list[str], parameters: dict[str, Any]) -> None:
    assert parse_assignments(arguments, SCHEMA) == parameters


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["count"], "'count' is not of the form key=value or key:=JSON"),
        (["=3"], "'=3' names no parameter before '='"),
        ([":=3"], "':=3' names no parameter before '='"),
        (["count:=many"], "parameter count: 'many' is not JSON"),
        (["count:=NaN"], "parameter count: 'NaN' is not JSON: NaN is not JSON"),
        (["count=1", "count=2"], "parameter count is given 2 times, and it is no list"),
        (["count=1", "count:=2"], "parameter count is given twice"),
        (["count:=1", "count=2"], "parameter count is given twice"),
    ],
)
def test_bad_arguments_are_named_with_the_reason(arguments: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{reason}"):
        parse_assignments(arguments, SCHEMA)


@given(st.text())
def test_a_declared_string_is_taken_verbatim(text: str) -> None:
    assert parse_assignments([f"name={text}"], SCHEMA) == {"name": text}
