"""Which brokers a test runs on, and the option that says otherwise.

``pytest --brokers apache_secure`` runs every test that asks for a broker on the Apache Kafka with TLS and
logins, and no other test; a comma separates several kinds.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

__all__ = ["APACHE", "APACHE_SECURE", "BROKER_KINDS", "CSC_KINDS", "parametrize_kinds"]

APACHE = pytest.param("apache", marks=pytest.mark.system, id="apache")
APACHE_SECURE = pytest.param("apache_secure", marks=pytest.mark.system, id="apache_secure")
"""Apache Kafka with SASL_SSL and SCRAM-SHA-512."""

CSC_KINDS = ("memory", APACHE_SECURE)
"""What the tests of the CSC run on: to it, the plain Apache Kafka is no other one."""

BROKER_KINDS = ("memory", "noida", APACHE)
"""What the tests run on that ask for a broker; those marked ``every_broker`` run on the secure one too."""

_ALL = {"memory": "memory", "noida": "noida", "apache": APACHE, "apache_secure": APACHE_SECURE}

_ARGUMENTS = frozenset({"broker_kind", "kafka_kind", "csc_broker", "api_kind"})
"""Arguments of tests that say the kind of broker."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--brokers",
        metavar="KIND[,KIND...]",
        help=f"run the tests that ask for a broker, and only them, on these kinds: {', '.join(_ALL)}",
    )


def _get_chosen(config: pytest.Config) -> list[str]:
    text = config.getoption("brokers")
    names = [name.strip() for name in str(text).split(",")] if text else []
    unknown = sorted(set(names) - _ALL.keys())
    if unknown:
        raise pytest.UsageError(f"--brokers: {', '.join(unknown)} is none of {', '.join(_ALL)}")
    return names


def parametrize_kinds(
    metafunc: pytest.Metafunc, argument: str, kinds: Sequence[Any], *, with_memory: bool = True
) -> None:
    """Run a test once on each of these kinds of broker, or on those that the option names.

    Parameters
    ----------
    metafunc
        The test.
    argument
        Its argument that says the kind; nothing is done if it has none.
    kinds
        Kinds without the option; a test that is marked ``every_broker`` runs on the secure one too.
    with_memory
        Whether the broker inside this process will do.
    """
    if argument not in metafunc.fixturenames:
        return
    is_for_all = metafunc.definition.get_closest_marker("every_broker") is not None
    usual: Iterable[Any] = [*kinds, *((APACHE_SECURE,) if is_for_all else ())]
    chosen = [_ALL[name] for name in _get_chosen(metafunc.config)] or usual
    fitting = [kind for kind in chosen if with_memory or kind != "memory"]
    # None: a test that runs on none of the chosen kinds; it is left out below.
    metafunc.parametrize(argument, fitting or [None])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With the option, leave out what asks for no broker."""
    if not _get_chosen(config):
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        params = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        is_chosen = any(params.get(argument) is not None for argument in _ARGUMENTS)
        (kept if is_chosen else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
