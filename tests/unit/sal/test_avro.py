"""Schemas, revCodes and record values, against vectors of the real SAL library."""

import json
from typing import Any

import pytest
from fastavro.schema import fingerprint
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.sal.avro import (
    ParsedSchema,
    TopicCodec,
    build_schema,
    compute_rev_code,
    parse_schema,
    rev_code,
    schema_id_of,
    schema_text,
)
from lsst.ts.ocps.sal.errors import DecodeError, FieldError
from lsst.ts.ocps.sal.interface import TopicInfo
from lsst.ts.ocps.sal.interface_xml import load_component
from support.golden import golden_samples, golden_topics, load_golden
from support.sal_values import values_of

HEADER = bytes([0, 0, 0, 0, 7])


def get_topic(attr_name: str = "evt_scalars", component: str = "Test") -> TopicInfo:
    return load_component(component).topics[attr_name]


def own_schema(topic: TopicInfo) -> ParsedSchema:
    return parse_schema(schema_text(topic))


def change_schema(topic: TopicInfo, **changes: Any) -> ParsedSchema:
    return parse_schema(json.dumps(build_schema(topic) | changes))


def change_field(topic: TopicInfo, name: str, **changes: Any) -> ParsedSchema:
    schema = build_schema(topic)
    fields = [field | changes if field["name"] == name else field for field in schema["fields"]]
    return parse_schema(json.dumps(schema | {"fields": fields}))


# Schemas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("component", "attr_name"), golden_topics())
def test_schema_has_the_deployed_structure(component: str, attr_name: str) -> None:
    expected = load_golden(component)["topics"][attr_name]
    topic = get_topic(attr_name, component)
    schema = build_schema(topic)
    assert list(schema) == ["type", "name", "namespace", "fields", "description"]
    assert (schema["name"], schema["namespace"]) == (expected["record_name"], expected["namespace"])
    fields = [[field["name"], field["type"], field["default"], field["units"]] for field in schema["fields"]]
    assert fields == expected["fields"]
    assert all(
        list(field) == ["name", "type", "default", "description", "units"] for field in schema["fields"]
    )
    canonical_form = own_schema(topic).canonical_form
    assert fingerprint(canonical_form, "sha256") == expected["fingerprint"]["sha256"]
    assert fingerprint(canonical_form, "md5") == expected["fingerprint"]["md5"]


@pytest.mark.parametrize(("component", "attr_name"), golden_topics())
def test_names_keys_and_rev_codes_are_the_deployed_ones(component: str, attr_name: str) -> None:
    golden = load_golden(component)
    expected = golden["topics"][attr_name]
    topic = get_topic(attr_name, component)
    assert topic.kafka_name("sal") == expected["kafka_topic"]
    assert topic.avro_subject("sal") == expected["subject"]
    assert topic.key(golden["index"]).decode() == expected["key"]
    assert rev_code(topic) == expected["rev_code"]


def test_keys_of_other_indices() -> None:
    for index in (0, 5):
        keys = load_golden("misc")[f"Test:{index}"]["keys"]
        topics = {topic.kafka_name("sal"): topic for topic in load_component("Test").topics.values()}
        assert {name: topics[name].key(index).decode() for name in keys} == keys


def test_the_topic_subname_is_in_topic_and_subject_but_not_in_the_schema() -> None:
    expected = load_golden("misc")["subname_independence"]
    topic = get_topic("evt_job_result", "OCPS")
    assert topic.kafka_name("other") == expected["other_topic"]
    assert topic.avro_subject("other") == expected["other_subject"]
    assert build_schema(topic)["namespace"] == expected["namespace"]


def test_the_registered_text_is_one_line_with_blanks_after_separators() -> None:
    topic = get_topic("evt_job_result", "OCPS")
    text = schema_text(topic)
    assert "\n" not in text
    assert text.startswith('{"type": "record", "name": "logevent_job_result", "namespace": "lsst.sal.OCPS", ')
    assert json.loads(text) == build_schema(topic)


def test_new_topics_have_rev_codes_of_their_own_all_different() -> None:
    topics = load_component("OCPS").topics.values()
    codes = [rev_code(topic) for topic in topics]
    assert len(set(codes)) == len(codes)
    own = [topic for topic in topics if topic.pinned_rev_code is None]
    assert len(own) == 8
    assert all(rev_code(topic) == compute_rev_code(build_schema(topic)) for topic in own)


