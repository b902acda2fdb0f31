"""The parameter codec, by example; its general law is in test_codec_properties.py."""

import json
from typing import Any

import pytest

from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.parameters import decode, encode, parse_json, redact, validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "default": "builtin:m13"},
        "threshold": {"type": "number", "minimum": 1, "default": 4},
        "frames": {"type": "integer", "minimum": 1},
        "flat": {"type": "boolean"},
        "gain": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "filters": {"type": "array", "items": {"enum": ["u", "g", "r"]}, "uniqueItems": True},
        "notes": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "offsets": {"type": "array", "items": {"type": "number"}},
        "steps": {"type": "array", "items": {"type": "integer"}},
        "region": {
            "type": "object",
            "properties": {
                "width": {"type": "number", "minimum": 0},
                "frame": {"enum": ["icrs", "fk5"], "default": "icrs"},
            },
            "required": ["width"],
            "additionalProperties": False,
        },
        "key": {"type": "string", "pattern": "^K", "writeOnly": True},
    },
}


def define(schema: dict[str, Any] = SCHEMA, **more: Any) -> PayloadDefinition:
    return PayloadDefinition(name="probe", description="", parameters=schema, **more)


PROBE = define()
UNKNOWN = f"the payload probe has no such parameter (known: {', '.join(SCHEMA['properties'])})"


def problems(call: Any, *arguments: Any) -> list[str]:
    with pytest.raises(ParameterError) as info:
        call(*arguments)
    assert str(info.value) == "; ".join(map(str, info.value.problems))
    return [str(problem) for problem in info.value.problems]


def test_defaults_are_filled_in_at_the_top_and_inside_given_objects() -> None:
    given = {"region": {"width": 3}}
    valid = validate(PROBE, given)
    assert valid == {
        "image": "builtin:m13",
        "threshold": 4,
        "region": {"width": 3, "frame": "icrs"},
    }
    assert list(valid) == ["image", "threshold", "region"], "the order of the definition"
    assert given == {"region": {"width": 3}}, "the input is left alone"


def test_a_default_is_never_shared_between_runs() -> None:
    schema = {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"type": "string"}, "default": ["a"]}},
    }
    definition = define(schema)
    validate(definition, {})["tags"].append("b")
    assert validate(definition, {}) == {"tags": ["a"]}


def test_a_default_of_null_is_filled_in_too() -> None:
    schema = {"type": "object", "properties": {"gain": {"type": ["number", "null"], "default": None}}}
    assert validate(define(schema), {}) == {"gain": None}
    assert encode(define(schema), {"gain": None}) == (("gain", "null"),)


def test_each_type_travels_as_the_design_says() -> None:
    values = {
        "image": "a=b & c\n",
        "threshold": 4.5,
        "frames": 3,
        "flat": True,
        "gain": None,
        "filters": ["r", "u"],
        "offsets": [1, -0.5],
        "region": {"width": 3, "frame": "icrs"},
    }
    pairs = encode(PROBE, values)
    assert pairs == (
        ("image", "a=b & c\n"),
        ("threshold", "4.5"),
        ("frames", "3"),
        ("flat", "true"),
        ("gain", "null"),
        ("filters", "r"),
        ("filters", "u"),
        ("offsets", "1"),
        ("offsets", "-0.5"),
        ("region", '{"width":3,"frame":"icrs"}'),
    )
    assert decode(PROBE, pairs) == values


def test_texts_are_verbatim_even_if_they_look_like_json() -> None:
    for text in ("", "3", "null", '"quoted"', "[1]", " blank ", "ü€𝄞", "a\tb\r\nc"):
        assert encode(PROBE, {"image": text}) == (("image", text),)
        assert decode(PROBE, [("image", text)]) == {"image": text}


def test_an_empty_array_travels_as_one_empty_text() -> None:
    assert encode(PROBE, {"filters": [], "offsets": []}) == (("filters", ""), ("offsets", ""))
    assert decode(PROBE, [("filters", ""), ("offsets", "")]) == {"filters": [], "offsets": []}


def test_one_empty_text_is_an_item_only_where_an_array_cannot_be_empty() -> None:
    assert decode(PROBE, [("notes", "")]) == {"notes": [""]}
    schema = {
        "type": "object",
        "properties": {"notes": {"type": "array", "items": {"type": "string"}}},
    }
    assert problems(validate, define(schema), {"notes": [""]}) == [
        "parameters.notes: one empty text alone cannot be told from an empty array"
    ]


