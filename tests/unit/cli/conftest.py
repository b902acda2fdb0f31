"""Commands that run inside the test process leave its logging as it was."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger; what a command does to it, to structlog and to new loggers is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logger_class, configuration = logging.getLoggerClass(), structlog.get_config()
    was_configured = structlog.is_configured()
    root.handlers.clear()
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    # structlog.stdlib.LoggerFactory makes it one that counts frames in another way.
    logging.setLoggerClass(logger_class)
    if was_configured:
        structlog.configure(**configuration)
    else:
        structlog.reset_defaults()
