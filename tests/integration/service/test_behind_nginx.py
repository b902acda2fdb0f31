"""The service behind a real nginx, configured as the operators' page says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from lxml import html

from lsst.ts.ocps.service.main import RunningService, running_service
from lsst.ts.ocps.uws.codec import parse_job, parse_job_list
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase
from support.nginx import Nginx
from support.processes import end_commands, until
from support.service_process import PAYLOADS, id_of, make_config

pytestmark = [pytest.mark.asyncio, pytest.mark.system]
P = ExecutionPhase


@dataclass(frozen=True)
class Proxied:
    """A service, and a client that knows the proxy only."""

    url: str
    http: httpx.AsyncClient
    service: RunningService

    async def create(self, payload: str, **form: str) -> str:
        """Create a job; its URL, which the service has made."""
        answer = await self.http.post(f"{self.url}/{payload}/async", data=form)
        assert answer.status_code == 303, answer.text
        assert answer.headers["Location"].startswith(f"{self.url}/{payload}/async/")
        return str(answer.headers["Location"])

    async def job(self, url: str, **query: str) -> Job:
        return parse_job((await self.http.get(url, params=query)).content, url)

    async def end(self, url: str) -> Job:
        job = await self.job(url)
        while job.phase not in FINAL:
            job = await self.job(url, WAIT="30", PHASE=job.phase.value)
        return job


@pytest_asyncio.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    async with Nginx(tmp_path) as nginx:
        config = make_config(tmp_path, PAYLOADS, public_url=nginx.url)
        try:
            async with (
                running_service(config) as service,
                httpx.AsyncClient(timeout=60, trust_env=False) as http,
            ):
                await nginx.start(service.url)
                yield Proxied(nginx.url, http, service)
        finally:
            end_commands(config.jobs_directory)


async def test_a_whole_job_and_all_its_links_are_behind_the_proxy(proxied: Proxied) -> None:
    url = await proxied.create("shell", script='head -c 5000001 /dev/zero > "$JOB_OUTPUT_DIR/big.bin"')
    answer = await proxied.http.post(f"{url}/phase", data={"PHASE": "RUN"})
    assert (answer.status_code, answer.headers["Location"]) == (303, url)
    job = await proxied.end(url)
    (result,) = job.results
    assert result.url == f"{url}/results/big.bin"
    assert (await proxied.http.get(result.url)).content == bytes(5_000_001)
    part = await proxied.http.get(result.url, headers={"Range": "bytes=5000000-"})
    assert (part.status_code, part.content) == (206, b"\0")
    (listed,) = parse_job_list((await proxied.http.get(f"{proxied.url}/jobs")).content, proxied.url)
    assert listed.url == url
    for page in ("/", "/docs"):
        text = (await proxied.http.get(proxied.url + page)).text
        links = {link for _, _, link, _ in html.document_fromstring(text).iterlinks()}
        for link in links - {f"{proxied.url}/metrics"}:
            assert link.startswith(f"{proxied.url}/")
            assert (await proxied.http.get(link)).status_code == 200
    answer = await proxied.http.delete(url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{proxied.url}/shell/async")


async def test_a_result_of_a_synchronous_request_is_led_to(proxied: Proxied) -> None:
    answer = await proxied.http.get(f"{proxied.url}/echo/sync?needed=x", follow_redirects=True)
    assert "--needed=x" in answer.json()["arguments"]
    assert str(answer.url).startswith(f"{proxied.url}/echo/async/")


async def test_who_waits_behind_the_proxy_is_answered_and_who_leaves_is_released(proxied: Proxied) -> None:
    url = await proxied.create("sleep", PHASE="RUN")
    job = await proxied.job(url)
    while job.phase is not P.EXECUTING:
        job = await proxied.job(url, WAIT="30", PHASE=job.phase.value)
    watch = proxied.service.context.watch
    waiting = [asyncio.create_task(proxied.job(url, WAIT="-1")) for _ in range(4)]
    await until(lambda: watch.count(id_of(url)) == 4, "all wait")
    for task in waiting[:2]:
        task.cancel()
    await until(lambda: watch.count(id_of(url)) == 2, "those who left are released")
    await proxied.http.post(f"{url}/phase", data={"PHASE": "ABORT"})
    jobs = await asyncio.wait_for(asyncio.gather(*waiting[2:]), 30)
    assert {job.phase for job in jobs} == {P.ABORTED}


async def test_the_job_of_a_synchronous_client_that_leaves_is_aborted(proxied: Proxied) -> None:
    asking = asyncio.create_task(proxied.http.get(f"{proxied.url}/sleep/sync?seconds=60"))
    queued = proxied.service.context.dispatcher
    await until(lambda: queued.running == 1, "the job runs")
    asking.cancel()
    await until(lambda: queued.running == 0, "the command is gone")
    (listed,) = parse_job_list((await proxied.http.get(f"{proxied.url}/jobs")).content, proxied.url)
    assert listed.phase is P.ABORTED


async def test_what_is_too_large_or_not_for_everybody_stops_at_the_proxy(proxied: Proxied) -> None:
    answer = await proxied.http.post(f"{proxied.url}/echo/async", data={"needed": "x" * 2**21})
    assert (answer.status_code, "nginx" in answer.text) == (413, True)
    assert (await proxied.http.get(f"{proxied.url}/metrics")).status_code == 404
    assert (await proxied.http.get(f"{proxied.service.url}/metrics")).status_code == 200
