"""Pages of other web sites in browsers: what they are told, and what they may read (CORS)."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from support.owners import calls_from, fake_with_owners
from support.service_process import FakeService, make_config

pytestmark = pytest.mark.asyncio

PORTAL = "https://portal.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization, content-type",
}


async def test_every_resource_tells_its_methods(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    for url, methods in (
        ("/api/v1/job", "GET, OPTIONS, PUT"),
        ("/api/v1/job/1", "DELETE, GET, OPTIONS"),
        ("/work/async", "GET, HEAD, OPTIONS, POST"),
        (f"{path}/phase", "GET, HEAD, OPTIONS, POST"),
    ):
        answer = await fake.calls.http.options(url)
        assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, methods, b"")
        refused = await fake.calls.http.patch(url)
        assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
    assert (await fake.calls.http.options("/api/v1/nothing")).status_code == 404


async def test_no_page_of_another_site_is_told_anything_unless_it_is_chosen(fake: FakeService) -> None:
    for method, headers in (("OPTIONS", PREFLIGHT), ("GET", {}), ("PUT", {})):
        answer = await fake.calls.http.request(method, "/api/v1/job", headers={"Origin": PORTAL, **headers})
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.status_code == 403


async def test_pages_of_a_chosen_site_use_the_service_with_the_tokens_of_its_users(tmp_path: Path) -> None:
    async with fake_with_owners(tmp_path, origins=[PORTAL]) as owners:
        async with calls_from(owners.fake, {"Origin": PORTAL, "Sec-Fetch-Site": "cross-site"}) as page:
            # The browser asks without the token.
            answer = await page.http.options("/api/v1/job", headers=PREFLIGHT)
            assert answer.status_code == 200
            assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            # Without one the page is told what is missing.
            answer = await page.http.get("/api/v1/job")
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, PORTAL)
            token = {"Authorization": f"Bearer {owners.tokens['alice']}"}
            answer = await page.http.put("/api/v1/job", json={"command": "work"}, headers=token)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PORTAL)
            answer = await page.http.post("/work/async", headers=token)
            assert answer.status_code == 303
            assert "Location" in answer.headers["Access-Control-Expose-Headers"]
        async with calls_from(owners.fake, {"Origin": "https://evil.example"}) as page:
            assert (await page.http.options("/api/v1/job", headers=PREFLIGHT)).status_code == 400
            for answer in (
                await page.http.get("/api/v1/job", headers=token),
                await page.http.put("/api/v1/job", json={"command": "work"}, headers=token),
            ):
                assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["*", "portal.example", "https://portal.example/", "ftp://portal.example"])
async def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValidationError, match="origin"):
        make_config(tmp_path, {}, origins=[origin])
