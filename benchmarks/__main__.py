"""``python -m benchmarks``: measure on every broker of this machine and write the report."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

from .measures import Figures, describe_machine, measure_all
from .report import write_report
from .sal_measures import measure_memory, measure_sal

SHORT_SOAK = 30.0
"""How long the memory is watched when nobody asks for longer (s)."""


async def measure(stack: ProcessStack, folder: Path, options: argparse.Namespace) -> list[Figures]:
    """Measure on one broker what the options ask for: a table each."""
    tables = []
    if options.part in {"all", "sal"}:
        sal = Figures(f"{stack.broker}: the SAL runtime alone")
        await measure_sal(sal, folder, quick=options.quick)
        tables.append(sal)
    if options.part in {"all", "memory"}:
        memory = Figures(f"{stack.broker}: memory of the SAL runtime")
        await measure_memory(memory, options.soak)
        tables.append(memory)
    if options.part in {"all", "bridge"}:
        tables.append(await measure_all(stack, quick=options.quick))
    return tables


def main() -> int:
    """Measure, print the report and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it run at all?")
    parser.add_argument("--part", choices=["all", "sal", "memory", "bridge"], default="all")
    parser.add_argument("--broker", choices=BROKERS, action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--soak", type=float, default=SHORT_SOAK, metavar="SECONDS", help="how long the memory is watched"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/benchmarks.rst"))
    options = parser.parse_args()
    machine = describe_machine()
    all_figures: list[Figures] = []
    for broker in options.broker or BROKERS:
        sys.stderr.write(f"measuring on {broker}\n")
        folder = Path(tempfile.mkdtemp(prefix="ocps-bench-"))
        with run_stack(broker, folder, [PAYLOADS]) as stack:
            all_figures += asyncio.run(measure(stack, folder, options))
    report = write_report(all_figures, machine)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report, encoding="utf-8")
    print(report)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
