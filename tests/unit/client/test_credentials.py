from pathlib import Path

import pytest

from lsst.ts.ocps.client.credentials import Credentials
from lsst.ts.ocps.client.errors import BackendAuthenticationError
from lsst.ts.ocps.client.settings import CredentialsSettings

pytestmark = pytest.mark.asyncio

SECRET = "planted-secret"


async def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {SECRET}\n")
    credentials = await Credentials.resolve("x", CredentialsSettings(file=str(file)))
    assert credentials.headers() == {"Authorization": f"Bearer {SECRET}"}


async def test_a_password_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPS_TEST_PASSWORD", SECRET)
    settings = CredentialsSettings(kind="basic", user="me", environment="OCPS_TEST_PASSWORD")
    credentials = await Credentials.resolve("x", settings)
    assert credentials.headers()["Authorization"].startswith("Basic ")


async def test_no_reference_gives_no_header() -> None:
    credentials = await Credentials.resolve("x", None)
    assert credentials.headers() == {}
    assert repr(credentials) == "Credentials()"


@pytest.mark.parametrize("content", [b"", b" \n", b"a\nb", b"a\x00b", "schlüssel".encode(), b"\xff\xfe"])
async def test_what_is_no_token_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(BackendAuthenticationError, match=rf"back end x: credentials: file {file}") as caught:
        await Credentials.resolve("x", CredentialsSettings(file=str(file)))
    assert caught.value.__cause__ is None
    for part in (b"schl", b"a\nb"):
        assert part.decode() not in str(caught.value)


async def test_a_missing_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendAuthenticationError, match=r"/nothing: No such file"):
        await Credentials.resolve("x", CredentialsSettings(file=str(tmp_path / "nothing")))
    with pytest.raises(BackendAuthenticationError, match="Is a directory"):
        await Credentials.resolve("x", CredentialsSettings(file=str(tmp_path)))
    monkeypatch.delenv("OCPS_TEST_TOKEN", raising=False)
    with pytest.raises(BackendAuthenticationError, match="variable OCPS_TEST_TOKEN is empty or not there"):
        await Credentials.resolve("x", CredentialsSettings(environment="OCPS_TEST_TOKEN"))


@pytest.mark.parametrize("credentials", [Credentials.bearer(SECRET), Credentials.basic("me", SECRET)])
async def test_secrets_never_show(credentials: Credentials) -> None:
    header = credentials.headers()["Authorization"]
    said = f"you sent {header} and {SECRET}"
    for shown in (
        repr(credentials),
        str(credentials),
        f"{credentials}",
        credentials.redact(said),
        credentials.redact_bytes(said.encode()).decode(),
    ):
        assert SECRET not in shown
        assert header.partition(" ")[2] not in shown
    assert credentials.redact("nothing here") == "nothing here"
