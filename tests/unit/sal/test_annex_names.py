import subprocess
import sys

import pytest
from astropy.time import Time

from lsst.ts.ocps.sal.annex import AsyncS3Bucket
from lsst.ts.ocps.sal.errors import SettingsError
from lsst.ts.ocps.sal.settings import get_s3_endpoint_url
from lsst.ts.ocps.sal.utils import astropy_time_from_tai_unix
from support.s3_server import set_credentials

NOON = Time("2023-11-14T12:00:00", scale="tai")


def test_bucket_names_follow_the_observatory() -> None:
    assert AsyncS3Bucket.make_bucket_name("cp") == "rubinobs-lfa-cp"
    assert AsyncS3Bucket.make_bucket_name(s3instance="Tu.cson", s3category="Test") == "rubinobs-test-tu.cson"
    assert len(AsyncS3Bucket.make_bucket_name("x" * 50)) == 63


@pytest.mark.parametrize("part", ["", ".cp", "cp.", "c_p", "c-p", "c p", "é", "x" * 60])
def test_other_bucket_names_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match=r"s3instance=|characters"):
        AsyncS3Bucket.make_bucket_name(part)
    with pytest.raises(ValueError, match=r"s3category=|characters"):
        AsyncS3Bucket.make_bucket_name("cp", part)


def test_keys_follow_the_observatory() -> None:
    key = AsyncS3Bucket.make_key("OCPS", 1, "result", NOON, suffix=".json")
    assert key == "OCPS:1/result/2023/11/14/OCPS:1_result_2023-11-14T12:00:00.000.json"


@pytest.mark.parametrize("index", [None, "", 0])
def test_a_component_without_index_has_none_in_its_keys(index: str | int | None) -> None:
    key = AsyncS3Bucket.make_key("Electrometer", index, "fits", NOON, other="x")
    assert key == "Electrometer/fits/2023/11/14/Electrometer_fits_x.dat"


def test_a_stem_replaces_the_file_name() -> None:
    key = AsyncS3Bucket.make_key("OCPS", "LATISS", "result", NOON, other="unused", stem="stem")
    assert key == "OCPS:LATISS/result/2023/11/14/stem.dat"


@pytest.mark.parametrize(
    ("time", "date"),
    [
        (Time("2023-11-14T11:59:59.9994", scale="tai"), "2023/11/13"),
        # Rounded before the twelve hours are taken away.
        (Time("2023-11-14T11:59:59.9996", scale="tai"), "2023/11/14"),
        (Time("2023-11-14T11:59:23.5", scale="utc"), "2023/11/14"),
        (Time("2023-11-14T11:59:22.5", scale="utc"), "2023/11/13"),
    ],
)
def test_the_date_changes_at_noon_tai(time: Time, date: str) -> None:
    assert AsyncS3Bucket.make_key("A", 0, "g", time, other="x").split("/", 2)[2] == f"{date}/A_g_x.dat"
    assert AsyncS3Bucket.make_key("A", 0, "g", time).endswith(".dat")


def test_a_time_may_be_given_in_tai_seconds() -> None:
    seconds = 1699963200.0
    assert astropy_time_from_tai_unix(seconds).isot == "2023-11-14T12:00:00.000"
    assert AsyncS3Bucket.make_key("OCPS", 1, "result", seconds) == AsyncS3Bucket.make_key(
        "OCPS", 1, "result", NOON
    )


def test_the_endpoint_comes_from_the_environment() -> None:
    assert get_s3_endpoint_url({}) is None
    assert get_s3_endpoint_url({"S3_ENDPOINT_URL": ""}) is None
    assert get_s3_endpoint_url({"S3_ENDPOINT_URL": "https://s3.example.org/"}) == "https://s3.example.org"
    with pytest.raises(SettingsError, match=r"S3_ENDPOINT_URL='ftp://x': an http or https URL is needed"):
        get_s3_endpoint_url({"S3_ENDPOINT_URL": "ftp://x"})
    with pytest.raises(SettingsError, match="credentials") as caught:
        get_s3_endpoint_url({"S3_ENDPOINT_URL": "https://user:planted@s3.example.org"})
    assert "planted" not in str(caught.value)


def test_without_endpoint_it_is_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    set_credentials(monkeypatch)
    monkeypatch.delenv("S3_ENDPOINT_URL", raising=False)
    assert AsyncS3Bucket("rubinobs-lfa-cp").make_url("a/b c") == (
        "https://s3.amazonaws.com/rubinobs-lfa-cp/a/b c"
    )


def test_boto3_and_moto_are_loaded_only_where_they_are_needed() -> None:
    code = """
import asyncio, io, sys
def show():
    print(*sorted({"boto3", "moto"} & set(sys.modules)), sep=",")
from lsst.ts.ocps.salobj import AsyncS3Bucket, LargeFileAnnex
show()
AsyncS3Bucket("rubinobs-lfa-cp")
show()
bucket = AsyncS3Bucket("rubinobs-lfa-cp", create=True, domock=True)
show()
async def use():
    await bucket.upload(io.BytesIO(b"x"), "a")
    print(await bucket.size("a"))
asyncio.run(use())
bucket.stop_mock()
bucket.stop_mock()
print(bucket.mock)
"""
    environment = {"S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["", "boto3", "boto3,moto", "1", "None", ""]