def test_names_are_compared_ignoring_case_when_decoding_only() -> None:
    assert decode(PROBE, [("IMAGE", "x"), ("FilterS", "u"), ("filters", "g")]) == {
        "image": "x",
        "filters": ["u", "g"],
    }
    (problem,) = problems(validate, PROBE, {"Image": "x"})
    assert problem.startswith(
        "parameters.Image: the payload probe has no such parameter; did you mean 'image'?"
    )


def test_undeclared_dali_parameters_are_dropped_and_declared_ones_win() -> None:
    dali = [("VERSION", "1.1"), ("request", "doQuery"), ("MaxRec", "7"), ("RESPONSEFORMAT", "csv")]
    assert decode(PROBE, dali) == {}
    schema = {"type": "object", "properties": {"maxrec": {"type": "integer"}}}
    assert decode(define(schema), dali) == {"maxrec": 7}


def test_every_problem_is_listed_with_its_path() -> None:
    wrong = {
        "threshold": "abc",
        "frames": 0,
        "region": {"width": -1, "hight": 2},
        "filters": ["u", "u"],
        "gain": [],
        "flavour": "x",
    }
    reasons = (
        "[] is not valid under any of the given schemas"
        " ([] is not of type 'number'; [] is not of type 'null')"
    )
    assert sorted(problems(validate, PROBE, wrong)) == sorted(
        [
            "parameters.threshold: 'abc' is not of type 'number'",
            "parameters.frames: 0 is less than the minimum of 1",
            "parameters.region.width: -1 is less than the minimum of 0",
            "parameters.region: Additional properties are not allowed ('hight' was unexpected)",
            "parameters.filters: ['u', 'u'] has non-unique elements",
            f"parameters.gain: {reasons}",
            f"parameters.flavour: {UNKNOWN}",
        ]
    )


def test_a_missing_required_parameter_is_named() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    }
    assert problems(validate, define(schema), {}) == [
        "parameters.a: is required",
        "parameters.b: is required",
    ]
    assert problems(validate, PROBE, {"region": {}}) == ["parameters.region.width: is required"]


def test_a_parameter_with_a_bad_value_is_not_called_missing() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
    assert problems(validate, define(schema), {"a": float("nan")}) == [
        "parameters.a: nan is not a finite number"
    ]
    (problem,) = problems(decode, define(schema), [("a", "1"), ("a", "2")])
    assert problem == "parameters.a: is given 2 times and takes one value"


def test_a_request_learns_all_its_problems_at_once() -> None:
    pairs = [
        ("threshold", "abc"),
        ("frames", "1"),
        ("FRAMES", "2"),
        ("x", "1"),
        ("flat", "yes"),
        ("region", "{}"),
    ]
    assert problems(decode, PROBE, pairs) == [
        f"parameters.x: {UNKNOWN}",
        "parameters.threshold: 'abc' is not of type 'number' in JSON notation",
        "parameters.frames: is given 2 times and takes one value",
        "parameters.flat: 'yes' is not of type 'boolean' in JSON notation",
        "parameters.region.width: is required",
    ]


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "+3", ".5", "03", "1,5", "", "True", "'x'", "9" * 5000 + "x"]
)
def test_what_is_not_json_is_no_number(text: str) -> None:
    (problem,) = problems(decode, PROBE, [("threshold", text)])
    assert problem.startswith("parameters.threshold: ")
    assert "is not of type 'number' in JSON notation" in problem
    assert len(problem) < 200


def test_an_array_in_one_json_text_may_hold_one_empty_text() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": ["array", "null"], "items": {"type": "string"}, "default": [""]}},
    }
    assert encode(define(schema), validate(define(schema), {})) == (("a", '[""]'),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan is not a finite number"),
        (float("-inf"), "-inf is not a finite number"),
        (2**63, "9223372036854775808 does not fit 64 bits"),
        (-(2**63) - 1, "-9223372036854775809 does not fit 64 bits"),
    ],
)
def test_numbers_that_others_cannot_hold_are_refused(value: float, reason: str) -> None:
    assert problems(validate, PROBE, {"threshold": value}) == [f"parameters.threshold: {reason}"]


