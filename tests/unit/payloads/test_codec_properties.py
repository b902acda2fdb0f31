"""decode(encode(x)) == x, over schemas and the values that satisfy them."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsst.ts.ocps.payloads.command import build_command
from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.json_schema import RESERVED_NAMES
from lsst.ts.ocps.payloads.parameters import decode, encode, parse_json, validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition

Case = tuple[dict[str, Any], Any]
"""A schema and a value that satisfies it."""

# The machine may be busy: how long an example takes says nothing.
SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r &=+%;\"'\\{}-"),
    max_size=12,
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
SCALAR = st.none() | st.booleans() | NUMBER
ANYTHING = st.recursive(
    SCALAR | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def cases(schema: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Case]:
    return values.map(lambda value: (schema, value))


def one_of_a_list(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Case]:
    lists = st.lists(values, min_size=1, max_size=4)
    return lists.flatmap(lambda items: cases({"enum": items}, st.sampled_from(items)))


# Every sort of schema that the codec takes.
CASES = st.one_of(
    cases({"type": "string"}, TEXT),
    one_of_a_list(TEXT),
    TEXT.map(lambda text: ({"const": text}, text)),
    cases({"type": "number"}, NUMBER),
    cases({"type": "integer"}, st.integers(-(2**63), 2**63 - 1)),
    cases({"type": "boolean"}, st.booleans()),
    cases({"type": ["number", "null"]}, NUMBER | st.none()),
    cases({"anyOf": [{"type": "boolean"}, {"type": "number"}]}, st.booleans() | NUMBER),
    cases({"allOf": [{"type": ["string", "number"]}, {"type": "number"}]}, NUMBER),
    cases({"type": "object"}, st.dictionaries(TEXT, ANYTHING, max_size=3)),
    cases({"type": "array"}, st.lists(ANYTHING, max_size=4)),
    cases({"type": ["array", "null"], "items": {"type": "string"}}, st.lists(TEXT, max_size=4) | st.none()),
    cases(
        {"type": "array", "items": {"type": "string"}},
        st.lists(TEXT, max_size=4).filter(lambda items: items != [""]),
    ),
    cases(
        {"type": "array", "items": {"type": "string"}, "minItems": 1}, st.lists(TEXT, min_size=1, max_size=4)
    ),
    cases({"type": "array", "items": {"type": ["number", "boolean", "null"]}}, st.lists(SCALAR, max_size=4)),
    cases({"$ref": "#/$defs/numbers"}, st.lists(NUMBER, max_size=4)),
    cases(
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
        st.tuples(TEXT, NUMBER).map(list),
    ),
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.upper() not in RESERVED_NAMES
)


@st.composite
def definitions_with_values(draw: st.DrawFn) -> tuple[PayloadDefinition, dict[str, Any]]:
    names = draw(st.lists(NAMES, max_size=5, unique_by=str.upper))
    properties: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in names:
        schema, value = draw(CASES)
        use = draw(st.sampled_from(["given", "default", "absent"]))
        properties[name] = {**schema, "default": value} if use == "default" else schema
        if use == "given":
            values[name] = value
    schema = {
        "type": "object",
        "properties": properties,
        "$defs": {"numbers": {"type": "array", "items": {"type": "number"}}},
    }
    return PayloadDefinition(name="probe", description="", parameters=schema), values


def exact(values: Any) -> str:
    """Tells 1 from True and 1.0, which == does not."""
    return json.dumps(values, sort_keys=True)


@SETTINGS
@given(definitions_with_values())
def test_decode_undoes_encode(case: tuple[PayloadDefinition, dict[str, Any]]) -> None:
    definition, values = case
    valid = validate(definition, values)
    decoded = decode(definition, encode(definition, valid))
    assert exact(decoded) == exact(valid)
    assert exact(validate(definition, decoded)) == exact(valid), "both sides agree"


@SETTINGS
@given(definitions_with_values(), st.randoms(use_true_random=False))
def test_forms_and_the_case_of_names_change_nothing(
    case: tuple[PayloadDefinition, dict[str, Any]], random: Any
) -> None:
    definition, values = case
    valid = validate(definition, values)
    pairs = [
        (random.choice([name, name.upper(), name.lower()]), text) for name, text in encode(definition, valid)
    ]
    received = parse_qsl(urlencode(pairs), keep_blank_values=True, strict_parsing=bool(pairs))
    assert exact(decode(definition, received)) == exact(valid)


@SETTINGS
@given(definitions_with_values(), st.dictionaries(NAMES | TEXT, ANYTHING, max_size=4))
def test_bad_values_raise_nothing_but_parameter_errors(
    case: tuple[PayloadDefinition, dict[str, Any]], values: dict[str, Any]
) -> None:
    definition, good = case
    merged = {**dict.fromkeys(definition.properties, values), **values} if values else good
    try:
        valid = validate(definition, merged)
    except ParameterError as error:
        assert error.problems  # noqa: PT017 (either outcome is right; the loop is over random values)
        return
    assert exact(decode(definition, encode(definition, valid))) == exact(valid)


@SETTINGS
@given(definitions_with_values(), st.lists(st.tuples(NAMES | TEXT, st.text(max_size=20)), max_size=5))
def test_bad_pairs_raise_nothing_but_parameter_errors(
    case: tuple[PayloadDefinition, dict[str, Any]], pairs: list[tuple[str, str]]
) -> None:
    definition, _ = case
    pairs = [*pairs, *((name, text) for name in definition.properties for _, text in pairs[:2])]
    try:
        valid = validate(definition, decode(definition, pairs))
    except ParameterError as error:
        assert error.problems  # noqa: PT017 (as above)
        return
    assert exact(decode(definition, encode(definition, valid))) == exact(valid)


@SETTINGS
@given(st.dictionaries(TEXT, ANYTHING, max_size=4))
def test_the_json_of_an_object_is_that_object(value: dict[str, Any]) -> None:
    assert exact(parse_json(json.dumps(value))) == exact(value)


@SETTINGS
@given(st.text('[]{}:,"0123456789eE+-.naNInfity \\\x00\ud800', max_size=40))
def test_any_text_is_an_object_or_a_parameter_error(text: str) -> None:
    try:
        found = parse_json(text)
    except ParameterError as error:
        assert str(error).startswith("parameters: ")  # noqa: PT017 (either outcome is right)
        return
    assert exact(found) == exact(json.loads(text) if text.strip() else {})


@SETTINGS
@given(TEXT)
def test_a_text_reaches_the_program_in_one_argument_unchanged(text: str) -> None:
    schema = {"type": "object", "properties": {"image": {"type": "string"}}, "required": ["image"]}
    definition = PayloadDefinition.model_validate(
        {
            "name": "probe",
            "description": "",
            "parameters": schema,
            "run": {"command": ["tool", "--image={image}"]},
        }
    )
    assert definition.run is not None
    assert build_command(definition.run, validate(definition, {"image": text})) == ("tool", f"--image={text}")