def test_a_rev_code_is_the_md5_of_the_indented_record() -> None:
    # The rule applied by another program: printf '{\n    "name": "\\u00e4"\n}' | md5sum.
    assert compute_rev_code({"name": "ä"}) == "ef30fc0d"


# Values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("component", "sample"), golden_samples())
def test_samples_are_encoded_byte_for_byte_and_decoded_back(component: str, sample: dict[str, Any]) -> None:
    topic = get_topic(sample["attr_name"], component)
    codec = TopicCodec(topic)
    value = codec.encode(sample["data"], schema_id=7)
    assert value.hex() == HEADER.hex() + sample["payload_hex"]
    decoded = codec.decode(value, own_schema(topic))
    assert decoded == sample["data"]
    assert list(decoded) == list(topic.fields)


def test_a_field_left_out_gets_its_default() -> None:
    topic = get_topic("evt_arrays")
    codec = TopicCodec(topic)
    decoded = codec.decode(codec.encode({"salIndex": 3}, schema_id=1), own_schema(topic))
    assert decoded["salIndex"] == 3
    assert decoded["int0"] == [0, 0, 0, 0, 0]
    assert decoded["private_identity"] == ""


@given(values_of(get_topic("evt_scalars")))
def test_any_scalars_come_back(values: dict[str, Any]) -> None:
    topic = get_topic("evt_scalars")
    codec = TopicCodec(topic)
    assert codec.decode(codec.encode(values, schema_id=1), own_schema(topic)) == values


@given(values_of(get_topic("evt_arrays")))
def test_any_arrays_come_back(values: dict[str, Any]) -> None:
    topic = get_topic("evt_arrays")
    codec = TopicCodec(topic)
    assert codec.decode(codec.encode(values, schema_id=1), own_schema(topic)) == values


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("int0", 2**31, "out of the range of int"),
        ("int0", -(2**31) - 1, "out of the range of int"),
        ("byte0", 2**40, "out of the range of int"),
        ("longLong0", 2**63, "out of the range of long"),
        ("int0", "7", "a value of type int is needed"),
        ("int0", 1.5, "a value of type int is needed"),
        ("int0", None, "a value of type int is needed"),
        ("double0", "1.5", "a value of type double is needed"),
        ("double0", 10**400, "too large"),
        ("string0", 7, "a value of type string is needed"),
        ("string0", b"x", "a value of type string is needed"),
        ("string0", "\ud800", "surrogates not allowed"),
        ("boolean0", 1, "a value of type boolean is needed"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_field_and_value(
    name: str, value: Any, reason: str
) -> None:
    with pytest.raises(FieldError) as caught:
        TopicCodec(get_topic()).encode({name: value}, schema_id=1)
    assert f"Test.evt_scalars.{name}={value!r}"[:200] in str(caught.value)
    assert reason in str(caught.value)


def test_an_element_of_an_array_is_named_by_its_position() -> None:
    with pytest.raises(FieldError, match=r"evt_arrays\.int0\[1\]=4294967296: out of the range"):
        TopicCodec(get_topic("evt_arrays")).encode({"int0": [0, 2**32, 0, 0, 0]}, schema_id=1)


@pytest.mark.parametrize("value", [7, "12345", None])
def test_a_scalar_for_an_array_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match="an array of 5 values is needed"):
        TopicCodec(get_topic("evt_arrays")).encode({"int0": value}, schema_id=1)


def test_an_array_of_another_length_is_written_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    topic = get_topic("evt_arrays")
    codec = TopicCodec(topic)
    for _ in range(3):
        value = codec.encode({"int0": [1, 2]}, schema_id=1)
    assert codec.decode(value, own_schema(topic))["int0"] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "Test.evt_arrays.int0 has 2 values instead of 5 (written as it is; warned about once)"
    ]


def test_unknown_fields_are_named() -> None:
    with pytest.raises(FieldError, match=r"Test\.evt_scalars has no fields \['nosuch'\]"):
        TopicCodec(get_topic()).encode({"nosuch": 1}, schema_id=1)


def test_a_huge_value_is_shortened_in_the_error() -> None:
    with pytest.raises(FieldError) as caught:
        TopicCodec(get_topic()).encode({"int0": "x" * 100000}, schema_id=1)
    assert len(str(caught.value)) < 400


