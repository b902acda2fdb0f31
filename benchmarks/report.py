"""The written report of a benchmark run, in reStructuredText."""

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from .measures import Figures

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
    "50 concurrent runs of 1 s: whole time": ("≤ 2000", "1800"),
    "50 concurrent runs of 1 s: first ack": ("", "150 (max 260)"),
    "50 concurrent runs of 1 s: worst heartbeat gap": ("< 1200", ""),
}
"""By figure, or its end: the target, and what was measured on the deployed system (noida-db, 2 cores) or, of
the SAL runtime alone, on ts_salobj 8.2 (reading and stall with another small broker)."""


def find_target(name: str) -> tuple[str, str]:
    """Return target and deployed figure of one figure; a length of time may stand before its name."""
    return TARGETS.get(name) or TARGETS.get(name.partition(": ")[2], ("", ""))


def write_report(all_figures: Sequence[Figures], machine: str) -> str:
    """Return the report: one table a broker, medians with minimum and maximum."""
    lines = [
        "==========",
        "Benchmarks",
        "==========",
        "",
        f"Measured by ``make bench`` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine}.",
        "Everything, the measuring program included, ran on this machine over the loopback interface.",
        "Times are in ms where nothing else is said, all values medians with (minimum - maximum).",
        "``load`` is the number of processes that wanted a processor when the measuring began:",
        "with more than there are processors, times tell of the machine rather than of the program,",
        "and what holds are the ratios, each taken within one run, and the computing times.",
        "The deployed system is dm_OCPS 4.3.0 on ts_salobj 8.2,",
        "measured earlier on a machine of the same kind with noida-db.",
        "",
    ]
    for figures in all_figures:
        title = f"On {figures.broker}"
        lines += [
            title,
            "=" * len(title),
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 46 26 6 11 11",
            "",
        ]
        lines += ["   * - figure", "     - measured", "     - n", "     - target", "     - deployed system"]
        for name, samples in figures.samples.items():
            target, deployed = find_target(name)
            value = f"{median(samples):.4g}"
            if len(samples) > 1:
                value += f" ({min(samples):.4g} - {max(samples):.4g})"
            cells = (value, str(len(samples)), target, deployed)
            lines += [f"   * - {name}", *(f"     - {cell}".rstrip() for cell in cells)]
        lines.append("")
    return "\n".join(lines)
