"""Whether one more run may be accepted. No I/O."""

from .config import CscConfig
from .errors import RequestRejectedError
from .requests import RunRequest

__all__ = ["check_limits"]


def check_limits(request: RunRequest, config: CscConfig, *, index: int, of_payload: int, of_all: int) -> None:
    """Refuse a run that is too many, or that is not to be detached.

    Parameters
    ----------
    request
        What was asked for.
    config
        The configuration in force; its limits are those of the whole CSC.
    index
        SAL index of the CSC.
    of_payload, of_all
        How many runs of this payload, and of all, have not ended.

    Raises
    ------
    RequestRejectedError
        If it is refused; each problem names the limit and its value.
    """
    bounds = (
        (f"payload {request.definition.name}", request.definition.limits, of_payload),
        (f"OCPS:{index}", config.limits, of_all),
    )
    problems = []
    for who, limits, active in bounds:
        if request.detach and not limits.allows_detach:
            problems.append(f"detach: {who} is in mode synchronous, in which nothing is detached")
        if request.command == "execute" and config.execute_when_busy == "queue":
            # Its deployed clients send several at once, and do not expect to be refused.
            continue
        if excess := limits.find_excess(active):
            problems.append(f"{who} is busy: {excess}")
    if problems:
        raise RequestRejectedError(problems)
