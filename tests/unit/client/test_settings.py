from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from lsst.ts.ocps.client.errors import BackendAuthenticationError, BackendUnavailableError
from lsst.ts.ocps.client.registry import FACTORIES, open_backend
from lsst.ts.ocps.client.settings import AnyBackendSettings, CredentialsSettings, UwsSettings
from lsst.ts.ocps.client.uws import UwsBackend

URL = "http://127.0.0.1:8080"


def test_an_address_is_enough() -> None:
    settings = UwsSettings.model_validate({"kind": "uws", "url": f"{URL}/", "required": True})
    assert settings.url == URL
    assert settings.job_list == "{payload}/async"
    assert settings.required


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "127.0.0.1:8080"}, "absolute http or https URL"),
        ({"url": "ftp://host"}, "absolute http or https URL"),
        ({"url": "http://"}, "absolute http or https URL"),
        ({"url": "http://me:pw@host"}, "give credentials by reference"),
        ({"url": "http://host/?a=b"}, "must not have a query"),
        ({"url": "http://host:port"}, "Port could not be cast"),
        ({"kind": "uvs"}, "Input should be 'uws'"),
        ({"job_list": "{payload}/{job}"}, "only {payload}"),
        ({"job_list": "jobs?payload={payload}"}, "must not have a query"),
        ({"call_timeout": 0}, "greater than 0"),
        ({"max_wait": 0}, "greater than or equal to 1"),
        ({"urls": []}, "Extra inputs are not permitted"),
        ({"credentials": {"kind": "bearer"}}, "either file or environment"),
        ({"credentials": {"file": "a", "environment": "b"}}, "either file or environment"),
        ({"credentials": {"kind": "basic", "file": "a"}}, "user belongs to kind basic"),
        ({"credentials": {"user": "me", "file": "a"}}, "user belongs to kind basic"),
        ({"credentials": {"token": "secret"}}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        UwsSettings.model_validate({"url": URL, **change})
    assert words in str(caught.value)
    assert next(iter(change)) in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(UwsSettings(url=URL), "url", "http://other")  # noqa: B010 (mypy refuses the plain form)


@pytest.mark.asyncio
async def test_a_back_end_is_made_from_its_settings() -> None:
    backend = await open_backend("default", UwsSettings(url="http://127.0.0.1:1"))
    assert isinstance(backend, UwsBackend)
    assert (backend.name, backend.kind, backend.creates_pending) == ("default", "uws", True)
    with pytest.raises(BackendUnavailableError, match="back end default: "):
        await backend.probe()
    await backend.aclose()


@pytest.mark.asyncio
async def test_a_back_end_without_its_secret_is_not_made() -> None:
    settings = UwsSettings(url=URL, credentials=CredentialsSettings(file="/nowhere/token"))
    with pytest.raises(
        BackendAuthenticationError, match="back end default: credentials: file /nowhere/token"
    ):
        await open_backend("default", settings)


def test_every_kind_that_settings_allow_can_be_made() -> None:
    settings = TypeAdapter(AnyBackendSettings)
    for kind in FACTORIES:
        url = "redis://127.0.0.1" if kind == "rapid_analysis" else URL
        assert settings.validate_python({"kind": kind, "url": url}).kind == kind
    with pytest.raises(ValidationError, match=f"kind must be one of {', '.join(FACTORIES)}"):
        settings.validate_python({"kind": "uvs", "url": URL})
    assert settings.validate_python({"url": URL}).kind == "uws"
