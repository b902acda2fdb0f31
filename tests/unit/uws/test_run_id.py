import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.uws.run_id import MAX_LENGTH, is_own_run_id, new_run_id, run_id_prefix

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""What Kubernetes wants of a label value that is also a name."""


@given(site=st.text(max_size=80), index=st.integers(min_value=0, max_value=2**31 - 1))
def test_a_run_id_of_any_site_is_a_label(site: str, index: int) -> None:
    made = new_run_id(site, index)
    assert LABEL.fullmatch(made)
    assert len(made) <= MAX_LENGTH
    assert made.startswith(run_id_prefix(site, index))


def test_ten_thousand_run_ids_are_different() -> None:
    assert len({new_run_id("summit", 1) for _ in range(10_000)}) == 10_000


def test_run_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for now in (1.7e9, 1.7e9 + 0.001, 1.7e9 + 60, 1.8e9, 2.5e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        made.append(new_run_id("summit", 1))
    assert made == sorted(made)


@pytest.mark.parametrize(
    ("one", "other"), [(("summit", 1), ("summit", 10)), (("summit", 1), ("base", 1)), (("a", 1), ("a-1", 1))]
)
def test_a_csc_tells_its_run_ids_from_those_of_others(one: tuple[str, int], other: tuple[str, int]) -> None:
    prefix = run_id_prefix(*one)
    assert is_own_run_id(new_run_id(*one), prefix)
    assert not is_own_run_id(new_run_id(*other), prefix)
    assert not is_own_run_id(new_run_id(*one), run_id_prefix(*other))
    assert not is_own_run_id(prefix, prefix)
    for end in ("", "X", "-", "\n", "xx"):
        assert not is_own_run_id(f"{new_run_id(*one)[:-1]}{end}", prefix)


@pytest.mark.parametrize(
    ("site", "prefix"),
    [
        ("summit", "ocps-summit-3-"),
        ("Base Camp_2", "ocps-base-camp-2-3-"),
        ("", "ocps-site-3-"),
        ("---", "ocps-site-3-"),
        ("ä", "ocps-site-3-"),
        ("x" * 60, f"ocps-{'x' * 24}-3-"),
    ],
)
def test_the_prefix_names_site_and_index(site: str, prefix: str) -> None:
    assert run_id_prefix(site, 3) == prefix
