import pytest

from lsst.ts.ocps.executors.local import LocalExecutor
from lsst.ts.ocps.executors.registry import ExecutorRegistry, UnknownExecutorError, default_registry
from lsst.ts.ocps.executors.testing import FakeExecutor


def test_the_local_executor_is_there_by_default() -> None:
    assert isinstance(default_registry().create("local", lambda _key, _status: None), LocalExecutor)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    registry = ExecutorRegistry({"fake": FakeExecutor, "other": FakeExecutor})
    with pytest.raises(UnknownExecutorError, match=r"'slurm'; there are: fake, other"):
        registry.create("slurm", lambda _key, _status: None)
