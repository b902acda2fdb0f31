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
    "50 concurrent runs of 1 s: whole time": ("≤ 2000", "1800"),
    "50 concurrent runs of 1 s: first ack": ("", "150 (max 260)"),
    "50 concurrent runs of 1 s: worst heartbeat gap": ("< 1200", ""),
}
"""By figure: the target, and what was measured on the deployed system (noida-db, 2 cores)."""


def write_report(all_figures: Sequence[Figures], machine: str) -> str:
    """Return the report: one table a broker, medians with minimum and maximum."""
    lines = [
        "==========",
        "Benchmarks",
        "==========",
        "",
        f"Measured by ``make bench`` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine}.",
        "Everything, the measuring program included, ran on this machine over the loopback interface.",
        "Times are in ms, medians with (minimum - maximum).",
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
            target, deployed = TARGETS.get(name, ("", ""))
            value = f"{median(samples):.4g}"
            if len(samples) > 1:
                value += f" ({min(samples):.4g} - {max(samples):.4g})"
            cells = (value, str(len(samples)), target, deployed)
            lines += [f"   * - {name}", *(f"     - {cell}".rstrip() for cell in cells)]
        lines.append("")
    return "\n".join(lines)
