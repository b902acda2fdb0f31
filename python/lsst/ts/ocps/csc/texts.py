"""Strings that fit into events: bounded, and shed in a fixed order. No I/O."""

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_STRING_BYTES", "clip", "dump_json", "fit_list"]

MAX_STRING_BYTES = 60_000
"""No string of an event or acknowledgement is longer (byte of UTF-8; design section 5): readers and the
databases behind them stop at 64 KiB."""


def clip(text: str, limit: int = MAX_STRING_BYTES) -> str:
    """The text, or its beginning and a note of how long it was.

    Parameters
    ----------
    text
        Any text; what cannot be encoded is replaced.
    limit
        Longest result (byte of UTF-8).
    """
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    note = f" … ({len(data)} byte in all)"
    return data[: max(0, limit - len(note.encode()))].decode(errors="ignore") + note


def dump_json(value: Any) -> str:
    """Compact JSON as it is written into events; halves of surrogate pairs become question marks."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace").decode()


def fit_list(entries: Sequence[dict[str, Any]], limit: int = MAX_STRING_BYTES) -> str:
    """A JSON list of as many entries as fit, the first ones.

    Parameters
    ----------
    entries
        JSON objects.
    limit
        Longest result (byte of UTF-8).
    """
    parts: list[str] = []
    size = 2
    for entry in entries:
        text = dump_json(entry)
        size += len(text.encode()) + 1
        if size > limit:
            break
        parts.append(text)
    return f"[{','.join(parts)}]"