# What a reader must tolerate (sal-on-kafka section 8) -----------------------------------------------------


def encode_foreign(schema: ParsedSchema, record: dict[str, Any]) -> bytes:
    import io  # noqa: PLC0415 (used here only)

    import fastavro  # noqa: PLC0415 (used here only)

    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema.parsed, record)
    return HEADER + buffer.getvalue()


def test_a_writer_with_extra_and_missing_fields_is_understood() -> None:
    topic = get_topic("evt_arrays")
    fields = [field for field in build_schema(topic)["fields"] if field["name"] != "int0"]
    schema = change_schema(topic, fields=[{"name": "extra", "type": "string"}, *fields])
    value = encode_foreign(schema, {"extra": "x", "salIndex": 4})
    codec = TopicCodec(topic)
    first, second = codec.decode(value, schema), codec.decode(value, schema)
    assert first["salIndex"] == 4
    assert "extra" not in first
    assert list(first) == list(topic.fields)
    first["int0"].append(99)
    assert second["int0"] == [0, 0, 0, 0, 0]
    assert codec.decode(value, schema)["int0"] == [0, 0, 0, 0, 0]


def test_a_promotable_field_is_understood() -> None:
    topic = get_topic()
    schema = change_field(topic, "double0", type="int", default=0)
    decoded = TopicCodec(topic).decode(encode_foreign(schema, {"double0": 3}), schema)
    assert decoded["double0"] == 3.0


def test_other_descriptions_and_units_make_no_difference() -> None:
    topic = get_topic()
    schema = change_schema(change_topic_texts(topic), description="another")
    value = TopicCodec(topic).encode({"int0": 5}, schema_id=7)
    assert TopicCodec(topic).decode(value, schema)["int0"] == 5


def change_topic_texts(topic: TopicInfo) -> TopicInfo:
    import dataclasses  # noqa: PLC0415 (used here only)

    fields = {n: dataclasses.replace(f, description="other", units="m") for n, f in topic.fields.items()}
    return dataclasses.replace(topic, fields=fields)


@pytest.mark.parametrize("changes", [{"name": "logevent_renamed"}])
def test_a_renamed_record_is_refused(changes: dict[str, Any]) -> None:
    topic = get_topic()
    schema = change_schema(topic, **changes)
    with pytest.raises(DecodeError, match=r"Test\.evt_scalars"):
        TopicCodec(topic).decode(TopicCodec(topic).encode({}, schema_id=7), schema)


def test_a_field_of_an_incompatible_type_is_refused() -> None:
    topic = get_topic()
    schema = change_field(topic, "int0", type="string", default="")
    with pytest.raises(DecodeError, match=r"Test\.evt_scalars"):
        TopicCodec(topic).decode(encode_foreign(schema, {"int0": "7"}), schema)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "tombstone"), (b"", "too short"), (HEADER, "too short"), (b"\x01" + HEADER, "magic byte 0x01")],
)
def test_a_value_without_proper_frame_is_refused(value: bytes | None, reason: str) -> None:
    topic = get_topic()
    with pytest.raises(DecodeError, match=reason):
        schema_id_of(value)
    with pytest.raises(DecodeError, match=reason):
        TopicCodec(topic).decode(value, own_schema(topic))


def test_the_schema_id_is_big_endian() -> None:
    assert schema_id_of(bytes([0, 1, 2, 3, 4, 5])) == 0x01020304


def test_every_truncated_body_is_refused_and_trailing_bytes_are_ignored() -> None:
    topic = get_topic()
    codec = TopicCodec(topic)
    value = codec.encode({"string0": "hello", "double0": 1.5}, schema_id=7)
    for length in range(len(value)):
        with pytest.raises(DecodeError):
            codec.decode(value[:length], own_schema(topic))
    assert codec.decode(value + b"trailing", own_schema(topic))["string0"] == "hello"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_decode_error(data: bytes) -> None:
    topic = get_topic("evt_arrays")
    codec = TopicCodec(topic)
    for value in (data, HEADER + data):
        try:
            decoded = codec.decode(value, own_schema(topic))
        except DecodeError:
            continue
        assert list(decoded) == list(topic.fields)


@pytest.mark.parametrize("text", ["", "{", "7", "[]x", '{"type": "nosuch"}', '{"type": "record"}'])
def test_a_text_that_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="not an Avro schema"):
        parse_schema(text)
