"""Values for the fields of a topic, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from lsst.ts.ocps.sal.interface import FieldInfo, TopicInfo

__all__ = ["public_values_of", "values_of"]

INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
SCALARS = {
    "boolean": st.booleans(),
    "int": INTS,
    "long": LONGS,
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(),
}


def _values_of_field(info: FieldInfo) -> st.SearchStrategy[Any]:
    scalars = SCALARS[info.avro_type]
    return scalars if info.count == 1 else st.lists(scalars, min_size=info.count, max_size=info.count)


def values_of(topic: TopicInfo) -> st.SearchStrategy[dict[str, Any]]:
    """Values for every field."""
    return st.fixed_dictionaries({name: _values_of_field(info) for name, info in topic.fields.items()})


def public_values_of(topic: TopicInfo) -> st.SearchStrategy[dict[str, Any]]:
    """Values for every field that a user sets."""
    names = [name for name in topic.fields if not name.startswith("private_") and name != "salIndex"]
    return st.fixed_dictionaries({name: _values_of_field(topic.fields[name]) for name in names})
