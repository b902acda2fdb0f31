import errno
import importlib
import signal
from pathlib import Path

import pytest

from lsst.ts.ocps.aio.deadline import DeadlineExceededError
from lsst.ts.ocps.cli import errors
from lsst.ts.ocps.cli.errors import ExitStatus, UsageError, explain
from lsst.ts.ocps.observer.errors import CommandFailedError, NoAnswerError, NoCscError
from lsst.ts.ocps.sal.errors import BrokerError, RegistryError, SettingsError
from lsst.ts.ocps.sandbox.errors import (
    AlreadyRunningError,
    NotRunningError,
    PartFailedError,
    StoppedBySignalError,
)


@pytest.mark.parametrize(
    ("error", "status", "part"),
    [
        (UsageError("x is twice"), ExitStatus.REJECTED, "x is twice"),
        (AlreadyRunningError(Path("/box"), 7), ExitStatus.FAILED, "(process 7)"),
        (AlreadyRunningError(Path("/box"), None), ExitStatus.FAILED, "(another process)"),
        (NotRunningError(Path("/box")), ExitStatus.FAILED, "no sandbox runs in /box"),
        (
            PartFailedError("csc", "ended with status 1", log=Path("/l"), tail="no disk"),
            ExitStatus.FAILED,
            "csc ended with status 1; the end of /l:\nno disk",
        ),
        (PartFailedError("csc", "died", log=Path("/l"), tail=""), ExitStatus.FAILED, "/l is empty"),
        (StoppedBySignalError(signal.SIGTERM), 143, "stopped by SIGTERM"),
        (NoCscError(3, "summaryState"), ExitStatus.NO_ANSWER, "OCPS:3"),
        (NoAnswerError("silence"), ExitStatus.NO_ANSWER, "silence"),
        (CommandFailedError("no"), ExitStatus.FAILED, "no"),
        (SettingsError("LSST_TOPIC_SUBNAME is not set"), ExitStatus.REJECTED, 'eval "$(ocps sandbox env)"'),
        (BrokerError("connect to Kafka host:9092"), ExitStatus.NO_ANSWER, "host:9092"),
        (RegistryError("schema registry http://x"), ExitStatus.NO_ANSWER, "http://x"),
        (DeadlineExceededError("connecting: no end after 3 s"), ExitStatus.NO_ANSWER, "connecting"),
        (OSError(errno.EADDRINUSE, "Address already in use"), ExitStatus.FAILED, "choose another port"),
    ],
)
def test_an_error_that_is_understood_has_a_message_and_a_status(
    error: Exception, status: int, part: str
) -> None:
    explanation = explain(error)
    assert explanation is not None
    assert part in explanation.message
    assert explanation.status == status


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), OSError(errno.ENOENT, "x")])
def test_an_error_that_nobody_expected_keeps_its_traceback(error: Exception) -> None:
    assert explain(error) is None


def test_every_class_of_the_table_exists() -> None:
    for module_name, class_name, _, _ in errors._TABLE:
        assert issubclass(getattr(importlib.import_module(module_name), class_name), Exception)


@pytest.mark.parametrize(
    ("tail", "is_taken"),
    [
        ("[Errno 98] Address already in use", True),
        ("cannot listen: Address in use", True),
        ("no disk", False),
    ],
)
def test_a_port_that_was_taken_meanwhile_is_recognised(tail: str, is_taken: bool) -> None:
    assert PartFailedError("broker", "died", log=Path("/l"), tail=tail).is_port_taken is is_taken