def test_the_largest_and_smallest_integers_pass_exactly() -> None:
    for value in (2**63 - 1, 2**53 + 1):
        pairs = encode(PROBE, validate(PROBE, {"frames": value}))
        assert validate(PROBE, decode(PROBE, pairs))["frames"] == value


def test_a_number_that_overflows_is_refused_after_decoding() -> None:
    assert problems(validate, PROBE, decode(PROBE, [("threshold", "1e999")])) == [
        "parameters.threshold: inf is not a finite number"
    ]
    (problem,) = problems(validate, PROBE, decode(PROBE, [("threshold", "9" * 5000)]))
    assert problem.endswith("does not fit 64 bits")
    assert len(problem) < 200


@pytest.mark.parametrize("text", ["a\0b", "\x1b[31m", "\ud800", "\uffff", "a\x0bb"])
def test_characters_that_no_job_document_can_carry_are_refused(text: str) -> None:
    for values in ({"image": text}, {"notes": ["x", text]}, {"region": {"width": 1, "frame": text}}):
        (problem,) = problems(validate, PROBE, values)
        assert "which a job document cannot carry" in problem
        assert text not in problem, "the message itself can be carried"


def test_whole_numbers_become_integers_where_the_schema_wants_them() -> None:
    valid = validate(PROBE, {"frames": 3.0, "steps": [1.0, 2], "threshold": 5.0})
    assert json.dumps(valid) == '{"image": "builtin:m13", "threshold": 5.0, "frames": 3, "steps": [1, 2]}'


@pytest.mark.parametrize("value", [b"x", (1, 2), {1, 2}, object()])
def test_values_that_are_not_json_are_refused(value: object) -> None:
    (problem,) = problems(validate, PROBE, {"offsets": value})
    assert "which is not a JSON value" in problem


def test_keys_that_are_not_texts_are_refused() -> None:
    (problem,) = problems(validate, PROBE, {3: 1})
    assert problem == "parameters: the key 3 is of type int; keys are texts"


def test_endless_nesting_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    (problem,) = problems(validate, PROBE, {"offsets": deep})
    assert problem.endswith("is nested more than 32 deep")


def test_booleans_are_no_numbers() -> None:
    assert problems(validate, PROBE, {"threshold": True}) == [
        "parameters.threshold: True is not of type 'number'"
    ]


def test_values_of_secret_parameters_are_never_shown() -> None:
    for found in (
        problems(validate, PROBE, {"key": "hunter2"}),
        problems(validate, PROBE, {"key": 1234567}),
        problems(validate, PROBE, {"key": "hunter2\0"}),
    ):
        assert found == ["parameters.key: is refused (its value is not shown)"]
    assert redact(PROBE, {"key": "Khunter2", "image": "x"}) == {"key": "***", "image": "x"}


def test_long_values_are_shortened_in_messages() -> None:
    (problem,) = problems(validate, PROBE, {"threshold": "x" * 10_000})
    assert len(problem) < 200
    assert problem.endswith("is not of type 'number'")


def test_encode_refuses_what_validate_would_have_refused() -> None:
    assert problems(encode, PROBE, {"image": 3, "offsets": 1}) == [
        "parameters.image: 3 is of another type",
        "parameters.offsets: 1 is of another type",
    ]
    assert problems(encode, PROBE, {"nope": 3})[0].startswith(
        "parameters.nope: the payload probe has no such"
    )


def test_a_value_that_the_command_cannot_take_is_refused_before_there_is_a_job() -> None:
    definition = define(run={"command": ["python", "{image}"]})
    assert problems(validate, definition, {"image": "-rf"}) == [
        "parameters.image: '-rf' begins with '-', so that the program could take it for an option"
    ]


def test_the_empty_text_is_an_empty_object() -> None:
    assert parse_json("") == parse_json(" \n") == parse_json("{}") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("threshold=3", "parameters: 'threshold=3' is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"a": 1, "a": 2}', "parameters: '{\"a\": 1, \"a\": 2}' is not JSON: the key 'a' is there twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' is there twice"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        ('{"a": -Infinity}', "-Infinity is not a JSON value"),
        ("[1]", "parameters: [1] is not a JSON object"),
        ("null", "parameters: None is not a JSON object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_json_object_is_refused(text: str, reason: str) -> None:
    (problem,) = problems(parse_json, text)
    assert reason in problem
    assert len(problem) < 200
