"""What is deposited, where, under which names; and what the manifest says of it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lsst.ts.ocps.csc.config import CscConfig
from lsst.ts.ocps.csc.deposit_manifest import build_manifest, read_manifest
from lsst.ts.ocps.csc.deposit_plan import (
    DepositConfig,
    DepositedFile,
    DepositPlan,
    choose,
    make_plan,
)
from lsst.ts.ocps.csc.errors import DepositError
from lsst.ts.ocps.csc.records import RECORD
from lsst.ts.ocps.payloads.schema import DepositSpec
from lsst.ts.ocps.uws.jobs import Result
from support.runs import URL, ended_record, make_record

RUN_ID = "ocps-test-1-abc"
FILE = DepositedFile("a.fits", "sub/a.fits", "file:///d/a.fits", 3, "ab" * 32, "application/fits")


def plan(config: dict[str, Any], spec: dict[str, Any] | None = None) -> DepositPlan | None:
    return make_plan(
        DepositConfig(**config),
        None if spec is None else DepositSpec(**spec),
        payload="echo",
        run_id=RUN_ID,
        site="summit",
        index=3,
        accepted_at=1_700_000_000.0,  # 2023-11-14T22:13:20Z
    )


def get_place(**values: Any) -> tuple[str, str, str] | None:
    made = plan(**values)
    return None if made is None else (made.scheme, made.root, made.folder)


def test_nothing_is_deposited_without_a_place() -> None:
    assert plan({}) is None
    assert plan({}, {"include": ["*"]}) is None
    assert plan({"enabled": False, "location": "/data"}, {"location": "/other"}) is None


def test_the_payload_says_where_else_the_site() -> None:
    site = {"location": "/data/{payload}/{day}"}
    assert get_place(config=site) == ("file", "/data", f"echo/20231114/{RUN_ID}")
    assert get_place(config=site, spec={"include": ["*.fits"]}) == (
        "file",
        "/data",
        f"echo/20231114/{RUN_ID}",
    )
    assert get_place(config=site, spec={"location": "s3://b/{site}-{index}"}) == (
        "s3",
        "b",
        f"summit-3/{RUN_ID}",
    )
    assert get_place(config={}, spec={"location": "lfa://cp"}) == ("lfa", "cp", RUN_ID)


def test_the_configuration_refuses_what_is_no_place() -> None:
    values: dict[str, Any] = {
        "backends": {"a": {"kind": "uws", "url": "http://a"}},
        "default_backend": "a",
    }
    assert CscConfig.model_validate(values).deposit == DepositConfig()
    with pytest.raises(ValidationError, match="a location is"):
        CscConfig.model_validate(values | {"deposit": {"location": "somewhere"}})
    with pytest.raises(ValidationError, match="tmeout"):
        CscConfig.model_validate(values | {"deposit": {"tmeout": 3}})


def test_a_run_keeps_its_plan_and_an_older_row_has_none() -> None:
    record = make_record(deposit=plan({"location": "/data"}))
    assert RECORD.validate_json(RECORD.dump_json(record)) == record
    old = json.loads(RECORD.dump_json(record))
    del old["run"]["deposit"]
    assert RECORD.validate_json(json.dumps(old)).run.deposit is None


def names_of(result_ids: list[str], include: tuple[str, ...] = ("*",)) -> list[str]:
    results = [Result(result_id) for result_id in result_ids]
    return [wanted.name for wanted in choose(DepositPlan("file", "/d", "x", include), results)]


def test_names_are_safe_unique_and_never_that_of_the_manifest() -> None:
    assert names_of(["../../etc/passwd", "a/b.fits", "a b.fits", "A_b.fits", "manifest.json", "", "."]) == [
        "_/../etc/passwd".replace("/", "_"),
        "a_b.fits",
        "2_a_b.fits",
        "3_A_b.fits",
        "2_manifest.json",
        "_",
        "2__",
    ]


@given(st.lists(st.text(max_size=150), max_size=8))
def test_no_result_leaves_its_folder_or_meets_another(result_ids: list[str]) -> None:
    names = names_of(result_ids)
    assert len({name.lower() for name in names} | {"manifest.json"}) == len(result_ids) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]{0,150}", name) for name in names)


def test_patterns_choose_by_the_name_of_the_result() -> None:
    assert names_of(["a.fits", "b.png", "c.FITS", "result.json"], ("*.fits", "*.json")) == [
        "a.fits",
        "result.json",
    ]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_files": 1}, "has 2 results, and 1 are allowed"),
        ({"max_file_bytes": 6}, "result b has 7 bytes, and 6 are allowed"),
        ({"max_run_bytes": 11}, "the results have 12 bytes, and 11 are allowed"),
    ],
)
def test_what_is_known_to_be_too_much_is_not_even_begun(limits: dict[str, Any], reason: str) -> None:
    results = [Result("a", size=5), Result("b", size=7)]
    assert len(choose(DepositPlan("file", "/d", "x"), results)) == 2
    with pytest.raises(DepositError, match=reason):
        choose(DepositPlan("file", "/d", "x", **limits), results)


def test_the_manifest_says_where_everything_comes_from() -> None:
    record = ended_record(label="night")
    manifest = json.loads(build_manifest(record, [FILE], backend_version="2.5"))
    assert manifest["format"] == "ocps-deposit-1"
    assert manifest["run_id"] == record.run.run_id
    assert (manifest["job_id"], manifest["job_url"]) == ("7", URL)
    assert (manifest["payload"], manifest["label"], manifest["phase"]) == ("echo", "night", "COMPLETED")
    assert manifest["parameters"] == {"text": "hello"}
    assert manifest["requester"] == "tester@host"
    assert manifest["creation_time"] == "2026-11-22T12:00:00.250Z"
    assert {"start_time", "end_time", "accepted_time", "deposit_time"} <= manifest.keys()
    assert manifest["backend"] == "fake"
    assert manifest["versions"]["backend"] == "2.5"
    assert manifest["versions"]["ts_ocps"]
    (file,) = manifest["files"]
    assert file == {
        "name": "a.fits",
        "result_id": "sub/a.fits",
        "url": "file:///d/a.fits",
        "mime_type": "application/fits",
        "byte_size": 3,
        "sha256": "ab" * 32,
    }


def test_a_manifest_is_read_back_only_as_what_it_is() -> None:
    record = ended_record()
    data = build_manifest(record, [FILE], backend_version="")
    assert read_manifest(data, record.run.run_id) == (FILE,)
    with pytest.raises(DepositError, match="another run"):
        read_manifest(data, "ocps-other")
    for broken in (b"", b"[]", data[:-5], data.replace(b'"byte_size": 3', b'"byte_size": "3"')):
        with pytest.raises(DepositError, match="cannot be read"):
            read_manifest(broken, record.run.run_id)
