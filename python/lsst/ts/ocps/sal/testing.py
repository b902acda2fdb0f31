"""Help for tests: names of topics, expected failures, topics without a broker (salobj-api section 12)."""

import base64
import os
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from types import SimpleNamespace

from .broker.deletion import delete_topics
from .domain import Domain
from .enums import as_sal_ret_code
from .errors import AckError, AckTimeoutError
from .salinfo import SalInfo
from .settings import SalSettings
from .topics.mock_write_topic import MockWriteTopic

__all__ = [
    "assertRaisesAckError",
    "assertRaisesAckTimeoutError",
    "delete_kafka_topics",
    "make_mock_write_topics",
    "set_random_lsst_dds_partition_prefix",
    "set_test_topic_subname",
]

_PRODUCTION = "sal"
"""The subname of the observatory."""


def set_test_topic_subname(randomize: bool = False) -> None:
    """Set ``LSST_TOPIC_SUBNAME`` to something that no other test uses.

    Parameters
    ----------
    randomize
        Whether it is a new one each time; otherwise it is the same throughout a process.
    """
    token = os.urandom(12) if randomize else os.getpid().to_bytes(8, "big").lstrip(b"\0")
    text = base64.urlsafe_b64encode(token).decode().replace("=", "").replace("-", "")
    os.environ["LSST_TOPIC_SUBNAME"] = f"test_{text}"  # noqa: TID251 (that is what it is for)


def set_random_lsst_dds_partition_prefix() -> None:
    """Obsolete name of `set_test_topic_subname`.

    Warns
    -----
    DeprecationWarning
        Always.
    """
    warnings.warn(
        "set_random_lsst_dds_partition_prefix is called set_test_topic_subname now",
        DeprecationWarning,
        stacklevel=2,
    )
    set_test_topic_subname()


async def delete_kafka_topics() -> None:
    """Delete every topic whose name begins with ``lsst.$LSST_TOPIC_SUBNAME.``.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If the environment does not tell the broker or the subname.
    ~lsst.ts.ocps.sal.errors.BrokerError
        If the broker cannot be reached, or refuses.
    ValueError
        If the subname is that of production.
    """
    settings = SalSettings.from_environment()
    if settings.topic_subname == _PRODUCTION:
        raise ValueError(f"topics of LSST_TOPIC_SUBNAME={_PRODUCTION} are never deleted here")
    await delete_topics(settings, prefix=f"lsst.{settings.topic_subname}.")


@asynccontextmanager
async def make_mock_write_topics(
    name: str, attr_names: Sequence[str], index: int | IntEnum | None = None
) -> AsyncIterator[SimpleNamespace]:
    """Topics whose records stay in this process; nothing is connected.

    Parameters
    ----------
    name
        Name of the component.
    attr_names
        Names of the topics with their prefixes.
    index
        Index of the component; None: 0.

    Yields
    ------
    types.SimpleNamespace
        A `~lsst.ts.ocps.sal.topics.mock_write_topic.MockWriteTopic` for each name.

    Raises
    ------
    ValueError
        If there is no such component.
    RuntimeError
        If the component has no such topic.
    """
    async with Domain() as domain, SalInfo(domain, name, index) as salinfo:
        await domain.prepare_identity()
        yield SimpleNamespace(**{each: MockWriteTopic(salinfo, each) for each in attr_names})


@contextmanager
def assertRaisesAckError(  # noqa: N802 (the API)
    ack: int | None = None, error: int | None = None, result_contains: str | None = None
) -> Iterator[None]:
    """Check that a command fails, and how.

    Parameters
    ----------
    ack
        Expected code; None: any.
    error
        Expected error number; None: any.
    result_contains
        What the result has to contain; None: anything.

    Raises
    ------
    AssertionError
        If the command succeeds, or fails in another way.
    """
    try:
        yield
    except AckError as caught:
        _check_ack(caught, ack, error)
        if result_contains is not None and result_contains not in caught.ackcmd.result:
            raise AssertionError(f"{result_contains!r} is not in {caught.ackcmd.result!r}") from caught
    else:
        raise AssertionError("AckError was not raised")


@contextmanager
def assertRaisesAckTimeoutError(ack: int | None = None, error: int | None = None) -> Iterator[None]:  # noqa: N802 (the API)
    """Check that a command is not acknowledged in time.

    Parameters
    ----------
    ack
        Expected last code; None: any.
    error
        Expected last error number; None: any.

    Raises
    ------
    AssertionError
        If it is acknowledged, or the last acknowledgement was another one.
    """
    try:
        yield
    except AckTimeoutError as caught:
        _check_ack(caught, ack, error)
    else:
        raise AssertionError("AckTimeoutError was not raised")


def _check_ack(caught: AckError, ack: int | None, error: int | None) -> None:
    if ack is not None and caught.ackcmd.ack != ack:
        expected, seen = as_sal_ret_code(ack), as_sal_ret_code(caught.ackcmd.ack)
        raise AssertionError(f"ack={seen!r}, but {expected!r} was expected: {caught}") from caught
    if error is not None and caught.ackcmd.error != error:
        raise AssertionError(f"error={caught.ackcmd.error}, but {error} was expected: {caught}") from caught
