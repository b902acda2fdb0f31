"""The written report of a benchmark run, in reStructuredText."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from .tables import Figures, Measurement
from .texts import PARTS, TEXTS

__all__ = ["write_report"]

TARGETS = {
    "CSC start to first summaryState": ("≤ 1500", "5500"),
    "command to INPROGRESS with job id": ("≤ 8", "6.8"),
    "end of job to job_result": ("≤ 20", "299"),
    "idle memory (MB, resident)": ("≤ 80", "134.5"),
    "CSC of component Test: start to first summaryState": ("≤ 1500", "5500"),
    "start-up cost of a Remote (medians)": ("≤ 300", ""),
    "command to COMPLETE": ("", "0.9"),
    "command to COMPLETE, in bare round trips (medians)": ("≤ 3", ""),
    "events written (1/s)": ("≥ 5000", ""),
    "events read (1/s)": ("≥ 10000", "2800"),
    "events lost": ("0", ""),
    "longest stall of the event loop": ("≤ 50", "8050"),
    "longest stall of the event loop, computing": ("≤ 50", ""),
    "growth of the memory from there (%)": ("≤ 5", ""),
    "growth of the memory by 10000 finished runs (MB)": ("≤ 30", ""),
    "start to first summaryState, 100000 old runs in the ledger": ("≤ 2000", ""),
    "50 concurrent runs of 1 s: whole time": ("≤ 2000", "1800"),
    "50 concurrent runs of 1 s: first ack": ("", "150 (max 260)"),
    "50 concurrent runs of 1 s: worst heartbeat gap": ("< 1200", ""),
}
"""By figure, or its end: the target, and what was measured on the deployed system (noida-db, 2 cores) or, of
the SAL runtime alone, on ts_salobj 8.2 (reading and stall with another small broker)."""


def find_target(name: str) -> tuple[str, str]:
    """Return target and deployed figure of one figure; a length of time may stand before its name."""
    return TARGETS.get(name) or TARGETS.get(name.partition(": ")[2], ("", ""))


def write_report(measurements: Sequence[Measurement]) -> str:
    """Return the page: a section a part, in it one for each table.

    Parameters
    ----------
    measurements
        Those of all parts, from one go or from several; parts that are missing are told as not measured.
    """
    lines = [
        "==========",
        "Benchmarks",
        "==========",
        "",
        'Measured by ``make bench``. Parts of it are measured anew by ``make bench BENCH="--part runs"``',
        "(``--help`` lists them), which keeps what it measured and writes the page of the last measurement",
        "of each part.",
        "Everything, the measuring program included, ran on one machine over the loopback interface.",
        "Times are in ms where nothing else is said, all values medians with (minimum - maximum).",
        "``load`` is the number of processes that wanted a processor when the measuring began:",
        "with more than there are processors, times tell of the machine rather than of the program,",
        "and what holds are the ratios, each taken within one run, and the computing times.",
        "",
    ]
    for part in PARTS:
        title, text = TEXTS[part]
        lines += [title, "=" * len(title), "", *text.split("\n")]
        of_part = [each for each in measurements if each.part == part]
        for measurement in of_part:
            lines += _describe(measurement)
        if not of_part:
            lines += ["Not measured yet.", ""]
    return "\n".join(lines)


def _describe(measurement: Measurement) -> list[str]:
    lines = []
    for table in measurement.tables:
        lines += [table.title, "-" * len(table.title), ""]
        lines += [f"On {measurement.time:%Y-%m-%d %H:%M} UTC: {measurement.machine}.", ""]
        if isinstance(table, Figures):
            header = ["figure", "measured", "n", "target", "deployed system"]
            lines += _list_table(header, _figure_rows(table), widths="46 26 6 11 11")
        else:
            lines += _list_table(table.header, table.rows)
    return lines


def _figure_rows(figures: Figures) -> Iterator[list[str]]:
    for name, samples in figures.samples.items():
        value = f"{median(samples):.4g}"
        if len(samples) > 1:
            value += f" ({min(samples):.4g} - {max(samples):.4g})"
        yield [name, value, str(len(samples)), *find_target(name)]


def _list_table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto") -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for first, *others in (header, *rows):
        lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
    return [*lines, ""]
