"""Whole sessions of the real library, decoded with the topics that we build."""

import json

import pytest

from lsst.ts.ocps.sal.avro import TopicCodec, parse_schema, schema_id_of, schema_text
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.tai import utc_from_tai_unix
from support.golden import GOLDEN_COMPONENTS, load_golden

COLUMNS = ("time", "sal_name", "offset", "index", "number", "identity", "origin", "key", "public", "value")


@pytest.mark.parametrize("component_name", GOLDEN_COMPONENTS)
def test_every_record_of_a_session_is_decoded_and_encoded_back(component_name: str) -> None:
    session = load_golden(f"wire_{component_name}")
    topics = {topic.sal_name: topic for topic in load_component(component_name).topics.values()}
    codecs = {name: TopicCodec(topic) for name, topic in topics.items()}
    schemas = {session["schema_ids"][n]: parse_schema(schema_text(topics[n])) for n in session["schema_ids"]}
    assert len(session["rows"]) > 40
    for columns in session["rows"]:
        row = dict(zip(COLUMNS, columns, strict=True))
        value = bytes.fromhex(row["value"])
        schema_id = schema_id_of(value)
        assert schema_id == session["schema_ids"][row["sal_name"]]
        decoded = codecs[row["sal_name"]].decode(value, schemas[schema_id])
        assert {name: decoded[name] for name in row["public"]} == row["public"]
        assert decoded["salIndex"] == row["index"]
        assert decoded["private_seqNum"] == row["number"]
        assert decoded["private_identity"] == row["identity"]
        assert decoded["private_origin"] == row["origin"]
        assert decoded["private_revCode"] == topics[row["sal_name"]].pinned_rev_code
        # The key has the index of the writer; one of index 0 may address any instance.
        writer_index = json.loads(row["key"])["index"] if row["key"] else 0
        assert topics[row["sal_name"]].key(writer_index).decode() == row["key"]
        assert writer_index in {0, row["index"]}
        assert codecs[row["sal_name"]].encode(decoded, schema_id=schema_id) == value
        assert decoded["private_kafkaStamp"] == decoded["private_sndStamp"]
        assert decoded["private_efdStamp"] == utc_from_tai_unix(decoded["private_sndStamp"])
