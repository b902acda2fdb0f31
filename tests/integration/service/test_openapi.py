"""Requests made from the OpenAPI document of the service: none of them is answered by a failure."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from support.service_process import PAYLOADS, ServiceProcess, make_config

_JOB = "/{payload}/async/{job_id}"
_EXAMPLES = 6
"""Requests of each kind; an operation has three kinds."""


def _targets(url: str) -> list[dict[str, str]]:
    """Path parameters that lead to jobs: one that can be changed, one that has ended; and to nothing."""
    ids = []
    with httpx.Client(base_url=url, trust_env=False) as http:
        for phase in ({}, {"PHASE": "RUN"}):
            answer = http.post("/echo/async", data={"needed": "x", **phase})
            ids.append(answer.headers["Location"].rpartition("/")[2])
        http.get(f"/echo/async/{ids[1]}", params={"WAIT": "30"})
    parts = {"result_id": "result.json", "name": "text"}
    return [{"payload": "echo", "job_id": job_id, **parts} for job_id in ids]


def _lateness(operation: Any) -> int:
    """What runs jobs, or deletes them, takes them away from the others: it comes last."""
    if operation.method == "get":
        return 0
    return 2 if operation.path == _JOB else int(operation.path.endswith("/phase"))


def _fuzz(operation: Any, call: Callable[[Any], Any], given_path: dict[str, str]) -> set[int]:
    """Send requests of one operation; the statuses that were answered."""
    seen = set()
    known = {name: value for name, value in given_path.items() if f"{{{name}}}" in operation.path}

    @settings(
        max_examples=_EXAMPLES,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(path_parameters=known))
    def send(case: Any) -> None:
        answer = call(case)
        seen.add(answer.status_code)
        assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.status_code} {answer.text}"

    send()
    return seen


@pytest.mark.system
def test_no_request_made_from_the_openapi_document_is_a_failure(
    tmp_path: Path, service_database: dict[str, Any]
) -> None:
    config = make_config(tmp_path, {"echo": PAYLOADS["echo"]}, max_wait=0.1, **service_database)
    process = ServiceProcess(config, tmp_path / "service.log")
    try:
        asyncio.run(process.start())
        schema = schemathesis.openapi.from_url(f"{process.url}/openapi.json")
        targets = _targets(process.url)
        statuses: dict[str, set[int]] = {}
        found = list(schema.get_all_operations())
        operations = [one.ok() for one in found if isinstance(one, Ok)]
        assert len(operations) == len(found) > 20
        operations.sort(key=_lateness)
        for operation in operations:
            paths = [{}, *targets] if "{" in operation.path else [{}]
            label = f"{operation.method.upper()} {operation.path}"
            statuses[label] = set().union(
                *(_fuzz(operation, lambda case: case.call(timeout=60), path) for path in paths)
            )
        # They have been deep enough in the service to show something.
        for path in ("/jobs", _JOB, f"{_JOB}/results", f"{_JOB}/results/{{result_id}}", f"{_JOB}/parameters"):
            assert 200 in statuses[f"GET {path}"], statuses
        changes = [seen for label, seen in statuses.items() if _JOB in label and not label.startswith("GET ")]
        assert {303, 400, 403, 404} <= set().union(*changes), statuses
    finally:
        process.close()
