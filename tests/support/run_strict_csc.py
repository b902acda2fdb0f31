"""The CSC and an observer on the strict stand-in for ts_salobj; prints what happened as one JSON object.

Arguments: a folder for configuration and state, and ``all`` or ``deployed``: which topics the interface has.
"""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from typing_extensions import override

from support import strict_salobj
from support.golden import load_golden

INTERFACES = ("all", "deployed")
WAIT = 30.0


class Lines(logging.Handler):
    """Keeps the warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def set_environment(folder: Path) -> None:
    """What a CSC finds around it, on a broker and a registry inside this process."""
    (folder / "state").mkdir()
    os.environ |= {  # noqa: TID251 (a program of its own, before its settings are read)
        "OCPS_SAL_RUNTIME": "ts_salobj",
        "LSST_TOPIC_SUBNAME": "strict",
        "LSST_KAFKA_BROKER_ADDR": "memory://strict",
        "LSST_SCHEMA_REGISTRY_URL": "memory://strict",
        "LSST_SITE": "test",
        "OCPS_STATE_DIR": str(folder / "state"),
    }


async def follow(folder: Path, interface: str) -> dict[str, Any]:
    """One life of a CSC: STANDBY to ENABLED, commands, and back to STANDBY."""
    # Imported here: they reach SAL through the module that chooses the runtime.
    from lsst.ts.ocps import salobj  # noqa: PLC0415 (see above)
    from lsst.ts.ocps.observer.connection import JOB_EVENTS, connect  # noqa: PLC0415 (see above)
    from lsst.ts.ocps.observer.state import STATE_EVENTS, change_state, read_state  # noqa: PLC0415 (see above)
    from support.csc import CscBench, write_configuration  # noqa: PLC0415 (see above)

    bench = CscBench(write_configuration(folder / "config"), folder / "state")
    states: list[str] = []
    told: dict[str, Any] = {"runtime": salobj.RUNTIME, "states": states}
    bench.on_end(duration=0.05)
    async with (
        bench.csc(salobj.State.STANDBY),
        connect(1, events=[*JOB_EVENTS, *STATE_EVENTS, "active_jobs"]) as remote,
    ):
        await change_state(remote, salobj.State.ENABLED, on_state=states.append)
        told["is_alive"] = (await read_state(remote)).is_alive
        told["execute"] = await execute(remote)
        told["aborted"] = await abort(remote, bench)
        told["is_probe_refused"] = probe(remote)
        if interface == "all":
            told["run"] = await run(remote)
            told["commander"] = await command(remote)
        else:
            told["refusal"] = await find_refusal(remote)
        await change_state(remote, salobj.State.STANDBY, on_state=states.append)
    return told


def probe(remote: Any) -> bool:
    """Ask, as code of the CSC, for something that only our runtime has."""
    try:
        eval("remote.salinfo.settings", {"__name__": "lsst.ts.ocps.csc.probe", "remote": remote})  # noqa: S307 (a text of our own)
    except AttributeError:
        return hasattr(remote.salinfo, "settings")
    return False


async def execute(remote: Any) -> dict[str, Any]:
    """A command as the calibration automation sends it."""
    first = await remote.cmd_execute.set_start(pipeline="p.yaml", timeout=WAIT, wait_done=False)
    final = await remote.cmd_execute.next_ackcmd(first, timeout=WAIT)
    result = await remote.evt_job_result.next(flush=False, timeout=WAIT)
    return {
        "acks": [int(first.ack), int(final.ack)],
        "job_id": json.loads(first.result)["job_id"],
        "result": [result.job_id, result.exit_code, json.loads(result.result)["phase"]],
    }


async def abort(remote: Any, bench: Any) -> dict[str, Any]:
    """A job that ends by ``abort_job`` only."""
    from lsst.ts.ocps import salobj  # noqa: PLC0415 (as above)

    bench.on_end(duration=3600)
    first = await remote.cmd_execute.set_start(timeout=WAIT, wait_done=False)
    job_id = json.loads(first.result)["job_id"]
    ack = await remote.cmd_abort_job.set_start(job_id=job_id, timeout=WAIT)
    try:
        final = await remote.cmd_execute.next_ackcmd(first, timeout=WAIT)
    except salobj.AckError as error:
        final = error.ackcmd
    result = await remote.evt_job_result.next(flush=False, timeout=WAIT)
    bench.on_end(duration=0.05)
    return {
        "acks": [int(ack.ack), int(final.ack)],
        "result": [result.job_id == job_id, result.exit_code],
    }


async def run(remote: Any) -> dict[str, Any]:
    """The generic command, as ``ocps run`` sends it."""
    from lsst.ts.ocps.observer.job_events import JobEvents  # noqa: PLC0415 (as above)
    from lsst.ts.ocps.observer.payloads import parameter_schema  # noqa: PLC0415 (as above)
    from lsst.ts.ocps.observer.runs import RunRequest, follow_run  # noqa: PLC0415 (as above)

    schema = await parameter_schema(remote, "echo")
    outcome = await follow_run(remote, JobEvents(remote), RunRequest("echo", {"text": "hello"}))
    return {
        "verdict": outcome.verdict.value,
        "phases": outcome.phases,
        "value": outcome.result.get("phase"),
        "has_schema": schema is not None,
    }


async def command(remote: Any) -> list[Any]:
    """The same, as the conventional commander sends it; the end of the job, as the Remote sees it."""
    from lsst.ts.ocps.cli.commander import OcpsCommander  # noqa: PLC0415 (as above)

    remote.evt_job_result.callback = None
    async with OcpsCommander(index=1) as commander:
        await commander.run_command("run echo text=hi")
        result = await remote.evt_job_result.next(flush=False, timeout=WAIT)
        return [result.exit_code, json.loads(result.result)["parameters"]["text"]]


async def find_refusal(remote: Any) -> str:
    """What an observer is told who asks for the command that the interface lacks."""
    from lsst.ts.ocps.observer.errors import MissingTopicError  # noqa: PLC0415 (as above)
    from lsst.ts.ocps.observer.job_events import JobEvents  # noqa: PLC0415 (as above)
    from lsst.ts.ocps.observer.runs import RunRequest, follow_run  # noqa: PLC0415 (as above)

    try:
        await follow_run(remote, JobEvents(remote), RunRequest("echo"))
    except MissingTopicError as error:
        return str(error)
    return ""


def main() -> None:
    """See the module."""
    folder, interface = Path(sys.argv[1]), sys.argv[2]
    if interface not in INTERFACES:
        raise SystemExit(f"{interface!r} is none of {INTERFACES}")
    set_environment(folder)
    lines = Lines()
    logging.getLogger().addHandler(lines)
    strict_salobj.install()
    if interface == "deployed":
        strict_salobj.keep_topics("OCPS", load_golden("OCPS")["topics"])
    told = asyncio.run(follow(folder, interface))
    told |= {
        "log": lines.lines,
        "used": sorted(strict_salobj.USED),
        "refused": sorted(strict_salobj.REFUSED),
    }
    print(json.dumps(told))  # noqa: T201 (what the test reads)


if __name__ == "__main__":
    main()
