"""Settings: what the environment says, and clear words when it is wrong."""

import logging

import pytest

from lsst.ts.ocps.sal.errors import SettingsError
from lsst.ts.ocps.sal.settings import SalSettings

PASSWORD = "planted-secret"


def read(**variables: str) -> SalSettings:
    return SalSettings.from_environment({"LSST_TOPIC_SUBNAME": "sal", **variables})


def test_defaults_are_those_of_ts_salobj() -> None:
    settings = read()
    assert settings.topic_subname == "sal"
    assert settings.broker_address == "broker:29092"
    assert settings.registry_url == "http://schema-registry:8081"
    assert settings.sasl is None
    assert settings.replication_factor == 1
    assert settings.max_history_read == 500
    assert settings.site is None
    assert settings.connect_timeout == 30.0


def test_every_variable_is_read() -> None:
    settings = read(
        LSST_KAFKA_BROKER_ADDR="a:1,b:2",
        LSST_SCHEMA_REGISTRY_URL="https://registry.example/",
        LSST_KAFKA_REPLICATION_FACTOR="3",
        LSST_MAX_HISTORY_READ="50",
        LSST_SITE="summit",
        OCPS_CONNECT_TIMEOUT="2.5",
    )
    assert settings.broker_address == "a:1,b:2"
    assert settings.registry_url == "https://registry.example"
    assert settings.replication_factor == 3
    assert settings.max_history_read == 50
    assert settings.site == "summit"
    assert settings.connect_timeout == 2.5


def test_the_environment_of_the_process_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "one")
    assert SalSettings.from_environment().topic_subname == "one"
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "two")
    assert SalSettings.from_environment().topic_subname == "two"


@pytest.mark.parametrize("environment", [{}, {"LSST_TOPIC_SUBNAME": ""}])
def test_a_missing_subname_is_named_with_what_to_do(environment: dict[str, str]) -> None:
    with pytest.raises(
        SettingsError, match=r'LSST_TOPIC_SUBNAME is not set: set it to .* "sal" in production'
    ):
        SalSettings.from_environment(environment)


def test_an_empty_variable_counts_as_unset() -> None:
    assert read(LSST_KAFKA_BROKER_ADDR="", LSST_SITE="") == read()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LSST_TOPIC_SUBNAME", "a=b"),
        ("LSST_TOPIC_SUBNAME", "a b"),
        ("LSST_KAFKA_BROKER_ADDR", "broker"),
        ("LSST_KAFKA_BROKER_ADDR", "broker:29092,"),
        ("LSST_KAFKA_BROKER_ADDR", ":29092"),
        ("LSST_SCHEMA_REGISTRY_URL", "registry:8081"),
        ("LSST_SCHEMA_REGISTRY_URL", "ftp://registry"),
        ("LSST_KAFKA_REPLICATION_FACTOR", "0"),
        ("LSST_KAFKA_REPLICATION_FACTOR", "three"),
        ("LSST_MAX_HISTORY_READ", "-1"),
        ("OCPS_CONNECT_TIMEOUT", "0"),
        ("OCPS_CONNECT_TIMEOUT", "inf"),
        ("LSST_KAFKA_PRODUCER_WAIT_ACKS", "2"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{variable: value})
    assert f"{variable}={value!r}" in str(caught.value)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"LSST_KAFKA_REPLICATION_FACTOR.*; .*LSST_MAX_HISTORY_READ"):
        read(LSST_KAFKA_REPLICATION_FACTOR="x", LSST_MAX_HISTORY_READ="y")


def test_a_login_needs_user_name_and_password() -> None:
    settings = read(LSST_KAFKA_SECURITY_USERNAME="me", LSST_KAFKA_SECURITY_PASSWORD=PASSWORD)
    assert settings.sasl is not None
    assert settings.sasl.username == "me"
    assert settings.sasl.password.get_secret_value() == PASSWORD
    assert settings.tls is None
    assert settings.sasl.mechanism == "SCRAM-SHA-512"


def test_half_a_login_is_none_and_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(LSST_KAFKA_SECURITY_USERNAME="me").sasl is None
    assert "LSST_KAFKA_SECURITY_PASSWORD is not set" in caplog.text


def test_the_password_is_in_no_text() -> None:
    settings = read(LSST_KAFKA_SECURITY_USERNAME="me", LSST_KAFKA_SECURITY_PASSWORD=PASSWORD)
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()}"
    with pytest.raises(SettingsError, match="LSST_KAFKA_SECURITY_MECHANISM='MD5'") as caught:
        read(
            LSST_KAFKA_SECURITY_USERNAME="me",
            LSST_KAFKA_SECURITY_PASSWORD=PASSWORD,
            LSST_KAFKA_SECURITY_MECHANISM="MD5",
        )
    assert PASSWORD not in str(caught.value)


def test_credentials_in_the_registry_url_are_refused_without_repeating_them() -> None:
    with pytest.raises(SettingsError, match=r"LSST_SCHEMA_REGISTRY_URL: .*credentials") as caught:
        read(LSST_SCHEMA_REGISTRY_URL=f"http://me:{PASSWORD}@registry:8081")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("acks", ["0", "1"])
def test_fewer_acknowledgements_than_all_are_warned_about(
    acks: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(LSST_KAFKA_PRODUCER_WAIT_ACKS=acks)
    assert f"LSST_KAFKA_PRODUCER_WAIT_ACKS={acks} is not followed" in caplog.text


@pytest.mark.parametrize("acks", ["all", "-1", ""])
def test_all_acknowledgements_are_no_matter_for_a_warning(
    acks: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(LSST_KAFKA_PRODUCER_WAIT_ACKS=acks)
    assert not caplog.records
