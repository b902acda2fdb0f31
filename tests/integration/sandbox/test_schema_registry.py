"""The sandbox's registry as a Confluent client uses it; as a process, over real HTTP, where that matters."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lsst.ts.ocps.sandbox.schema_registry import RegistryStore, create_app
from support.brokers import run_registry, start_registry
from support.ports import free_port

pytestmark = pytest.mark.asyncio

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


def make_text(**attributes: str) -> str:
    return json.dumps({"type": "record", "name": "a", "fields": [], **attributes})


async def post(client: httpx.AsyncClient, path: str, text: str) -> httpx.Response:
    content = json.dumps({"schema": text, "schemaType": "AVRO", "references": []})
    return await client.post(path, content=content, headers={"Content-Type": CONTENT_TYPE, "Accept": "*/*"})


async def register(client: httpx.AsyncClient, subject: str, text: str) -> int:
    response = await post(client, f"/subjects/{subject}/versions?normalize=False", text)
    assert response.status_code == 200
    schema_id = response.json()["id"]
    assert isinstance(schema_id, int)
    return schema_id


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(tmp_path / "registry.json")
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://registry.example") as client,
    ):
        yield client


async def test_what_a_client_asks_in_its_order(client: httpx.AsyncClient) -> None:
    subject, text = "lsst.x.OCPS.ackcmd-value", make_text(doc="one")
    schema_id = await register(client, subject, text)
    associations = "/associations/resources/-/lsst.x.OCPS.ackcmd?resourceType=topic&associationType=value"
    assert (await client.get(associations)).status_code == 404
    look_up = await post(client, f"/subjects/{subject}?normalize=False&deleted=False", text)
    assert look_up.json() == {"subject": subject, "version": 1, "id": schema_id, "schema": text}
    response = await client.get(f"/schemas/ids/{schema_id}?subject={subject}")
    assert response.json() == {"schema": text}
    assert response.headers["content-type"] == CONTENT_TYPE


async def test_subjects_and_versions(client: httpx.AsyncClient) -> None:
    one, two = make_text(doc="one"), make_text(doc="two")
    ids = [await register(client, "b-value", text) for text in (one, two, one)]
    assert ids == [1, 2, 1]
    assert await register(client, "a-value", two) == 2
    assert (await client.get("/subjects")).json() == ["a-value", "b-value"]
    assert (await client.get("/subjects/b-value/versions")).json() == [1, 2]
    latest = (await client.get("/subjects/b-value/versions/latest")).json()
    assert latest == {"subject": "b-value", "version": 2, "id": 2, "schema": two}
    assert (await client.get("/subjects/b-value/versions/1")).json()["schema"] == one


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subjects/nosuch/versions", 404, 40401),
        ("/subjects/nosuch/versions/latest", 404, 40401),
        ("/subjects/there/versions/2", 404, 40402),
        ("/subjects/there/versions/x", 422, 42202),
        ("/schemas/ids/77", 404, 40403),
        ("/schemas/ids/0", 404, 40403),
        ("/nosuch", 404, 404),
    ],
)
async def test_what_is_not_there(client: httpx.AsyncClient, path: str, status: int, code: int) -> None:
    await register(client, "there", make_text())
    response = await client.get(path)
    assert (response.status_code, response.json()["error_code"]) == (status, code)
    assert response.json()["message"]


async def test_a_lookup_of_what_is_not_there(client: httpx.AsyncClient) -> None:
    await register(client, "there", make_text())
    assert (await post(client, "/subjects/nosuch", make_text())).json()["error_code"] == 40401
    assert (await post(client, "/subjects/there", make_text(doc="other"))).json()["error_code"] == 40403


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"schema": 7}', '{"schema": "{"}', '{"schema": "7"}'])
async def test_a_wrong_registration_is_refused(client: httpx.AsyncClient, body: str) -> None:
    response = await client.post("/subjects/s/versions", content=body, headers={"Content-Type": CONTENT_TYPE})
    assert (response.status_code, response.json()["error_code"]) == (422, 42201)
    assert (await client.get("/subjects")).json() == []


async def test_another_kind_of_schema_is_refused(client: httpx.AsyncClient) -> None:
    body = {"schema": make_text(), "schemaType": "PROTOBUF"}
    response = await client.post("/subjects/s/versions", json=body)
    assert response.status_code == 422
    assert "PROTOBUF" in response.json()["message"]


async def test_ids_are_the_same_after_a_restart(tmp_path: Path) -> None:
    texts = [make_text(doc=f"{n}") for n in range(5)]
    found: list[Any] = []
    for _ in range(2):
        with run_registry(tmp_path) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                ids = [await register(client, f"s{n % 2}", text) for n, text in enumerate(texts)]
                found.append((ids, (await client.get("/subjects/s0/versions")).json()))
    assert found[0] == found[1] == ([1, 2, 3, 4, 5], [1, 2, 3])


async def test_every_answered_registration_survives_a_kill(tmp_path: Path) -> None:
    texts = [make_text(doc=f"{n}") for n in range(20)]
    process, url = start_registry(tmp_path)
    async with httpx.AsyncClient(base_url=url) as client:
        ids = await asyncio.gather(*(register(client, f"s{n}", text) for n, text in enumerate(texts)))
    process.kill()
    process.wait()
    with run_registry(tmp_path) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            for n, schema_id in enumerate(ids):
                assert (await client.get(f"/schemas/ids/{schema_id}")).json() == {"schema": texts[n]}
            assert len((await client.get("/subjects")).json()) == 20


async def test_what_a_crash_has_cut_off_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    store = RegistryStore(path)
    assert [await store.register("s", make_text(doc=doc)) for doc in ("one", "two")] == [1, 2]
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:-cut])
        again = RegistryStore(path)
        again.load()
        left = whole[:-cut].count(b"\n")
        assert again.list_subjects() == (["s"] if left > 1 else [])
        assert await again.register("s", make_text(doc="new")) == max(left, 1)
        reread = RegistryStore(path)
        reread.load()
        assert reread.get_version("s", "latest")["schema"] == make_text(doc="new")


async def test_a_file_of_something_else_is_named_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "registry.json"
    data.write_text("precious")
    arguments = [
        "-m",
        "lsst.ts.ocps.sandbox.schema_registry",
        "--port",
        str(free_port()),
        "--data",
        str(data),
    ]
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert f"{data} is not a file of this schema registry" in ended.stderr
    assert data.read_text() == "precious"


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with run_registry(tmp_path / "first") as url:
        port = url.rpartition(":")[2]
        arguments = ["-m", "lsst.ts.ocps.sandbox.schema_registry", "--port", port]
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, *arguments, "--data", str(tmp_path / "second.json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode != 0
    assert "address already in use" in ended.stderr
