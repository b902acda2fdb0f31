"""Vectors made with the real SAL library; see ``data/golden``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["GOLDEN_COMPONENTS", "golden_samples", "golden_topics", "load_golden"]

GOLDEN_COMPONENTS = ("OCPS", "Test")

_DIRECTORY = Path(__file__).parents[1] / "data" / "golden"


@cache
def load_golden(name: str) -> Any:
    """One file, by its stem."""
    return json.loads((_DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))


def golden_topics() -> list[tuple[str, str]]:
    """Every topic as (component, attribute name)."""
    return [(name, attr_name) for name in GOLDEN_COMPONENTS for attr_name in load_golden(name)["topics"]]


def golden_samples() -> list[tuple[str, dict[str, Any]]]:
    """Every encoded sample as (component, sample)."""
    return [(name, sample) for name in GOLDEN_COMPONENTS for sample in load_golden(name)["samples"]]
