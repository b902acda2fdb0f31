"""``python -m benchmarks``: measure on every broker of this machine and write the report."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from support.stack import BROKERS, run_stack

from .measures import describe_machine, measure_all
from .report import write_report

PAYLOADS = Path(__file__).parents[1] / "tests" / "data" / "payloads"


def main() -> int:
    """Measure, print the report and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it run at all?")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/benchmarks.rst"))
    options = parser.parse_args()
    machine = describe_machine()
    all_figures = []
    for broker in BROKERS:
        sys.stderr.write(f"measuring on {broker}\n")
        with run_stack(broker, Path(tempfile.mkdtemp(prefix="ocps-bench-")), [PAYLOADS]) as stack:
            all_figures.append(asyncio.run(measure_all(stack, quick=options.quick)))
    report = write_report(all_figures, machine)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report, encoding="utf-8")
    print(report)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
