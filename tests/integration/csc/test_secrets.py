"""What is secret stays out of everything that is written: records, logs, ledger, URLs.

The server of these tests quotes whatever it was sent, as servers do in the pages of their errors.
"""

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.csc.logs import make_json_formatter
from lsst.ts.ocps.sal.broker.memory import _CLUSTERS
from lsst.ts.ocps.salobj import SalRetCode
from support.api_server_double import ApiServerDouble
from support.csc import TIMEOUT, eventually
from support.http_server import Reply, Request
from support.served_csc import KINDS, Served, ServedBench, start, url_of
from support.uws_server import UwsServer

pytestmark = pytest.mark.asyncio

PARAMETER = "planted-parameter/1"
CREDENTIAL = "planted-credential"
ENCODED = base64.b64encode(f"ocps:{CREDENTIAL}".encode()).decode()
LOGINS = {"bearer": ({}, f"Bearer {CREDENTIAL}"), "basic": ({"user": "ocps"}, f"Basic {ENCODED}")}
"""How a CSC shows its credentials: more settings, and what it sends."""

# What comes before the password in the encoded form is no secret, and may be told in another line.
PLANTED = (b"planted", ENCODED[8:24].encode())

VAULT = {
    "name": "vault",
    "description": "Takes what nobody else may know.",
    "parameters": {
        "type": "object",
        "properties": {
            "duration": {"type": "number", "default": 0.2},
            "fail": {"type": "string", "default": "", "writeOnly": True},
            "key": {"type": "string", "writeOnly": True, "maxLength": 100},
        },
    },
    "api_server": {"command": "run"},
}
AnyServer = UwsServer | ApiServerDouble


async def quote_all(request: Request) -> Reply:
    """What a server says that shows its visitors their own request."""
    told = json.dumps([request.headers, request.form, request.body.decode(), PARAMETER])
    return Reply(500, told.encode(), kind="text/plain")


async def quote_in_result(request: Request) -> Reply:
    """What a program leaves that prints its arguments and its environment."""
    told = {"arguments": [f"--key={PARAMETER}"], "seen": request.headers}
    return Reply(body=json.dumps(told).encode(), kind="application/json")


def find_planted(bench: ServedBench, server: AnyServer, log: pytest.LogCaptureFixture) -> list[str]:
    """Every place in which something secret was written, the command itself aside."""
    name = os.environ["LSST_KAFKA_BROKER_ADDR"].removeprefix("memory://")  # noqa: TID251 (set by the bench)
    texts: dict[str, bytes] = {
        f"record of {topic}": (record.key or b"") + (record.value or b"")
        for topic, partitions in _CLUSTERS[name].topics.items()
        if not topic.endswith("command_run")
        for partition in partitions
        for record in partition.records
        if is_planted(record.value or b"")
    }
    assert any(topic.endswith("logevent_logMessage") for topic in _CLUSTERS[name].topics)
    files = (path for path in bench.state_dir.rglob("*") if path.is_file())
    texts |= {f"file {path.name}": path.read_bytes() for path in files}
    formatter = make_json_formatter()
    texts |= {f"log: {line}": line.encode() for line in map(formatter.format, log.records)}
    urls = (f"{one.method} {one.path} {one.query}" for one in server.requests)
    texts |= {f"URL: {url}": url.encode() for url in urls}
    assert any(place.startswith("file ocps-1.sqlite3") for place in texts)
    return [place for place, content in texts.items() if is_planted(content)]


def is_planted(content: bytes) -> bool:
    return any(secret in content for secret in PLANTED)


@asynccontextmanager
async def vault(
    bench: ServedBench, kind: str, folder: Path, login: str = "bearer", *, create_timeout: float = TIMEOUT
) -> AsyncIterator[tuple[Served, UwsServer | ApiServerDouble]]:
    """A CSC that shows its credentials to a server, and may run the payload ``vault``."""
    token = folder / "token"
    token.write_text(CREDENTIAL)
    async with bench.serve(kind) as server:
        credentials = {"kind": login, "file": str(token)} | LOGINS[login][0]
        backend = {"kind": kind, "url": url_of(server), "credentials": credentials, "required": True}
        bench.configure(kind, url_of(server), create_timeout=create_timeout)
        config = bench.config_dir / "_init.yaml"
        config.write_text(
            yaml.safe_dump(yaml.safe_load(config.read_text()) | {"backends": {"served": backend}})
        )
        payloads = (bench.config_dir / "../../payloads").resolve()
        (payloads / "vault.yaml").write_text(yaml.safe_dump(VAULT))
        if isinstance(server, UwsServer):
            server.payloads.add("vault")
        async with bench.running() as served:
            yield served, server


