"""``python -m benchmarks.soak``: runs all the time, and something is killed (SIGKILL) every few seconds.

Whatever ended is started again, as a supervisor would, and an operator brings the CSC back to ENABLED. At the
end the ledger, the job list of the service, and all that was ever written to the broker are compared.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.salobj import (
    AckError,
    AckTimeoutError,
    Domain,
    Remote,
    SalError,
    SalRetCode,
    State,
    set_summary_state,
)
from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

from .evidence import Evidence, collect_evidence, read_unfinished
from .measures import describe_machine

LONGEST_NAP = 6.0
"""Jobs take from none to so long (s)."""

PATIENCE = 300.0
"""How long a sender waits for a final acknowledgement, and the whole for the last run to be reported (s)."""


@dataclass
class Tally:
    """What the senders and the killer have seen."""

    answers: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    """How often the CSC ended by itself, as when it finds no broker at its start."""

    enabled: int = 0
    unexpected: list[str] = field(default_factory=list)


class Soak:
    """One soak.

    Parameters
    ----------
    stack
        Everything but the CSC runs.
    options
        Of the command line.
    """

    def __init__(self, stack: ProcessStack, options: argparse.Namespace) -> None:
        self._stack = stack
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311 (no secret is made of it)
        self._is_killing = False
        self.tally = Tally()

    async def run(self) -> Evidence:
        """Soak, wait until everything is reported, and look at what is there."""
        self._stack.start_csc()
        senders = TaskSupervisor("senders")
        keepers = TaskSupervisor("keepers")
        async with Domain() as domain, Remote(domain, "OCPS", 1, include=["summaryState"]) as remote:
            try:
                _ = keepers.start(self._supervise(), name="supervisor")
                _ = keepers.start(self._operate(remote), name="operator")
                await self._enabled(remote)
                killer = keepers.start(self._kill(), name="killer")
                await self._send_throughout(remote, senders)
                await killer
                if senders.tasks:
                    await asyncio.wait(senders.tasks, timeout=PATIENCE)
                await self._wait_until_reported()
            finally:
                await senders.aclose()
                await keepers.aclose()
        return await collect_evidence(self._stack)

    async def _enabled(self, remote: Remote) -> None:
        async with asyncio.timeout(PATIENCE):
            while not _is_enabled(remote):  # noqa: ASYNC110 (the state of another process)
                await asyncio.sleep(0.2)

    async def _send_throughout(self, remote: Remote, senders: TaskSupervisor) -> None:
        end, number = time.monotonic() + self._options.duration, 0
        while time.monotonic() < end:
            number += 1
            _ = senders.start(self._send(remote), name=str(number))
            await asyncio.sleep(self._random.expovariate(self._options.rate))

    async def _send(self, remote: Remote) -> None:
        seconds = round(self._random.uniform(0, LONGEST_NAP), 1)
        try:
            ack = await remote.cmd_run.set_start(
                payload="nap", parameters=json.dumps({"seconds": seconds}), timeout=PATIENCE
            )
            self.tally.answers[SalRetCode(ack.ack).name] += 1
        except AckTimeoutError:
            self.tally.answers["no final answer"] += 1
        except AckError as error:
            self.tally.answers[f"{SalRetCode(error.ackcmd.ack).name}: {_kind_of(error.ackcmd.result)}"] += 1
        except SalError:
            # The broker did not take the command.
            self.tally.answers["not sent"] += 1

    async def _operate(self, remote: Remote) -> None:
        """Bring the CSC to ENABLED whenever it is not."""
        while True:
            await asyncio.sleep(0.5)
            if remote.evt_summaryState.get() is None or _is_enabled(remote):
                continue
            with suppress(AckError, SalError, RuntimeError, TimeoutError):
                await set_summary_state(remote, State.ENABLED, timeout=20)
                self.tally.enabled += 1

    async def _supervise(self) -> None:
        """Start the CSC again when it has ended by itself."""
        while True:
            await asyncio.sleep(0.5)
            if not self._is_killing and not self._stack.is_csc_alive:
                self.tally.restarts += 1
                self._stack.start_csc()

    async def _kill(self) -> None:
        """Kill one process after another, until the time is over."""
        stack = self._stack
        victims: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "CSC": (stack.kill_csc, stack.start_csc),
            "service": (stack.kill_service, stack.restart_service),
        }
        if stack.broker != BROKERS[0]:
            victims["broker"] = (stack.kill_broker, stack.restart_broker)
        end = time.monotonic() + self._options.duration - self._options.interval
        while time.monotonic() < end:
            await asyncio.sleep(self._options.interval)
            name = self._random.choice(sorted(victims))
            kill, start = victims[name]
            self._is_killing = True
            try:
                await asyncio.to_thread(kill)
                await asyncio.sleep(self._random.uniform(0, 3))
                await asyncio.to_thread(start)
            finally:
                self._is_killing = False
            self.tally.kills[name] += 1

    async def _wait_until_reported(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while await asyncio.to_thread(read_unfinished, self._stack.ledger):  # noqa: ASYNC110 (a file)
                    await asyncio.sleep(1)


def _is_enabled(remote: Remote) -> bool:
    data = remote.evt_summaryState.get()
    return data is not None and data.summaryState == State.ENABLED


def _kind_of(result: str) -> str:
    """The reason of a refusal without what differs from one to the next."""
    for kind in ("was not running", "not allowed in state", "back end", "is not ENABLED"):
        if kind in result:
            return kind
    return result[:80]


def describe(tally: Tally, evidence: Evidence, options: argparse.Namespace, broker: str) -> str:
    """The report, in reStructuredText."""
    kills = ", ".join(f"{name} {count}" for name, count in sorted(tally.kills.items()))
    rows: list[tuple[str, Any]] = [
        ("commands sent", tally.answers.total()),
        *((f"… of these answered {answer}", count) for answer, count in sorted(tally.answers.items())),
        *evidence.rows(),
        ("processes killed", f"{tally.kills.total()} ({kills})"),
        ("CSC ended by itself and was started again", tally.restarts),
        ("CSC brought back to ENABLED", tally.enabled),
    ]
    width = max(len(name) for name, _ in rows)
    title = f"Soak on {broker}"
    table = [f"{name:<{width}}  {value}" for name, value in rows]
    rule = f"{'=' * width}  {'=' * max(len(str(value)) for _, value in rows)}"
    text = (
        f"{options.duration:.0f} s, a kill (SIGKILL) every {options.interval:g} s, "
        f"{options.rate:g} commands a second, seed {options.seed}; {describe_machine()}."
    )
    lines = [title, "=" * len(title), "", text, "", rule, *table, rule, ""]
    return "\n".join([*lines, *evidence.complaints()])


def main() -> int:
    """Soak, print the report and write it; the status is 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=1800.0, metavar="SECONDS")
    parser.add_argument("--interval", type=float, default=20.0, metavar="SECONDS", help="time between kills")
    parser.add_argument("--rate", type=float, default=1.0, help="commands a second, on average")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--broker", choices=BROKERS, default=BROKERS[-1], help="only Apache Kafka is killed")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/soak.rst"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ocps-soak-"))
    with run_stack(options.broker, folder, [PAYLOADS]) as stack:
        soak = Soak(stack, options)
        evidence = asyncio.run(soak.run())
    report = describe(soak.tally, evidence, options, options.broker)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report, encoding="utf-8")
    print(report)
    print(f"written to {options.output}")
    return 1 if evidence.complaints() else 0


if __name__ == "__main__":
    sys.exit(main())
