"""A process may have as many connections open as the system lets it."""

import resource
from collections.abc import Iterator

import pytest

from lsst.ts.ocps.aio.open_files import allow_many_files


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit; the soft one is as it was after the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_usual_limit_is_raised(hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    limit = allow_many_files()
    assert limit > 1000
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit, hard)


def test_a_limit_that_is_high_enough_is_left_alone(hard: int) -> None:
    limit = allow_many_files()
    assert allow_many_files() == limit
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
