import re

from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.service.job_ids import JobIds


@given(st.lists(st.floats(min_value=1.5e9, max_value=9e9), min_size=1, max_size=50))
def test_ids_are_legal_unique_and_in_the_order_they_were_made_whatever_the_clock_does(
    times: list[float],
) -> None:
    clock = iter(times)
    ids = JobIds(lambda: next(clock))
    made = [ids.next() for _ in times]
    assert made == sorted(set(made))
    assert all(re.fullmatch("[0-9][0-9a-z]{16}", job_id) for job_id in made)


def test_ids_of_the_same_instant_cannot_be_guessed_from_one_another() -> None:
    assert JobIds(lambda: 1.8e9).next() != JobIds(lambda: 1.8e9).next()
