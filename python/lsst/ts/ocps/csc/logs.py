"""Structured logs over the standard library: JSON on standard error, and readable in SAL's ``logMessage``.

Loggers are children of the component's logger, to which the SAL layer attaches its handler.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

__all__ = ["ROOT_NAME", "BoundLogger", "configure_logging", "get_logger", "make_json_formatter"]

ROOT_NAME = "OCPS"
"""Name of the component's logger."""

_STACK_LEVEL = 4
"""Frames of structlog between our call and the standard logger, so that records name our line."""

_RENAMED = {name: f"{name}_" for name in ("event", "time", "level", "logger", "exc_info", "_record")}
"""Fields that would take the place of what every line has."""

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
    keywords = {"exc_info": exc_info, "extra": {"text": text, "fields": fields}, "stacklevel": _STACK_LEVEL}
    return (f"{text} [{shown}]" if shown else text,), keywords


def _make_hider(hide: Callable[[str], str]) -> structlog.typing.Processor:
    def process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {name: hide(value) if isinstance(value, str) else value for name, value in event.items()}

    return process


def get_logger(name: str, *, hide: Callable[[str], str] | None = None, **fields: Any) -> BoundLogger:
    """A logger of the CSC.

    Parameters
    ----------
    name
        Name below the component's logger.
    hide
        Takes what is secret out of the texts of the fields.
    **fields
        Bound to every message.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(f"{ROOT_NAME}.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            *([_make_hider(hide)] if hide is not None else []),
            _to_standard_call,
        ],
        wrapper_class=BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    bound: BoundLogger = logger.bind(**fields)
    return bound


def _unfold(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Give the fields of one of our records keys of their own, instead of the end of its text."""
    record = event["_record"]
    fields = getattr(record, "fields", None)
    if fields is not None:
        event["event"] = record.text
        event.update({_RENAMED.get(name, name): value for name, value in fields.items()})
    return event


def make_json_formatter() -> logging.Formatter:
    """Format every record as one JSON object: ``time``, ``level``, ``logger``, ``event``, and its fields."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _unfold,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


def configure_logging() -> None:
    """Send the logs of this process to standard error, one JSON object a line, with UTC times."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(make_json_formatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # One line for each HTTP request drowns what matters.
    talkative = ("httpx", "httpcore", "aiokafka", "boto3", "botocore", "s3transfer", "urllib3")
    for name in talkative:
        logging.getLogger(name).setLevel(logging.WARNING)
