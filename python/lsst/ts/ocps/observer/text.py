"""News as people read it: one line each."""

import json
from datetime import UTC, datetime
from typing import Any

from lsst.ts.ocps import salobj

from .updates import Update, UpdateKind

__all__ = ["ack_name", "clock_text", "describe_update", "metric_text", "size_text"]

_MAX_RESULT = 300


def ack_name(code: int) -> str:
    """Short name of an acknowledgement code, such as INPROGRESS or COMPLETE."""
    try:
        return salobj.SalRetCode(code).name.removeprefix("CMD_")
    except ValueError:
        return str(code)


def clock_text(tai: float) -> str:
    """Time of day in UTC of a TAI stamp (Unix s); "-" for 0."""
    if not tai:
        return "-"
    moment = datetime.fromtimestamp(salobj.utc_from_tai_unix(tai), UTC)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def size_text(size: int) -> str:
    """A number of bytes for people; "" for -1, unknown."""
    if size < 0:
        return ""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def metric_text(data: Any) -> str:
    """A ``job_metric`` record: name, value, units."""
    units = "" if data.metric_units in {"", "unitless"} else f" {data.metric_units}"
    return f"{data.metric_name} = {data.value:.6g}{units}"


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_RESULT else f"{line[:_MAX_RESULT]}…"


def _describe_ack(data: Any) -> str:
    name = ack_name(data.ack)
    if data.ack == salobj.SalRetCode.CMD_INPROGRESS:
        return f"{name} {_clip(data.result)} (next word within {data.timeout:g} s)"
    if data.ack == salobj.SalRetCode.CMD_COMPLETE:
        # The document repeats what job_result told.
        return name if len(data.result) > _MAX_RESULT else f"{name} {data.result}"
    return f"{name} {_clip(data.result)}"


def _describe_result(data: Any) -> str:
    try:
        value = json.loads(data.result).get("value")
    except (ValueError, AttributeError):
        value = None
    text = "" if value is None else f", value {_clip(json.dumps(value))}"
    return f"exit code {data.exit_code}{text}"


def describe_update(update: Update) -> str:
    """One piece of news, without time and job.

    Parameters
    ----------
    update
        The news.
    """
    data = update.data
    match update.kind:
        case UpdateKind.ACK:
            return _describe_ack(data)
        case UpdateKind.JOB_ID:
            return str(data.job_id)
        case UpdateKind.PHASE:
            return f"{data.phase}{f': {_clip(data.message)}' if data.message else ''}"
        case UpdateKind.OUTPUT:
            return " ".join(filter(None, [data.output_id, size_text(data.byte_size), data.url]))
        case UpdateKind.METRIC:
            return metric_text(data)
        case UpdateKind.RESULT:
            return _describe_result(data)
