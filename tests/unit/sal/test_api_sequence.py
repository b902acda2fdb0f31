from typing import Any

import pytest

from lsst.ts.ocps.sal import sequence
from lsst.ts.ocps.sal.sequence import (
    SequenceNumbers,
    StampClock,
    command_range,
    command_type,
    share_command_numbers,
)
from support.golden import load_golden


def deployed_commands(component: str) -> dict[str, Any]:
    topics = load_golden(component)["topics"]
    return {name.removeprefix("cmd_"): each for name, each in topics.items() if name.startswith("cmd_")}


@pytest.mark.parametrize("component", ["OCPS", "Test"])
def test_ranges_and_types_of_commands_are_those_of_the_real_library(component: str) -> None:
    commands = deployed_commands(component)
    sal_names = load_golden(component)["sal_topic_names_sorted"]
    for name, golden in commands.items():
        assert list(command_range(list(commands), name)) == golden["seq_num_range"]
        assert command_type(sal_names, golden["sal_name"]) == golden["cmdtype"]


def test_numbers_begin_again_at_the_end_of_their_range() -> None:
    numbers = SequenceNumbers(5, 7, start=6)
    assert [numbers.take() for _ in range(5)] == [6, 7, 5, 6, 7]


def test_all_remotes_of_a_process_share_the_numbers_of_a_command() -> None:
    first = share_command_numbers("Shared", ["a", "b"], "b")
    second = share_command_numbers("Shared", ["a", "b"], "b")
    low, high = command_range(["a", "b"], "b")
    taken = [first.take(), second.take(), first.take()]
    assert len(set(taken)) == 3
    assert all(low <= number <= high for number in taken)


def test_stamps_increase_even_if_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.8e9, 1.8e9, 1.7e9, 1.8e9 + 5])
    monkeypatch.setattr(sequence, "current_tai", lambda: next(times))
    clock = StampClock()
    stamps = [clock.take() for _ in range(4)]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == 1.8e9 + 5
