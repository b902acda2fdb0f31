"""The YAML files of a site: what wins, what is followed, and what is said of the rest."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.sal.errors import SettingsError
from lsst.ts.ocps.sal.kafka_security import get_protocol
from lsst.ts.ocps.sal.settings import SalSettings

SECRET = "planted-file-secret"

CLIENT = "LSST_KAFKA_BROKER_CLIENT_CONFIGURATION"
CONSUMER = "LSST_KAFKA_CONSUMER_CONFIGURATION"
PRODUCER = "LSST_KAFKA_PRODUCER_CONFIGURATION"
HISTORY = "LSST_HISTORY_READ_CONFIG"
LOGIN = {"LSST_KAFKA_SECURITY_USERNAME": "me", "LSST_KAFKA_SECURITY_PASSWORD": SECRET}

Write = Callable[[str, Any], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file, and returns its path."""

    def write(name: str, content: Any) -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    return write


def read(environment: Mapping[str, str]) -> SalSettings:
    return SalSettings.from_environment({"LSST_TOPIC_SUBNAME": "sal", **environment}).with_files()


def protocol_of(settings: SalSettings) -> str:
    return get_protocol(settings.sasl, settings.tls)


def test_without_files_nothing_changes() -> None:
    settings = SalSettings.from_environment({"LSST_TOPIC_SUBNAME": "sal"})
    assert not settings.has_files
    assert settings.with_files() is settings


def test_the_environment_is_read_without_touching_any_file() -> None:
    settings = SalSettings.from_environment({"LSST_TOPIC_SUBNAME": "sal", CLIENT: "/nowhere/client.yaml"})
    assert settings.client_file == Path("/nowhere/client.yaml")
    assert settings.has_files


def test_each_file_reaches_its_clients_with_the_right_names_units_and_types(write: Write) -> None:
    settings = read(
        {
            CLIENT: write(
                "client.yaml", {"client.id": "x", "connections.max.idle.ms": 0, "linger.ms": "2.5"}
            ),
            CONSUMER: write("consumer.yaml", {"fetch.wait.max.ms": "50", "check.crcs": False}),
            PRODUCER: write("producer.yaml", {"delivery.timeout.ms": 1500, "compression.type": "gzip"}),
        }
    )
    assert dict(settings.clients.common) == {"client_id": "x", "connections_max_idle_ms": None}
    assert dict(settings.clients.consumer) == {
        "fetch_max_wait_ms": 50,
        "check_crcs": False,
        "client_id": "x",
        "connections_max_idle_ms": None,
    }
    assert dict(settings.clients.producer) == {
        "compression_type": "gzip",
        "client_id": "x",
        "connections_max_idle_ms": None,
        "linger_ms": 2.5,
    }
    assert settings.clients.delivery_timeout == 1.5


def test_the_file_of_all_clients_wins(write: Write) -> None:
    settings = read(
        {
            CLIENT: write("client.yaml", {"fetch.min.bytes": 1, "linger.ms": 3}),
            CONSUMER: write("consumer.yaml", {"fetch.min.bytes": 2}),
            PRODUCER: write("producer.yaml", {"linger.ms": 4}),
        }
    )
    assert dict(settings.clients.consumer)["fetch_min_bytes"] == 1
    assert dict(settings.clients.producer)["linger_ms"] == 3


def test_the_file_of_all_clients_wins_over_the_login_and_the_address_of_the_environment(write: Write) -> None:
    content = {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "sasl_ssl",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "other",
    }
    settings = read(LOGIN | {"LSST_KAFKA_BROKER_ADDR": "c:3", CLIENT: write("client.yaml", content)})
    assert settings.sasl is not None
    assert (settings.sasl.username, settings.sasl.mechanism) == ("other", "PLAIN")
    assert settings.sasl.password.get_secret_value() == SECRET
    assert protocol_of(settings) == "SASL_SSL"
    assert settings.broker_address == "a:1,b:2"


