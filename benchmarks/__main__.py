"""``python -m benchmarks``: measure on every broker of this machine and write the report."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

from .measures import describe_machine, measure_all
from .report import write_report
from .run_measures import measure_matrix
from .sal_measures import measure_memory, measure_sal
from .scale_measures import measure_scale
from .service_measures import measure_service
from .tables import Figures, Measurement, Table, load_measurements
from .texts import PARTS

SHORT_SOAK = 30.0
"""How long the memory is watched when nobody asks for longer (s)."""

SERVICE = "service"
"""The part that needs no broker."""


async def measure(part: str, stack: ProcessStack, folder: Path, options: argparse.Namespace) -> Table:
    """Measure one part on one broker."""
    match part:
        case "sal":
            sal = Figures(f"{stack.broker}: the SAL runtime alone")
            await measure_sal(sal, folder, quick=options.quick)
            return sal
        case "memory":
            memory = Figures(f"{stack.broker}: memory of the SAL runtime")
            await measure_memory(memory, options.soak)
            return memory
        case "runs":
            return await measure_matrix(stack, folder, quick=options.quick)
        case "scale":
            return await measure_scale(stack, folder, quick=options.quick)
        case _:
            return await measure_all(stack, quick=options.quick)


def measure_parts(parts: list[str], results: Path, options: argparse.Namespace) -> None:
    """Measure some parts, and keep what comes out of each."""
    for broker in options.broker or BROKERS:
        for part in parts:
            if part == SERVICE:
                continue
            sys.stderr.write(f"measuring {part} on {broker}\n")
            machine, folder = describe_machine(), Path(tempfile.mkdtemp(prefix="ocps-bench-"))
            with run_stack(broker, folder, [PAYLOADS]) as stack:
                table = asyncio.run(measure(part, stack, folder, options))
            Measurement(part, machine, [table], subject=broker).save(results)
    if SERVICE in parts:
        sys.stderr.write("measuring the service\n")
        machine = describe_machine()
        with tempfile.TemporaryDirectory(prefix="ocps-bench-") as name:
            tables = asyncio.run(measure_service(Path(name), quick=options.quick))
        Measurement(SERVICE, machine, [*tables]).save(results)


def main() -> int:
    """Measure, print the report and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it run at all?")
    parser.add_argument(
        "--part",
        choices=["all", "none", *PARTS],
        action="append",
        help="only this one; may be repeated; none: the report alone",
    )
    parser.add_argument("--broker", choices=BROKERS, action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--soak", type=float, default=SHORT_SOAK, metavar="SECONDS", help="how long the memory is watched"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmarks/results/benchmarks.rst"),
        help="the report of the last measurement of each part, which are kept in this file's folder",
    )
    options = parser.parse_args()
    chosen = options.part or ["all"]
    parts = [part for part in PARTS if part in chosen or "all" in chosen]
    results = options.output.parent
    measure_parts(parts, results, options)
    report = write_report(load_measurements(results))
    options.output.write_text(report, encoding="utf-8")
    print(report)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
