from dataclasses import replace
from typing import Any

import pytest

from lsst.ts.ocps.csc.config import CscConfig
from lsst.ts.ocps.csc.errors import RequestRejectedError
from lsst.ts.ocps.csc.limits import check_limits
from lsst.ts.ocps.csc.requests import RunRequest
from lsst.ts.ocps.payloads.schema import PayloadDefinition


def make_config(**keys: Any) -> CscConfig:
    return CscConfig.model_validate({"backends": {"b": {"url": "http://h"}}, "default_backend": "b"} | keys)


def make_request(**keys: Any) -> RunRequest:
    definition = PayloadDefinition.model_validate({"name": "p", "description": ""} | keys)
    return RunRequest("run", definition, {}, ())


def refusal(request: RunRequest, config: CscConfig, *, of_payload: int = 0, of_all: int = 0) -> str:
    """What is wrong; "" if the run is accepted."""
    try:
        check_limits(request, config, index=1, of_payload=of_payload, of_all=of_all)
    except RequestRejectedError as error:
        return str(error)
    return ""


def test_nothing_is_refused_by_default() -> None:
    assert refusal(make_request(), make_config(), of_payload=9999, of_all=9999) == ""


def test_a_limit_of_a_payload_counts_its_runs() -> None:
    request = make_request(max_active=2, when_busy="reject")
    assert refusal(request, make_config(), of_payload=1, of_all=50) == ""
    assert refusal(request, make_config(), of_payload=2) == (
        "payload p is busy: 2 runs are active, max_active allows 2 (when_busy: reject)"
    )


def test_a_limit_of_an_instance_counts_all_runs() -> None:
    config = make_config(mode="asynchronous", max_active=2, max_queued=1)
    assert refusal(make_request(), config, of_all=2) == ""
    assert refusal(make_request(), config, of_all=3) == (
        "OCPS:1 is busy: 3 runs are active or waiting, max_active allows 2 and max_queued 1 more"
    )


def test_a_limit_of_an_instance_may_reject() -> None:
    config = make_config(max_active=2, when_busy="reject")
    assert refusal(make_request(), config, of_all=1) == ""
    assert refusal(make_request(), config, of_all=2) == (
        "OCPS:1 is busy: 2 runs are active, max_active allows 2 (when_busy: reject)"
    )


def test_every_limit_that_is_exceeded_is_named() -> None:
    problem = refusal(
        make_request(mode="synchronous"), make_config(mode="synchronous"), of_payload=1, of_all=2
    )
    assert problem == (
        "payload p is busy: 1 run is active, mode synchronous allows 1; "
        "OCPS:1 is busy: 2 runs are active, mode synchronous allows 1"
    )


@pytest.mark.parametrize("who", ["payload p", "OCPS:1"])
def test_nothing_is_detached_in_mode_synchronous(who: str) -> None:
    request = make_request(**({"mode": "synchronous"} if who == "payload p" else {}))
    config = make_config(**({"mode": "synchronous"} if who == "OCPS:1" else {}))
    assert refusal(request, config) == ""
    assert refusal(replace(request, detach=True), config) == (
        f"detach: {who} is in mode synchronous, in which nothing is detached"
    )


def test_execute_is_never_refused_for_load_unless_asked_for() -> None:
    request = replace(make_request(mode="synchronous"), command="execute")
    assert refusal(request, make_config(mode="synchronous"), of_payload=5, of_all=5) == ""
    config = make_config(mode="synchronous", execute_when_busy="reject")
    assert "payload p is busy" in refusal(request, config, of_payload=1, of_all=1)
