"""What a benchmark gives: named figures with their samples, and grids of cells; kept as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

__all__ = ["Figures", "Grid", "Measurement", "load_measurements"]


@dataclass
class Figures:
    """The samples of one broker, by name; times in ms unless the name says otherwise."""

    title: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    kind: Literal["figures"] = "figures"

    def add(self, name: str, value: float) -> None:
        """Keep one sample."""
        self.samples.setdefault(name, []).append(value)


@dataclass
class Grid:
    """Cells that belong to a row and a column."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    kind: Literal["grid"] = "grid"


Table = Annotated[Figures | Grid, Field(discriminator="kind")]


@dataclass
class Measurement:
    """What was measured in one go: one part of the benchmarks on one broker."""

    part: str
    machine: str
    """One line about it."""

    tables: list[Table]
    subject: str = ""
    """The broker; "" if the part needs none."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def save(self, folder: Path) -> None:
        """Keep it in a folder, in the place of an earlier one of the same part and broker."""
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join([self.part, *self.subject.lower().split()])
        (folder / f"{name}.json").write_bytes(_MEASUREMENT.dump_json(self, indent=1))


_MEASUREMENT: TypeAdapter[Measurement] = TypeAdapter(Measurement)


def load_measurements(folder: Path) -> Sequence[Measurement]:
    """All that was kept in a folder."""
    return [_MEASUREMENT.validate_json(file.read_bytes()) for file in sorted(folder.glob("*.json"))]
