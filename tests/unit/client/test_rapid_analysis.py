"""What is pushed, and what is refused whole, on lists that remember; a real Redis is in tests/integration."""

import pytest

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import BackendUnavailableError, RequestRefusedError
from lsst.ts.ocps.client.rapid_analysis import RapidAnalysisBackend, parse_values
from lsst.ts.ocps.client.settings import RapidAnalysisSettings
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.redis_server import RememberedLists

pytestmark = pytest.mark.asyncio


def submission(config: str) -> Submission:
    return Submission("rapid", "ocps-test-101-abc", (("pipeline", ""), ("config", config)))


async def test_every_pair_is_pushed_in_one_go() -> None:
    lists = RememberedLists()
    backend = RapidAnalysisBackend("ra", lists)
    assert not backend.has_jobs
    created = await backend.create(submission('{"A": "x", "B": "é \\" y", "N": 3, "F": 0.5}'))
    assert created.job.phase is ExecutionPhase.COMPLETED
    assert lists.pushed == [[("A", "x"), ("B", 'é " y'), ("N", "3"), ("F", "0.5")]]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "config: is not JSON"),
        ("no JSON", "config: is not JSON"),
        ("[1, 2]", "config: is not a JSON object"),
        ('"text"', "config: is not a JSON object"),
        ("{}", "holds nothing to push"),
        ('{"A1": "ok", "A2": [1, 2], "A3": "ok"}', "the value of 'A2' is no text"),
        ('{"A": true}', "the value of 'A' is no text"),
        ('{"A": null}', "the value of 'A' is no text"),
        ('{"A": {}}', "the value of 'A' is no text"),
        ('{"A": "1", "A": "2"}', "'A' is there twice"),
        ('{"": "1"}', "a key is empty"),
        ("[" * 100_000, "config: is not JSON"),
    ],
)
async def test_defect_24_nothing_is_pushed_unless_all_of_it_is_right(config: str, words: str) -> None:
    lists = RememberedLists()
    backend = RapidAnalysisBackend("ra", lists)
    with pytest.raises(RequestRefusedError, match=f"back end ra: .*{words}"):
        backend.check(submission(config))
    with pytest.raises(RequestRefusedError, match=words):
        await backend.create(submission(config))
    assert lists.pushed == []


async def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"'A' is no text.*'B' is no text"):
        parse_values('{"A": [], "B": null}')


async def test_there_is_no_job_to_speak_of() -> None:
    backend = RapidAnalysisBackend("ra", RememberedLists())
    for call in (
        backend.start("u"),
        backend.read("u"),
        backend.abort("u"),
        backend.delete("u"),
        backend.list_jobs("p"),
        backend.wait("u", phase=ExecutionPhase.EXECUTING, seconds=1),
        backend.fetch("u", "r", None, max_bytes=1),
    ):
        with pytest.raises(RequestRefusedError, match="back end ra: has no jobs"):
            await call


async def test_a_closed_back_end_pushes_nothing() -> None:
    lists = RememberedLists()
    backend = RapidAnalysisBackend("ra", lists)
    assert (await backend.probe()).version == "7"
    await backend.aclose()
    with pytest.raises(BackendUnavailableError, match="closed") as caught:
        await backend.create(submission('{"A": "x"}'))
    assert not caught.value.was_sent
    assert lists.pushed == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://host"}, "must be redis://host"),
        ({"url": "redis://host/name"}, "must be a number"),
        ({"url": "redis://u:planted@host"}, "give credentials by reference"),
        ({"call_timeout": 2}, "less than or equal to 1.5"),
        ({"password": {"file": "a", "environment": "b"}}, "either file or environment"),
    ],
)
async def test_wrong_settings_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RapidAnalysisSettings.model_validate({"url": "redis://127.0.0.1"} | change)
