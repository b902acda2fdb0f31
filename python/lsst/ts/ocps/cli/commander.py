"""``command_ocps INDEX``: the conventional commander, with a ``run`` that people can type."""

import asyncio
import json
import sys
from enum import IntEnum

from lsst.ts.ocps import salobj
from lsst.ts.ocps.csc.enums import SalIndex
from lsst.ts.ocps.observer.connection import COMPONENT, get_topic
from lsst.ts.ocps.observer.payloads import parameter_schema

from .errors import explain
from .logs import configure_logging
from .parameters import parse_assignments

__all__ = ["OcpsCommander", "command_ocps"]


class OcpsCommander(salobj.CscCommander):
    """Commands the OCPS.

    Parameters
    ----------
    index
        SAL index of the CSC.
    enable
        Whether to bring it to ENABLED first.
    """

    def __init__(self, index: int | IntEnum, enable: bool = False) -> None:
        # "value" is hidden by default, and it is what job_metric is about.
        super().__init__(name=COMPONENT, index=index, enable=enable, fields_to_ignore=("ignored",))
        self.help_dict["run"] = "payload [key=value | key:=JSON]...  # run a payload; its news come as events"

    async def do_run(self, args: list[str]) -> None:
        """Run a payload and wait for its end.

        Parameters
        ----------
        args
            The payload, then its parameters.

        Raises
        ------
        ValueError
            If no payload is named, or a parameter is not of that form.
        """
        if not args:
            raise ValueError("run needs a payload: run payload [key=value | key:=JSON]...")
        payload, *assignments = args
        schema = await parameter_schema(self.remote, payload)
        parameters = json.dumps(parse_assignments(assignments, schema))
        await get_topic(self.remote, "cmd_run").set_start(payload=payload, parameters=parameters)


def command_ocps() -> None:
    """Entry point of the program ``command_ocps``."""
    configure_logging(0)
    try:
        asyncio.run(OcpsCommander.amain(index=SalIndex))
    except Exception as error:
        explanation = explain(error)
        if explanation is None:
            raise
        print(f"command_ocps: {explanation.message}", file=sys.stderr)  # noqa: T201 (a program's output)
        sys.exit(explanation.status)
    except KeyboardInterrupt:
        sys.exit(130)
