"""The properties of librdkafka that are followed: they exist in aiokafka, and the guide has them all."""

import inspect
import re
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, codec
from aiokafka.client import AIOKafkaClient

from lsst.ts.ocps.sal.kafka_properties import (
    BOTH,
    CONNECTION_PROPERTIES,
    CONSUMER,
    KEPT_PROPERTIES,
    PRODUCER,
    PROPERTIES,
    Translation,
)

GUIDE = Path(__file__).parents[3] / "doc" / "operator.rst"

OURS = frozenset({"enable_idempotence", "acks", "group_id", "auto_offset_reset", "enable_auto_commit"})
"""Arguments that carry our guarantees."""


def arguments_of(client: type[object]) -> set[str]:
    return set(inspect.signature(client).parameters)


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_argument_is_one_of_the_clients_that_get_it(name: str) -> None:
    known = PROPERTIES[name]
    if known.argument == "delivery_timeout":
        assert known.roles == PRODUCER
        return
    if known.roles >= CONSUMER:
        assert known.argument in arguments_of(AIOKafkaConsumer)
    if known.roles >= PRODUCER:
        assert known.argument in arguments_of(AIOKafkaProducer)
    if known.roles == BOTH:
        assert known.argument in arguments_of(AIOKafkaClient)
    assert known.argument not in OURS


def test_a_property_is_either_followed_or_kept() -> None:
    assert not PROPERTIES.keys() & KEPT_PROPERTIES.keys()
    assert not PROPERTIES.keys() & CONNECTION_PROPERTIES.keys()
    assert not KEPT_PROPERTIES.keys() & CONNECTION_PROPERTIES.keys()


def test_the_guide_has_every_property_that_is_followed_with_its_meaning() -> None:
    rows = read_rows("``librdkafka`` property")
    expected = {name: known.meaning for name, known in PROPERTIES.items()} | dict(CONNECTION_PROPERTIES)
    assert {name: row[-1] for name, row in rows.items()} == expected
    for name, known in PROPERTIES.items():
        assert rows[name][0] == " and ".join(f"{role}s" for role in sorted(known.roles)), name
    for name in CONNECTION_PROPERTIES:
        assert rows[name][0] == "all clients"


def test_the_guide_has_every_property_that_is_kept_with_its_reason() -> None:
    rows = read_rows("kept property")
    assert {name: row[-1] for name, row in rows.items()} == {
        name: reason for name, (_, reason) in KEPT_PROPERTIES.items()
    }


def read_rows(title: str) -> dict[str, list[str]]:
    """The cells after the first one, by the name in the first, of the table of a title."""
    table = GUIDE.read_text(encoding="utf-8").split(f"   * - {title}\n", 1)[1].split("\n\n", 1)[0]
    rows = {}
    for row in table.split("   * - ")[1:]:
        name, *cells = re.split(r"\n     - ", row.rstrip("\n"))
        rows[name.strip("`")] = cells
    return rows


@pytest.mark.parametrize(("text", "value"), [("0", None), ("1000", 1000)])
def test_no_limit_is_written_in_the_way_of_aiokafka(text: str, value: int | None) -> None:
    translation = Translation()
    assert translation.add("client", {"connections.max.idle.ms": text}) == []
    assert dict(translation.arguments.common) == {"connections_max_idle_ms": value}


def test_a_codec_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "has_zstd", lambda: False)
    with pytest.raises(ValueError, match=r"compression\.type: zstd needs the Python package cramjam"):
        Translation().add("producer", {"compression.type": "zstd"})
    assert Translation().add("producer", {"compression.type": "none"}) == []
