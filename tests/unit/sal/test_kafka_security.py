"""TLS as the settings describe it, and logs without passwords; no broker is needed for that."""

import logging
import ssl
from pathlib import Path

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslAuthenticateRequest_v1

from lsst.ts.ocps.sal.broker.kafka_refusal import KafkaRefusalError
from lsst.ts.ocps.sal.errors import SettingsError
from lsst.ts.ocps.sal.kafka_security import TlsSettings
from support.certificates import TestAuthority

SECRET = "planted-key-secret"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("authority"))


def names_of(context: ssl.SSLContext) -> list[object]:
    return [certificate["subject"] for certificate in context.get_ca_certs()]


def test_certificate_and_name_are_checked_unless_told_otherwise(authority: TestAuthority) -> None:
    context = TlsSettings(ca=authority.bundle).make_context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(names_of(context)) == 1
    context = TlsSettings(ca=authority.bundle, checks_host_name=False).make_context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    context = TlsSettings(checks_certificate=False).make_context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_the_authority_of_the_environment_counts_where_none_is_named(
    authority: TestAuthority, tmp_path: Path
) -> None:
    other = TestAuthority(tmp_path)
    default = names_of(TlsSettings().make_context(authority.bundle))
    assert default == names_of(TlsSettings(ca=authority.bundle).make_context(other.bundle))
    assert default != names_of(TlsSettings(ca=other.bundle).make_context(authority.bundle))


def test_a_missing_or_broken_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ssl\.ca\.location='.*none\.pem': No such file or directory"):
        TlsSettings(ca=tmp_path / "none.pem").make_context(None)
    (tmp_path / "broken.pem").write_text("nothing", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE='.*broken\.pem': not a usable PEM file"):
        TlsSettings().make_context(tmp_path / "broken.pem")


def test_an_encrypted_key_needs_its_password_and_nobody_is_asked_for_it(authority: TestAuthority) -> None:
    certificate, key = authority.issue("encrypted.test", password=SECRET)
    base = {"ca": authority.bundle, "certificate": certificate, "key": key}
    TlsSettings.model_validate(base | {"key_password": SECRET}).make_context(None)
    for values in (base, base | {"key_password": f"not-{SECRET}"}, base | {"key": key.with_name("none")}):
        settings = TlsSettings.model_validate(values)
        with pytest.raises(SettingsError, match=r"ssl\.certificate\.location='.*', ssl\.key\.loc") as caught:
            settings.make_context(None)
        assert SECRET not in f"{caught.value} {settings!r}"
        assert caught.value.__cause__ is None


def test_a_refusal_is_told_without_the_name_of_its_class() -> None:
    assert str(KafkaRefusalError("broker:1: no")) == "broker:1: no"
    assert not KafkaRefusalError.retriable


def test_requests_that_hold_a_password_stay_out_of_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    request = SaslAuthenticateRequest(f"\0me\0{SECRET}".encode()).build(SaslAuthenticateRequest_v1)
    assert SECRET in repr(request)
    log = logging.getLogger("aiokafka.conn")
    with caplog.at_level(logging.DEBUG):
        log.debug("Request to %s:%d %d: %s", "broker", 1, 2, request)
        log.debug("Request to %s:%d %d: %s", "broker", 1, 3, "another")
    assert [record.getMessage() for record in caplog.records] == ["Request to broker:1 3: another"]
