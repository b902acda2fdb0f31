"""Late samples, and clocks that were set back."""

from typing import Any

from lsst.ts.ocps.sal.data_type import BaseMsgType, data_type
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.ordering import OUT_OF_ORDER_SPAN, SampleOrder

SCALARS = data_type(load_component("Test").topics["tel_scalars"])


def make(stamp: float, seq_num: int, *, origin: int = 1, index: int = 1) -> BaseMsgType:
    fields: dict[str, Any] = {
        "private_sndStamp": stamp,
        "private_seqNum": seq_num,
        "private_origin": origin,
        "salIndex": index,
    }
    return SCALARS(**fields)


def is_late(first: BaseMsgType, second: BaseMsgType, partition: int = 0) -> bool:
    order = SampleOrder()
    order.note("scalars", 0, first)
    return order.is_late("scalars", partition, second)


def test_an_equal_or_later_stamp_is_never_late() -> None:
    assert not is_late(make(100.0, 5), make(100.0, 5))
    assert not is_late(make(100.0, 5), make(101.0, 1), partition=1)


def test_a_sample_that_was_overtaken_is_late() -> None:
    assert is_late(make(100.0, 5), make(99.9, 4))
    assert is_late(make(100.0, 5), make(100.0 - 0.9 * OUT_OF_ORDER_SPAN, 5))


def test_a_step_of_the_clock_is_not_late() -> None:
    assert not is_late(make(100.0, 5), make(99.9, 6))
    assert not is_late(make(100.0, 5), make(99.9, 1, origin=2))
    assert not is_late(make(100.0, 5), make(100.0 - OUT_OF_ORDER_SPAN, 1))


def test_partitions_have_no_order_but_that_of_the_stamps() -> None:
    assert is_late(make(100.0, 5), make(50.0, 4), partition=1)


def test_indices_and_topics_do_not_mix() -> None:
    order = SampleOrder()
    order.note("scalars", 0, make(100.0, 5))
    assert not order.is_late("scalars", 0, make(99.9, 4, index=2))
    assert not order.is_late("arrays", 0, make(99.9, 4))