@pytest.mark.parametrize(
    ("environment", "content", "protocol"),
    [
        ({}, {}, "PLAINTEXT"),
        ({}, {"ssl.ca.location": "/ca.pem"}, "SSL"),
        ({}, {"security.protocol": "ssl"}, "SSL"),
        ({"LSST_KAFKA_SECURITY_PROTOCOL": "SSL"}, {}, "SSL"),
        ({"LSST_KAFKA_SECURITY_PROTOCOL": "SSL"}, {"client.id": "x"}, "SSL"),
        (LOGIN, {}, "SASL_PLAINTEXT"),
        (LOGIN, {"client.id": "x"}, "SASL_PLAINTEXT"),
        (LOGIN | {"LSST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, {"ssl.ca.location": "/ca.pem"}, "SASL_SSL"),
        ({}, {"sasl.username": "me", "sasl.password": SECRET}, "SASL_PLAINTEXT"),
        (LOGIN, {"security.protocol": "PLAINTEXT"}, "PLAINTEXT"),
    ],
)
def test_the_protocol_follows_from_login_and_authority(
    write: Write, environment: dict[str, str], content: dict[str, str], protocol: str
) -> None:
    assert protocol_of(read({**environment, CLIENT: write("client.yaml", content)})) == protocol


def test_every_tls_property_is_followed(write: Write) -> None:
    content = {
        "security.protocol": "SSL",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/me.pem",
        "ssl.key.location": "/me.key",
        "ssl.key.password": SECRET,
        "ssl.endpoint.identification.algorithm": "none",
        "enable.ssl.certificate.verification": False,
    }
    tls = read({CLIENT: write("client.yaml", content)}).tls
    assert tls is not None
    assert (tls.ca, tls.certificate, tls.key) == (Path("/ca.pem"), Path("/me.pem"), Path("/me.key"))
    assert tls.key_password is not None
    assert tls.key_password.get_secret_value() == SECRET
    assert not tls.checks_host_name
    assert not tls.checks_certificate


def test_all_that_is_not_followed_is_named_in_one_warning_and_no_value(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    client = {"ssl.ca.location": "/ca.pem", "ssl.keystore.password": SECRET, "security.protocol": "PLAINTEXT"}
    consumer = {
        "group.id": "g",
        "auto.offset.reset": "latest",
        "linger.ms": 1,
        "sasl.password": SECRET,
        "fetch.message.max.bytes": 10,
        "max.partition.fetch.bytes": 20,
    }
    producer = {"enable.idempotence": False, "acks": 1, "request.required.acks": 0, "made.up": 1}
    with caplog.at_level(logging.DEBUG):
        settings = read(
            {
                CLIENT: write("client.yaml", client),
                CONSUMER: write("consumer.yaml", consumer),
                PRODUCER: write("producer.yaml", producer),
            }
        )
    (record,) = caplog.records
    text = record.getMessage()
    assert record.levelno == logging.WARNING
    for name in (*producer, *consumer, "ssl.ca.location", "ssl.keystore.password"):
        assert (f" {name} (" in text) is (name != "fetch.message.max.bytes"), name
    for variable in (CLIENT, CONSUMER, PRODUCER):
        assert f"of {variable}='" in text
    assert SECRET not in text
    assert dict(settings.clients.consumer) == {"max_partition_fetch_bytes": 10}


def test_what_we_do_anyway_is_no_matter_for_a_warning(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    producer = {"enable.idempotence": True, "acks": "all", "max.in.flight": 1}
    consumer = {"enable.auto.commit": False, "allow.auto.create.topics": "false"}
    with caplog.at_level(logging.DEBUG):
        settings = read(
            {PRODUCER: write("producer.yaml", producer), CONSUMER: write("consumer.yaml", consumer)}
        )
    assert not caplog.records
    assert not settings.clients.producer
    assert not settings.clients.consumer


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"sasl.password: [{SECRET}", "not YAML (line 1, column"),
        (f"- {SECRET}\n", "a mapping is needed, not a list"),
        (f"{SECRET}\n", "a mapping is needed, not a str"),
        ("1: 2\n", "a name is no text but a int"),
        (f"sasl.password: [{SECRET}]\n", "sasl.password: a text, a number, true or false is needed"),
        ("sasl.password:\n", "sasl.password: a text, a number, true or false is needed"),
        (f"linger.ms: {SECRET}\n", "linger.ms: a number from 0 to 900000 is needed"),
        (f"socket.timeout.ms: {SECRET}\n", "socket.timeout.ms: a whole number from 10 to 300000 is needed"),
        (f"check.crcs: {SECRET}\n", "check.crcs: true or false is needed"),
        (f"isolation.level: {SECRET}\n", "isolation.level: one of read_uncommitted, read_committed"),
        (f"compression.type: {SECRET}\n", "compression.type: one of none, gzip"),
        (f"security.protocol: {SECRET}\n", "security.protocol: one of PLAINTEXT, SSL"),
        ("security.protocol: SASL_SSL\n", "SASL_SSL needs sasl.username and sasl.password"),
        (
            f"sasl.username: me\nsasl.password: {SECRET}\nsasl.mechanism: GSSAPI\n",
            "sasl.mechanism: one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 is needed",
        ),
        ("bootstrap.servers: nowhere\n", "bootstrap.servers: 'nowhere' is not host:port"),
        ("security.protocol: SSL\nssl.key.location: /k\n", "ssl.key.location needs ssl.certificate.location"),
        (
            "security.protocol: SSL\nenable.ssl.certificate.verification: maybe\n",
            "enable.ssl.certificate.verification: true or false is needed",
        ),
        (
            "security.protocol: SSL\nssl.endpoint.identification.algorithm: dns\n",
            "ssl.endpoint.identification.algorithm: https or none is needed",
        ),
    ],
)
def test_a_broken_file_is_named_with_variable_path_and_reason_and_no_secret(
    write: Write, content: str, reason: str
) -> None:
    path = write("client.yaml", content)
    with pytest.raises(SettingsError) as caught:
        read({CLIENT: path})
    text = str(caught.value)
    assert text.startswith(f"environment variable {CLIENT}={path!r}: ")
    assert reason in text
    assert SECRET not in text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("variable", [CLIENT, CONSUMER, PRODUCER])
def test_a_missing_file_is_named_with_variable_path_and_reason(tmp_path: Path, variable: str) -> None:
    path = str(tmp_path / "none.yaml")
    with pytest.raises(SettingsError) as caught:
        read({variable: path})
    assert str(caught.value) == f"environment variable {variable}={path!r}: No such file or directory"


@pytest.mark.parametrize("variable", [CLIENT, CONSUMER, PRODUCER, HISTORY])
def test_a_folder_and_bytes_are_no_file_of_properties(tmp_path: Path, variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}=.*: Is a directory"):
        read({variable: str(tmp_path)})
    (tmp_path / "bytes").write_bytes(b"a: \xff\xfe\xff")
    with pytest.raises(SettingsError, match=f"{variable}=.*: not "):
        read({variable: str(tmp_path / "bytes")})


def test_secrets_of_a_file_are_in_no_text(write: Write) -> None:
    content = {
        "security.protocol": "SASL_SSL",
        "sasl.username": "me",
        "sasl.password": SECRET,
        "ssl.key.password": SECRET,
    }
    settings = read({CLIENT: write("client.yaml", content)})
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.sasl!r} {settings.tls!r}"


