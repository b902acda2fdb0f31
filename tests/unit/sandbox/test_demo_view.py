import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from lsst.ts.ocps.observer.updates import Update, UpdateKind
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.sandbox.demo_runs import PlannedRun, Stage
from lsst.ts.ocps.sandbox.demo_view import DemoView, LiveView, PlainView, create_view

PLANNED = PlannedRun("deep", "source-catalog", {"threshold": 2})
BEGIN = 1000.0


def play(view: DemoView) -> None:
    with view.showing():
        view.note("csc is ENABLED")
        view.begin_stage(Stage("a title", (PLANNED,)))
        view.begin_run(PLANNED, BEGIN)
        ack = SimpleNamespace(
            ack=SalRetCode.CMD_INPROGRESS, result="{}", timeout=10.0, private_sndStamp=BEGIN + 0.25
        )
        view.show_update(PLANNED, Update(UpdateKind.ACK, ack))
        phase = SimpleNamespace(phase="EXECUTING", message="", private_sndStamp=BEGIN + 0.5)
        view.show_update(PLANNED, Update(UpdateKind.PHASE, phase))
        metric = SimpleNamespace(
            metric_name="count", metric_units="", value=255.0, private_sndStamp=BEGIN + 1.25
        )
        view.show_update(PLANNED, Update(UpdateKind.METRIC, metric))
        view.end_run(PLANNED, "completed", is_expected=True)


def make_console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=is_terminal, width=140, height=40), text


def test_without_a_terminal_each_piece_of_news_is_a_line_with_its_time() -> None:
    console, text = make_console(is_terminal=False)
    play(PlainView(console))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert lines == [
        "csc is ENABLED",
        "-- a title",
        "0.000 deep command run source-catalog {'threshold': 2}",
        "0.250 deep ack INPROGRESS {} (next word within 10 s)",
        "0.500 deep job_phase EXECUTING",
        "1.250 deep job_metric count = 255",
    ]


def test_in_a_terminal_a_table_of_acks_phases_and_metrics_with_times_stays() -> None:
    console, text = make_console(is_terminal=True)
    play(LiveView(console))
    shown = text.getvalue()
    assert "csc is ENABLED" in shown
    table = shown[shown.rindex("┏") :]
    for cell in (
        "deep",
        "source-catalog",
        "0.25 s INPROGRESS",
        "0.50 s EXECUTING",
        "count = 255",
        "completed",
    ):
        assert cell in table


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, LiveView), (False, PlainView)])
def test_the_view_suits_the_console(is_terminal: bool, kind: type[DemoView]) -> None:
    console, _ = make_console(is_terminal=is_terminal)
    assert isinstance(create_view(console), kind)
