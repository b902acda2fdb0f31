"""Structured logs over the standard library: readable in SAL's ``logMessage``, with their fields kept apart.

Loggers are children of the component's logger, to which the SAL layer attaches its handler.
"""

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["ROOT_NAME", "BoundLogger", "configure_logging", "get_logger"]

ROOT_NAME = "OCPS"
"""Name of the component's logger."""

_STACK_LEVEL = 4
"""Frames of structlog between our call and the standard logger, so that records name our line."""

BoundLogger = structlog.stdlib.BoundLogger


def _to_standard_call(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Make the call of the standard logger: the fields follow the text, and travel as ``fields``."""
    fields = dict(event)
    text = str(fields.pop("event", ""))
    exc_info = fields.pop("exc_info", None)
    shown = " ".join(f"{name}={value}" for name, value in fields.items())
    # The text is a finished message: per cent signs in it are no placeholders, for there are no arguments.
    keywords = {"exc_info": exc_info, "extra": {"fields": fields}, "stacklevel": _STACK_LEVEL}
    return (f"{text} [{shown}]" if shown else text,), keywords


def get_logger(name: str, **fields: Any) -> BoundLogger:
    """A logger of the CSC.

    Parameters
    ----------
    name
        Name below the component's logger.
    **fields
        Bound to every message.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(f"{ROOT_NAME}.{name}"),
        processors=[structlog.stdlib.filter_by_level, _to_standard_call],
        wrapper_class=BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    bound: BoundLogger = logger.bind(**fields)
    return bound


def configure_logging() -> None:
    """Send the logs of this process to standard error, one line each, with UTC times."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # One line for each HTTP request drowns what matters.
    for name in ("httpx", "httpcore", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
