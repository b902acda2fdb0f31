"""A broker that lets nobody in unknown: each way in, and what is said where there is none."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.broker.base import TopicPartition, TopicSpec
from lsst.ts.ocps.sal.broker.factory import create_broker
from lsst.ts.ocps.sal.errors import BrokerError, SettingsError
from lsst.ts.ocps.sal.settings import SalSettings
from support.apache_secure import KEY_PASSWORD, PASSWORD, SecureKafka
from support.brokers import make_settings, started
from support.certificates import TestAuthority

pytestmark = [pytest.mark.asyncio, pytest.mark.system]

LIMIT = 30.0

Way = Callable[[SecureKafka], SalSettings]


def scram_256_over_tls(kafka: SecureKafka) -> SalSettings:
    return make_settings(
        broker_address=kafka.scram_address, sasl=kafka.login("SCRAM-SHA-256"), tls=kafka.tls()
    )


def scram_512_over_tls(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.scram_address, sasl=kafka.login(), tls=kafka.tls())


def plain_over_tls(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.scram_address, sasl=kafka.login("PLAIN"), tls=kafka.tls())


def scram_512_without_tls(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.plain_address, sasl=kafka.login())


def plain_without_tls(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.plain_address, sasl=kafka.login("PLAIN"))


def certificate_without_login(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.certificate_address, tls=kafka.tls(**kafka.client_files))


def wrong_name_that_nobody_checks(kafka: SecureKafka) -> SalSettings:
    tls = kafka.tls(checks_host_name=False)
    return make_settings(broker_address=kafka.wrong_name_address, sasl=kafka.login(), tls=tls)


def authority_that_nobody_checks(kafka: SecureKafka) -> SalSettings:
    tls = kafka.tls(ca=None, checks_certificate=False)
    return make_settings(broker_address=kafka.scram_address, sasl=kafka.login(), tls=tls)


def authority_of_the_environment(kafka: SecureKafka) -> SalSettings:
    return make_settings(
        broker_address=kafka.scram_address,
        sasl=kafka.login(),
        tls=kafka.tls(ca=None),
        ca_file=kafka.authority.bundle,
    )


@pytest.mark.parametrize(
    "way",
    [
        scram_256_over_tls,
        scram_512_over_tls,
        plain_over_tls,
        scram_512_without_tls,
        plain_without_tls,
        certificate_without_login,
        wrong_name_that_nobody_checks,
        authority_that_nobody_checks,
        authority_of_the_environment,
    ],
)
async def test_each_way_in_writes_and_reads(
    secure_process: SecureKafka, caplog: pytest.LogCaptureFixture, way: Way
) -> None:
    settings = way(secure_process)
    topic = f"lsst.test.T.{uuid.uuid4().hex}"
    with caplog.at_level(logging.DEBUG):
        async with started(settings) as broker, Deadline("write and read", LIMIT).enforce():
            await broker.ensure_topics([TopicSpec(topic)])
            await broker.send(topic, key=b"k", value=b"x")
            reader = broker.create_reader()
            try:
                await reader.assign({TopicPartition(topic, 0): 0})
                assert [record.value for record in await reader.read(timeout=LIMIT)] == [b"x"]
            finally:
                await reader.aclose()
    check_secrets(caplog.text, repr(settings), repr(broker))


def wrong_password(kafka: SecureKafka) -> SalSettings:
    login = kafka.login(password=f"not-{PASSWORD}")
    return make_settings(broker_address=kafka.scram_address, sasl=login, tls=kafka.tls())


def wrong_plain_password(kafka: SecureKafka) -> SalSettings:
    return make_settings(
        broker_address=kafka.plain_address, sasl=kafka.login("PLAIN", password=f"not-{PASSWORD}")
    )


def unknown_mechanism(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.plain_address, sasl=kafka.login("SCRAM-SHA-256"))


def unknown_authority(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.scram_address, sasl=kafka.login(), tls=kafka.tls(ca=None))


def wrong_host_name(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.wrong_name_address, sasl=kafka.login(), tls=kafka.tls())


def no_certificate(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.certificate_address, tls=kafka.tls())


def tls_where_there_is_none(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.plain_address, sasl=kafka.login("PLAIN"), tls=kafka.tls())


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (wrong_password, "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        (wrong_plain_password, "Invalid username or password"),
        (unknown_mechanism, "the broker takes no logins by SCRAM-SHA-256"),
        (unknown_authority, "unable to get local issuer certificate"),
        (wrong_host_name, "Hostname mismatch, certificate is not valid for 'localhost'"),
        (no_certificate, "TLS failed"),
    ],
)
async def test_a_refusal_names_address_and_reason_at_once_and_no_secret(
    secure_process: SecureKafka, caplog: pytest.LogCaptureFixture, way: Way, reason: str
) -> None:
    # Much longer than the test may take: what cannot get better is not tried again.
    settings = way(secure_process).model_copy(update={"connect_timeout": 600.0})
    broker = create_broker(settings)
    with caplog.at_level(logging.DEBUG):
        async with Deadline("the refusal", LIMIT).enforce():
            with pytest.raises(BrokerError) as caught:
                await broker.start()
        await broker.aclose()
    text = str(caught.value)
    assert settings.broker_address in text
    assert reason in text
    check_secrets(caplog.text, text, repr(caught.value.__cause__), repr(settings))


def plain_text_where_tls_is_wanted(kafka: SecureKafka) -> SalSettings:
    return make_settings(broker_address=kafka.certificate_address)


@pytest.mark.parametrize(
    ("way", "protocol"),
    [(tls_where_there_is_none, "SASL_SSL"), (plain_text_where_tls_is_wanted, "PLAINTEXT")],
)
async def test_a_listener_of_another_kind_is_suspected_when_the_time_is_over(
    secure_process: SecureKafka, way: Way, protocol: str
) -> None:
    settings = way(secure_process).model_copy(update={"connect_timeout": 5.0})
    broker = create_broker(settings)
    async with Deadline("the refusal", LIMIT).enforce():
        with pytest.raises(BrokerError, match=f"this listener does not speak {protocol}") as caught:
            await broker.start()
    await broker.aclose()
    assert settings.broker_address in str(caught.value)


async def test_an_outsider_with_the_right_names_is_not_let_in(
    secure_process: SecureKafka, tmp_path: Path
) -> None:
    certificate, key = await asyncio.to_thread(TestAuthority(tmp_path).issue, "ocps.test")
    settings = make_settings(
        broker_address=secure_process.certificate_address,
        tls=secure_process.tls(certificate=certificate, key=key),
    )
    async with Deadline("the refusal", LIMIT).enforce():
        with pytest.raises(BrokerError, match="TLS failed"):
            await create_broker(settings).start()


async def test_a_key_that_does_not_open_is_a_settings_error(secure_process: SecureKafka) -> None:
    files = secure_process.client_files | {"key_password": f"not-{KEY_PASSWORD}"}
    settings = make_settings(
        broker_address=secure_process.certificate_address, tls=secure_process.tls(**files)
    )
    with pytest.raises(SettingsError, match=r"ssl\.key\.location=.*ocps\.test\.key") as caught:
        await create_broker(settings).start()
    check_secrets(str(caught.value), repr(settings))


def check_secrets(*texts: str) -> None:
    for text in texts:
        assert PASSWORD not in text
        assert KEY_PASSWORD not in text
