"""One set of files for several SAL indices, and what it says of payloads."""

from typing import Any

import pytest

from lsst.ts.ocps.csc.config import ConfigDocument, PayloadOverrides, parse_config, select_instance
from lsst.ts.ocps.csc.config_layers import Layer
from lsst.ts.ocps.csc.errors import ConfigurationError
from lsst.ts.ocps.csc.loading import override_payloads
from lsst.ts.ocps.payloads.catalogue import Catalogue
from lsst.ts.ocps.payloads.schema import PayloadDefinition

URL = "http://127.0.0.1:8080"
LATISS: dict[str, Any] = {
    "sal_index": 1,
    "name": "LATISS",
    "payloads": {
        "pipetask": {"environment": {"BUTLER_REPO": "LATISS"}, "max_active": 2},
        "bias-combine": {"backend": "own"},
    },
}
LSSTCAM: dict[str, Any] = {
    "sal_index": 3,
    "backend": "own",
    "execute_payload": "pipetask",
    "execute_reports_failure": True,
    "payload_directories": ["lsstcam"],
    "mode": "synchronous",
}
DOCUMENT: dict[str, Any] = {
    "backends": {
        "default": {"url": URL},
        "own": {"kind": "api_server", "url": URL, "max_document": "1MiB"},
        "spare": {"url": URL},
    },
    "default_backend": "default",
    "payload_directories": ["payloads"],
    "payloads": {"pipetask": {"expected_duration": 30, "environment": {"A": "1"}}},
    "fault_after": 7,
    "instances": [LATISS, LSSTCAM],
}
PIPETASK = PayloadDefinition.model_validate(
    {
        "name": "pipetask",
        "description": "",
        "parameters": {"type": "object", "properties": {"config": {"type": "string", "default": "x"}}},
        "destruction": "P1D",
        "max_active": 5,
        "api_server": {"command": "run", "environment": {"A": "0", "CONFIG": "{config}"}},
        "run": {"command": ["python", "{config}"], "memory": "1GiB"},
    }
)


def configure(index: int, **changes: Any) -> ConfigDocument:
    return select_instance(parse_config(DOCUMENT | changes), index)


def problems_of(index: int = 1, **changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        configure(index, **changes)
    return str(caught.value)


def test_an_instance_is_put_over_the_document() -> None:
    config = configure(3)
    assert config.default_backend == "own"
    assert config.execute_payload == "pipetask"
    assert config.execute_reports_failure
    assert config.payload_directories == ("lsstcam",)
    assert config.limits.origin == "mode synchronous allows 1"
    assert config.fault_after == 7
    assert configure(1).payload_directories == ("payloads",)
    assert configure(1).execute_payload == ""


def test_an_instance_watches_only_the_back_ends_that_it_uses() -> None:
    assert set(configure(1).backends) == {"default", "own"}
    assert set(configure(3).backends) == {"own"}
    # What was read once is read again as the same.
    assert configure(3).backends["own"] == parse_config(DOCUMENT).backends["own"]
    deposit = {"location": "/data/{index}", "max_file_bytes": "1GiB"}
    assert configure(3, deposit=deposit).deposit == parse_config(DOCUMENT | {"deposit": deposit}).deposit


def test_what_is_said_of_a_payload_is_merged_key_by_key() -> None:
    overrides = configure(1).payloads["pipetask"]
    assert overrides.expected_duration == 30
    assert overrides.max_active == 2
    assert overrides.environment == {"A": "1", "BUTLER_REPO": "LATISS"}
    assert configure(3).payloads["pipetask"].environment == {"A": "1"}


def test_a_payload_runs_on_its_own_back_end_or_the_default_one() -> None:
    config = configure(1)
    assert [config.choose_backend(name) for name in ("bias-combine", "pipetask", "other")] == [
        "own",
        "default",
        "default",
    ]


def test_without_instances_the_document_is_for_every_index() -> None:
    config = configure(77, instances=[])
    assert set(config.backends) == {"default", "own", "spare"}


def test_an_index_without_an_entry_is_told_the_known_ones() -> None:
    assert problems_of(2) == "instances: has no entry for sal_index 2; those there are: 1 (LATISS), 3"


def test_a_sal_index_twice_is_refused() -> None:
    assert "instances: sal_index 1 is there twice" in problems_of(instances=[LATISS, LATISS])


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        (
            {"sal_index": 1, "backend": "defalt"},
            "instances.0.backend: 'defalt' is not one of default, own, spare; did you mean 'default'?",
        ),
        (
            {"sal_index": 1, "payloads": {"x": {"backend": "no"}}},
            "instances.0.payloads.x.backend: 'no' is not one of",
        ),
        ({"sal_index": 1, "bakend": "own"}, "instances.0.bakend: unknown key; did you mean backend?"),
        (
            {"sal_index": 1, "payloads": {"x": {"enviroment": {}}}},
            "instances.0.payloads.x.enviroment: unknown key; did you mean environment?",
        ),
        ({"backend": "own"}, "instances.0.sal_index: is missing"),
        ({"sal_index": 0}, "instances.0.sal_index: Input should be greater than or equal to 1 (it is 0)"),
        (
            {"sal_index": 1, "mode": "asynchronous"},
            "instances.0 (sal_index 1): max_active: mode asynchronous needs it",
        ),
    ],
)
def test_what_is_wrong_in_an_instance_is_named_with_its_place(instance: dict[str, Any], words: str) -> None:
    assert words in problems_of(instances=[instance])


