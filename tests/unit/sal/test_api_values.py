import math
from typing import Any

import numpy as np
import pytest

from lsst.ts.ocps.sal.data_type import BaseMsgType, data_type
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.values import check_names, convert_fields, copy_record, is_different, take_value

SCALARS = load_component("Test").topics["evt_scalars"]
ARRAYS = load_component("Test").topics["evt_arrays"]
NAN = math.nan


def make_scalars(**fields: Any) -> BaseMsgType:
    record = data_type(SCALARS)()
    for name, value in fields.items():
        setattr(record, name, value)
    return record


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("int0", 1.7, 1),
        ("int0", np.int64(5), 5),
        ("int0", State.ENABLED, 2),
        ("int0", True, 1),
        ("int0", np.float32(2.9), 2),
        ("boolean0", "yes", True),
        ("boolean0", 0.0, False),
        ("float0", 3, 3.0),
        ("float0", 1e300, math.inf),
        ("float0", -1e300, -math.inf),
        ("double0", 1e300, 1e300),
        ("double0", np.float64(1.5), 1.5),
        ("string0", np.str_("abc"), "abc"),
    ],
)
def test_values_become_what_their_field_needs(name: str, value: Any, expected: Any) -> None:
    converted = convert_fields(SCALARS, make_scalars(**{name: value}))[name]
    assert converted == expected
    assert type(converted) in {int, bool, float, str}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("int0", "1", TypeError),
        ("int0", None, TypeError),
        ("int0", NAN, ValueError),
        ("string0", 1, TypeError),
        ("string0", None, TypeError),
        ("string0", b"x", TypeError),
        ("double0", "x", ValueError),
        ("double0", b"1", TypeError),
        ("double0", None, TypeError),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"evt_scalars\.{name}="):
        convert_fields(SCALARS, make_scalars(**{name: value}))


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("int0", 5, 5.0, False),
        ("int0", 1, True, False),
        ("int0", 5, 6, True),
        ("double0", NAN, NAN, False),
        ("double0", NAN, 1.0, True),
        ("double0", 1.0, NAN, True),
        ("string0", "a", "a", False),
        ("string0", "", "a", True),
    ],
)
def test_a_change_is_another_value(name: str, old: Any, new: Any, expected: bool) -> None:
    assert is_different(SCALARS.fields[name], old, new) is expected


@pytest.mark.parametrize("kind", [list, tuple, np.array], ids=["list", "tuple", "array"])
def test_arrays_of_any_kind_are_compared_by_value(kind: Any) -> None:
    field = ARRAYS.fields["double0"]
    old = [1.0, NAN, 3.0, 4.0, 5.0]
    assert not is_different(field, old, take_value(field, kind(old)))
    assert is_different(field, old, take_value(field, kind([0.0, *old[1:]])))


def test_arrays_are_kept_as_lists_of_their_own() -> None:
    mine = [1, 2, 3, 4, 5]
    taken = take_value(ARRAYS.fields["int0"], mine)
    mine[0] = 9
    assert taken == [1, 2, 3, 4, 5]
    from_numpy = take_value(ARRAYS.fields["int0"], np.arange(5))
    assert from_numpy == [0, 1, 2, 3, 4]
    assert all(type(item) is int for item in from_numpy)


def test_a_wrong_length_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="int0 has 2 values; 5 are expected"):
        assert take_value(ARRAYS.fields["int0"], [1, 2]) == [1, 2]


@pytest.mark.parametrize("value", [1, "abcde", None])
def test_a_scalar_is_no_array(value: Any) -> None:
    with pytest.raises(TypeError, match="int0"):
        take_value(ARRAYS.fields["int0"], value)


def test_unknown_names_are_listed() -> None:
    with pytest.raises(AttributeError, match=r"evt_scalars has no fields \['a', 'nosuch'\]"):
        check_names(SCALARS, ["int0", "nosuch", "a"])


def test_a_copy_shares_nothing() -> None:
    record = data_type(ARRAYS)()
    copied = copy_record(record)
    copied.int0[0] = 5
    assert record.int0[0] == 0
