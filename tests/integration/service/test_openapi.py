"""Requests made from the OpenAPI document of the service: none of them is answered by a failure."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from support.owners import write_tokens
from support.service_process import PAYLOADS, ServiceProcess, make_config

_JOB = "/{payload}/async/{job_id}"
_EXAMPLES = 6
"""Requests of each kind; an operation has up to ten kinds."""

_SEED = 1
"""Decides which; others are met with ``--hypothesis-profile explore``, and a failure tells its number."""

_UPLOADING = {
    "parameters": {"type": "object", "properties": {"text": {"type": "string", "default": ""}}},
    "run": {
        "command": ["sh", "-c", 'cp "$JOB_UPLOAD_DIR"/* "$JOB_OUTPUT_DIR"', "{text}"],
        "uploads": {"Table": {"required": False, "max_bytes": 10_000}},
    },
}


def _targets(url: str, headers: Mapping[str, str]) -> list[dict[str, str]]:
    """Path parameters that lead to jobs, of which some have ended and others can be changed."""
    upload: dict[str, Any] = {"data": {"UPLOAD": "Table,param:t"}, "files": {"t": b"a table"}}
    echo: dict[str, Any] = {"data": {"needed": "x"}}
    targets = []
    with httpx.Client(base_url=url, trust_env=False, headers=headers) as http:
        for phase in ({}, {"PHASE": "RUN"}):
            for payload, form, result, name in (
                ("echo", echo, "result.json", "text"),
                ("take", upload, "Table", "Table"),
            ):
                answer = http.post(f"/{payload}/async", **form, params=phase)
                path = urlsplit(answer.headers["Location"]).path
                while phase and http.get(f"{path}/phase").text != "COMPLETED":
                    http.get(path, params={"WAIT": "-1"})
                job_id = path.rpartition("/")[2]
                targets.append({"payload": payload, "job_id": job_id, "result_id": result, "name": name})
    return targets


def _lateness(operation: Any) -> int:
    """What runs jobs, or deletes them, takes them away from the others: it comes last."""
    if operation.method == "get":
        return 0
    return 2 if operation.path == _JOB else int(operation.path.endswith("/phase"))


class _Fuzzer:
    """Sends requests that are as the document says, and such as are not.

    Parameters
    ----------
    seed
        Decides which.
    headers
        Every request has them.
    """

    def __init__(self, seed: int, headers: Mapping[str, str]) -> None:
        self._seed = seed
        self._headers = dict(headers)
        self.operations: dict[GenerationMode, set[str]] = {mode: set() for mode in GenerationMode}
        """Of which operations there were requests of each kind."""

    def fuzz(self, operation: Any, given_path: dict[str, str]) -> set[int]:
        """Send requests of one operation; the statuses that were answered."""
        known = {name: value for name, value in given_path.items() if f"{{{name}}}" in operation.path}
        seen = set()
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode, path_parameters=known)

            @hypothesis.seed(self._seed)
            @settings(
                max_examples=_EXAMPLES,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def send(case: Any) -> None:
                answer = case.call(timeout=60, headers=self._headers)
                seen.add(answer.status_code)
                told = f"{case.as_curl_command()}: {answer.status_code} {answer.text}"
                assert answer.status_code < 500, f"seed {self._seed}: {told}"

            try:
                send()
            except Unsatisfiable:
                # There is nothing about it that could be wrong.
                assert mode is GenerationMode.NEGATIVE, operation.path
            else:
                self.operations[mode].add(f"{operation.method} {operation.path}")
        return seen


@pytest.mark.system
@pytest.mark.timeout(600)
def test_no_request_made_from_the_openapi_document_is_a_failure(
    tmp_path: Path, service_database: dict[str, Any], database_kind: str
) -> None:
    headers, access = {}, {}
    if database_kind == "postgresql":
        # One database with owners, and one without.
        secrets = write_tokens(tmp_path / "tokens", "alice")
        headers = {"Authorization": f"Bearer {secrets['alice']}"}
        access = {"access": {"mode": "tokens", "file": tmp_path / "tokens"}}
    payloads = {"echo": PAYLOADS["echo"], "take": _UPLOADING}
    config = make_config(tmp_path, payloads, max_wait=0.1, **access, **service_database)
    process = ServiceProcess(config, tmp_path / "service.log")
    is_the_same = settings.get_profile(settings.get_current_profile_name()).derandomize
    seed = _SEED if is_the_same else random.randrange(2**32)  # noqa: S311 (no secret)
    fuzzer = _Fuzzer(seed, headers)
    try:
        asyncio.run(process.start())
        schema = schemathesis.openapi.from_url(f"{process.url}/openapi.json")
        targets = _targets(process.url, headers)
        statuses: dict[str, set[int]] = {}
        found = list(schema.get_all_operations())
        operations = [one.ok() for one in found if isinstance(one, Ok)]
        assert len(operations) == len(found) > 20
        operations.sort(key=_lateness)
        for operation in operations:
            paths = [{}, *targets] if "{" in operation.path else [{}]
            label = f"{operation.method.upper()} {operation.path}"
            statuses[label] = set().union(*(fuzzer.fuzz(operation, path) for path in paths))
        # They have been deep enough in the service to show something.
        for path in ("/jobs", _JOB, f"{_JOB}/results", f"{_JOB}/results/{{result_id}}", f"{_JOB}/parameters"):
            assert 200 in statuses[f"GET {path}"], statuses
        changes = [seen for label, seen in statuses.items() if _JOB in label and not label.startswith("GET ")]
        assert {303, 400, 403, 404} <= set().union(*changes), statuses
        assert len(fuzzer.operations[GenerationMode.POSITIVE]) == len(operations)
        assert len(fuzzer.operations[GenerationMode.NEGATIVE]) > 10
        assert 401 not in set().union(*statuses.values()), statuses
    finally:
        process.close()
