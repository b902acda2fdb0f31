"""How the demo looks: a live table in a terminal, plain lines elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table
from typing_extensions import override

from lsst.ts.ocps.observer.text import ack_name, describe_update, metric_text
from lsst.ts.ocps.observer.updates import Update, UpdateKind

from .demo_runs import PlannedRun, Stage

__all__ = ["DemoView", "LiveView", "PlainView", "create_view"]

_MAX_METRICS = 3
"""So many metrics of a run stand in the table; the plain lines have all."""


class DemoView(ABC):
    """What the demo shows, to whom."""

    @abstractmethod
    def showing(self) -> AbstractContextManager[None]:
        """Show during the body."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Say something about the demo as a whole."""

    @abstractmethod
    def begin_stage(self, stage: Stage) -> None:
        """Say what comes next."""

    @abstractmethod
    def begin_run(self, planned: PlannedRun, stamp: float) -> None:
        """Say that a command is sent at this time (TAI, Unix s)."""

    @abstractmethod
    def show_update(self, planned: PlannedRun, update: Update) -> None:
        """Show news of a run."""

    @abstractmethod
    def end_run(self, planned: PlannedRun, verdict: str, *, is_expected: bool) -> None:
        """Show how a run ended."""


class PlainView(DemoView):
    """One line for each piece of news.

    Parameters
    ----------
    console
        Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sent: dict[str, float] = {}

    @override
    @contextmanager
    def showing(self) -> Iterator[None]:
        yield

    @override
    def note(self, text: str) -> None:
        self._print(text)

    @override
    def begin_stage(self, stage: Stage) -> None:
        self._print(f"-- {stage.title}")

    @override
    def begin_run(self, planned: PlannedRun, stamp: float) -> None:
        self._sent[planned.label] = stamp
        self._print(f"{0:8.3f}  {planned.label:<15} command     run {planned.payload} {planned.parameters}")

    @override
    def show_update(self, planned: PlannedRun, update: Update) -> None:
        since = update.stamp - self._sent[planned.label]
        self._print(f"{since:8.3f}  {planned.label:<15} {update.kind.value:<11} {describe_update(update)}")

    @override
    def end_run(self, planned: PlannedRun, verdict: str, *, is_expected: bool) -> None:
        # The closing list has a line for each run.
        return

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(slots=True)
class _Row:
    planned: PlannedRun
    sent: float
    acks: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    verdict: str = ""

    def to_cells(self, *, is_short: bool) -> list[str]:
        """The cells of the table; a short row has one line, with the latest of each."""
        lists = (self.acks, self.phases, self.metrics)
        if is_short:
            return [
                self.planned.label,
                self.planned.payload,
                *("".join(each[-1:]) for each in lists),
                self.verdict,
            ]
        return [self.planned.label, self.planned.payload, *("\n".join(each) for each in lists), self.verdict]


class LiveView(DemoView):
    """A table that grows, below the notes; in the end the whole of it stays.

    Parameters
    ----------
    console
        A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._live = Live(
            console=console, get_renderable=self._short_table, refresh_per_second=8, transient=True
        )

    @override
    @contextmanager
    def showing(self) -> Iterator[None]:
        try:
            with self._live:
                yield
        finally:
            self._console.print(self._table(is_short=False))

    @override
    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    @override
    def begin_stage(self, stage: Stage) -> None:
        self._console.print(f"[bold]{stage.title}[/bold]")

    @override
    def begin_run(self, planned: PlannedRun, stamp: float) -> None:
        self._rows[planned.label] = _Row(planned, stamp)

    @override
    def show_update(self, planned: PlannedRun, update: Update) -> None:
        row = self._rows[planned.label]
        since = f"{update.stamp - row.sent:6.2f} s"
        match update.kind:
            case UpdateKind.ACK:
                row.acks.append(f"{since} {ack_name(update.data.ack)}")
            case UpdateKind.PHASE:
                row.phases.append(f"{since} {update.data.phase}")
            case UpdateKind.METRIC if len(row.metrics) < _MAX_METRICS:
                row.metrics.append(metric_text(update.data))
            case _:
                return
        self._live.refresh()

    @override
    def end_run(self, planned: PlannedRun, verdict: str, *, is_expected: bool) -> None:
        colour = "green" if is_expected else "red"
        self._rows[planned.label].verdict = f"[{colour}]{verdict}[/{colour}]"
        self._live.refresh()

    def _short_table(self) -> Table:
        # Runs that have ended take one line, so that the table fits a small terminal.
        return self._table(is_short=True)

    def _table(self, *, is_short: bool) -> Table:
        table = Table("run", "payload", "acks", "phases", "metrics", "verdict", expand=True)
        for row in self._rows.values():
            table.add_row(*row.to_cells(is_short=is_short and bool(row.verdict)))
        return table


def create_view(console: Console) -> DemoView:
    """The view that suits the console."""
    return LiveView(console) if console.is_terminal else PlainView(console)
