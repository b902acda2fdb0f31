"""Jobs that only pretend to run, for ``--simulate``: their pipeline says how they end."""

from collections.abc import Callable
from typing import ClassVar

from typing_extensions import override

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .base import Backend, Submission
from .errors import RequestRefusedError
from .fake_service import FakeRecord, FakeService, Script
from .settings import AnyBackendSettings
from .testing import FakeBackend

__all__ = ["PIPELINES", "SimulatedService", "SimulationBackend"]

PIPELINES = {
    "true.yaml": ExecutionPhase.COMPLETED,
    "false.yaml": ExecutionPhase.ERROR,
    "fault.yaml": ExecutionPhase.ARCHIVED,
}
"""How a job ends, by the value of its parameter ``pipeline`` (else ``config``). The last one is lost,
together with the service that it pretends to run on."""

_RESULTS = {"result.json": b'{"result": true}'}


class SimulatedService(FakeService):
    """The jobs of one simulating CSC; they are gone when it ends.

    Parameters
    ----------
    on_fault
        Called, with a text for operators, when the job ``fault.yaml`` ends.
    duration
        How long a job takes (s).
    """

    def __init__(self, on_fault: Callable[[str], None], *, duration: float = 1.0) -> None:
        super().__init__(self._write_script)
        self.duration = duration
        self._on_fault = on_fault

    async def open_backend(self, name: str, _settings: AnyBackendSettings) -> Backend:
        """Stand in for a back end, whatever its settings are; nothing that they name is asked or read."""
        return SimulationBackend(name, self)

    @override
    def _change(self, record: FakeRecord, phase: ExecutionPhase) -> None:
        if phase is ExecutionPhase.ARCHIVED:
            self._on_fault(f"job {record.job.job_id}: the simulated service cannot be reached (fault.yaml)")
        super()._change(record, phase)

    def _write_script(self, submission: Submission) -> Script:
        end = _choose_end(submission)
        text = "the simulated pipeline false.yaml always fails"
        return Script(duration=self.duration, outcome=end, results=_RESULTS, error=text)


class SimulationBackend(FakeBackend):
    """A back end that speaks to a `SimulatedService`.

    Parameters
    ----------
    name
        Name of the back end that it stands for.
    service
        The service.
    """

    kind: ClassVar[str] = "simulation"

    def __init__(self, name: str, service: SimulatedService) -> None:
        super().__init__(name, service)

    @override
    def check(self, submission: Submission) -> None:
        """Refuse a pipeline that is not one of `PIPELINES`; a payload that has none succeeds."""
        try:
            _ = _choose_end(submission)
        except ValueError as error:
            raise RequestRefusedError(self.name, str(error)) from None


def _choose_end(submission: Submission) -> ExecutionPhase:
    given = dict(submission.parameters)
    pipeline = given.get("pipeline") or given.get("config") or "true.yaml"
    if pipeline not in PIPELINES:
        raise ValueError(f"{pipeline!r} is not simulated; these are: {', '.join(PIPELINES)}")
    return PIPELINES[pipeline]
