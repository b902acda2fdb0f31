import dataclasses

import pytest

from lsst.ts.ocps.sal.data_type import data_type
from lsst.ts.ocps.sal.interface_xml import load_component
from support.golden import GOLDEN_COMPONENTS, golden_topics, load_golden


@pytest.mark.parametrize(("component", "attr_name"), golden_topics())
def test_records_have_the_fields_and_defaults_of_the_real_library(component: str, attr_name: str) -> None:
    record = data_type(load_component(component).topics[attr_name])()
    expected = load_golden(component)["topics"][attr_name]["fields"]
    assert list(vars(record).items()) == [(name, default) for name, _, default, _ in expected]


def test_golden_files_are_there() -> None:
    assert len(golden_topics()) > 10 * len(GOLDEN_COMPONENTS)


def test_a_record_is_a_plain_dataclass() -> None:
    make = data_type(load_component("Test").topics["evt_scalars"])
    assert make.__name__ == "evt_scalars"
    assert dataclasses.is_dataclass(make)
    assert make(int0=3) == make(int0=3)
    assert make(int0=3) != make(int0=4)
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())
    with pytest.raises(TypeError, match="nosuch"):
        make(nosuch=1)


def test_lists_are_fresh_in_each_record() -> None:
    make = data_type(load_component("Test").topics["evt_arrays"])
    first, second = make(), make()
    first.int0[2] = 7
    assert second.int0 == [0] * 5


def test_the_class_of_a_topic_is_one_object() -> None:
    topic = load_component("Test").topics["evt_scalars"]
    assert data_type(topic) is data_type(topic)


def test_the_index_is_a_field_of_indexed_components_only() -> None:
    topic = load_component("Test").topics["evt_scalars"]
    fields = {name: field for name, field in topic.fields.items() if name != "salIndex"}
    plain = dataclasses.replace(topic, component_name="Plain", is_indexed=False, fields=fields)
    assert not hasattr(data_type(plain)(), "salIndex")