async def run_vault(served: Served, **parameters: Any) -> Any:
    return await start(served.remote, payload="vault", parameters=json.dumps(parameters))


@pytest.mark.parametrize("login", ["bearer", pytest.param("basic", marks=pytest.mark.system)])
@pytest.mark.parametrize("kind", KINDS)
async def test_secrets_of_a_run_that_ends_well_are_written_nowhere(
    served_bench: ServedBench, kind: str, login: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with vault(served_bench, kind, tmp_path, login) as (served, server):
        ack = await run_vault(served, key=PARAMETER)
        # An answer that shows everything, in the middle of the job; then results that do.
        server.misbehave("GET", json.loads(ack.result)["job_id"], quote_all)
        server.misbehave("GET", "/phase", quote_all)
        server.misbehave("GET", "/results/result.json", quote_in_result)
        server.misbehave("GET", "/0", quote_in_result)
        final = await served.end(ack)
        assert final.ack == SalRetCode.CMD_COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        document = json.loads(result.result)
        assert document["parameters"]["key"] == "***"
        assert document["value"]["arguments"] == ["--key=***"]
        assert find_planted(served_bench, server, caplog) == []
        # It was sent all the same, where it belongs.
        assert {one.headers["authorization"] for one in server.requests} == {LOGINS[login][1]}
        (submission,) = [one for one in server.requests if b"key" in one.body]
        assert PARAMETER in str([submission.form, submission.body])
    assert find_planted(served_bench, server, caplog) == []


@pytest.mark.parametrize("login", LOGINS)
async def test_secrets_that_a_job_puts_into_its_error_are_written_nowhere(
    served_bench: ServedBench, login: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with vault(served_bench, "uws", tmp_path, login) as (served, server):

        async def quote_in_error(request: Request) -> Reply:
            reply = await server.answer(request)
            told = f"{PARAMETER}, {CREDENTIAL}, {request.headers['authorization']}".encode()
            return replace(
                reply, body=reply.body.replace(b"</uws:message>", b": " + told + b"</uws:message>")
            )

        server.habit = quote_in_error
        final = await served.end(await run_vault(served, fail="it failed", key=PARAMETER))
        assert (final.ack, final.result) == (
            SalRetCode.CMD_FAILED,
            f"Failed: ***: ***, [hidden], {login.title()} [hidden]",
        )
        await served.spy.wait_for("job_result")
        assert find_planted(served_bench, server, caplog) == []


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("kind", KINDS)
async def test_secrets_that_a_server_quotes_when_it_refuses_are_written_nowhere(
    served_bench: ServedBench, kind: str, login: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    served_bench.be_patient(lookup=0.3)
    async with vault(served_bench, kind, tmp_path, login, create_timeout=0.5) as (served, server):
        server.habit = quote_all
        ack = await run_vault(served, key=PARAMETER)
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "back end served" in ack.result
        status = served.remote.evt_backend_status
        await eventually(lambda: status.get() is not None and "500" in status.get().backends)
        assert find_planted(served_bench, server, caplog) == []


async def test_a_secret_that_is_refused_is_not_shown(
    served_bench: ServedBench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with vault(served_bench, "uws", tmp_path) as (served, server):
        ack = await run_vault(served, key=PARAMETER * 20, duration="soon")
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "parameters.key: is refused (its value is not shown)" in ack.result
        assert "parameters.duration: " in ack.result
        assert find_planted(served_bench, server, caplog) == []


async def test_a_credential_that_is_not_there_is_named_by_its_place(
    served_bench: ServedBench, tmp_path: Path
) -> None:
    async with vault(served_bench, "uws", tmp_path, create_timeout=0.5) as (served, _):
        (tmp_path / "token").write_text("")
        await served.remote.cmd_disable.start(timeout=TIMEOUT)
        await served.remote.cmd_standby.start(timeout=TIMEOUT)
        served_bench.configure("uws", "http://127.0.0.1:9")
        config = served_bench.config_dir / "_init.yaml"
        values = yaml.safe_load(config.read_text())
        values["backends"]["served"]["credentials"] = {"kind": "bearer", "file": str(tmp_path / "token")}
        config.write_text(yaml.safe_dump(values))
        with pytest.raises(Exception, match="token"):
            await served.remote.cmd_start.start(timeout=TIMEOUT)