def test_the_file_is_named() -> None:
    values = DOCUMENT | {"instances": [{"sal_index": 1, "bakend": "x"}]}
    with pytest.raises(ConfigurationError, match=r"^_base.yaml: instances\.0\.bakend: unknown key"):
        parse_config(values, [Layer("_init.yaml", {}), Layer("_base.yaml", values)])


def test_an_instance_may_take_a_limit_of_the_document_away() -> None:
    assert configure(1, max_active=4).limits.max_active == 4
    instance = {"sal_index": 1, "max_active": None}
    assert configure(1, max_active=4, instances=[instance]).limits.max_active is None


def test_a_mode_takes_the_place_of_the_limits_that_it_says_all_about() -> None:
    document = {"max_active": 4, "when_busy": "reject", "payloads": {"p": {"max_active": 2}}}
    instance = {"sal_index": 1, "mode": "synchronous", "payloads": {"p": {"mode": "synchronous"}}}
    config = configure(1, instances=[instance], **document)
    assert (config.limits.max_active, config.limits.max_queued) == (1, 0)
    assert config.payloads["p"].max_active is None
    config = configure(1, instances=[{"sal_index": 1, "mode": "asynchronous"}], **document)
    assert (config.limits.max_active, config.limits.max_queued) == (4, 100)
    assert "max_active: is 1 in mode synchronous" in problems_of(
        mode="synchronous", instances=[{"sal_index": 1, "max_active": 3}]
    )


def test_overrides_are_put_over_the_definition() -> None:
    overrides = PayloadOverrides(
        expected_duration=30, mode="asynchronous", max_queued=3, environment={"A": "1", "B": "{config}"}
    )
    catalogue = override_payloads(Catalogue([PIPETASK]), {"pipetask": overrides})
    changed = catalogue["pipetask"]
    assert changed.api_server is not None
    assert changed.api_server.environment == {"A": "1", "CONFIG": "{config}", "B": "{config}"}
    assert changed.expected_duration == 30
    assert (changed.limits.max_active, changed.limits.max_queued) == (5, 3)
    unchanged = {"expected_duration", "mode", "max_queued", "api_server"}
    assert changed.model_dump(exclude=unchanged) == PIPETASK.model_dump(exclude=unchanged)


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("pipetsk", {}, "payloads.pipetsk: there is no such payload; did you mean 'pipetask'?"),
        (
            "pipetask",
            {"mode": "synchronous", "max_active": 2},
            "payloads.pipetask.max_active: is 1 in mode synchronous",
        ),
        ("pipetask", {"expected_duration": -1}, "payloads.pipetask.expected_duration: Input should be"),
        (
            "pipetask",
            {"environment": {"X": "{no}"}},
            "payloads.pipetask.api_server.environment.X: {no} is no",
        ),
        ("plain", {"environment": {"X": "1"}}, "payloads.plain.environment: the definition has no section"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(name: str, overrides: dict[str, Any], words: str) -> None:
    catalogue = Catalogue([PIPETASK, PayloadDefinition(name="plain", description="")])
    with pytest.raises(ConfigurationError) as caught:
        override_payloads(catalogue, {name: PayloadOverrides.model_validate(overrides)})
    assert words in str(caught.value)