def test_components_can_have_history_windows_of_their_own(write: Write) -> None:
    settings = read(
        {"LSST_MAX_HISTORY_READ": "50", HISTORY: write("history.yaml", {"Test": 7, "ScriptQueue": 0})}
    )
    assert [settings.history_window(name) for name in ("Test", "ScriptQueue", "OCPS")] == [7, 0, 50]


def test_a_missing_file_of_history_windows_is_ignored(tmp_path: Path) -> None:
    settings = read({HISTORY: str(tmp_path / "none.yaml")})
    assert settings.history_window("Test") == 500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Test: -1\n", "Test: a whole number of at least 0 is needed"),
        ("Test: many\n", "Test: a whole number of at least 0 is needed"),
        ("Test: true\n", "Test: a whole number of at least 0 is needed"),
        ("Test: 1.5\n", "Test: a whole number of at least 0 is needed"),
        ("[Test]\n", "a mapping is needed, not a list"),
        ("Test: [\n", "not YAML"),
    ],
)
def test_a_broken_file_of_history_windows_is_named(write: Write, content: str, reason: str) -> None:
    path = write("history.yaml", content)
    with pytest.raises(SettingsError) as caught:
        read({HISTORY: path})
    assert str(caught.value).startswith(f"environment variable {HISTORY}={path!r}: {reason}")
