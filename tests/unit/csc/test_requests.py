import json

import pytest

from lsst.ts.ocps.csc.errors import RequestRejectedError
from lsst.ts.ocps.csc.requests import (
    MAX_LABEL_LENGTH,
    RunRequest,
    parse_execute,
    parse_prerequisites,
    parse_run,
)
from lsst.ts.ocps.payloads.catalogue import Catalogue
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from support.csc import EXECUTE_PARAMETERS, PAYLOADS

CATALOGUE = Catalogue(PayloadDefinition(name=name, **values) for name, values in PAYLOADS.items())
EXECUTE = dict.fromkeys((*EXECUTE_PARAMETERS, "prereq_jobs"), "")


def parse(**fields: object) -> RunRequest:
    given = {"payload": "echo", "parameters": "", "label": "", "prereq_jobs": "", "detach": False} | fields
    return parse_run(CATALOGUE, **given)  # type: ignore[arg-type]


def problems_of(**fields: object) -> tuple[str, ...]:
    with pytest.raises(RequestRejectedError) as caught:
        parse(**fields)
    return caught.value.problems


def test_defaults_are_filled_in_and_encoded() -> None:
    request = parse(parameters='{"count": 3}', label="night", detach=True)
    assert request.parameters == {"text": "hello", "count": 3}
    assert set(request.pairs) == {("text", "hello"), ("count", "3")}
    assert (request.label, request.detach, request.command) == ("night", True, "run")


def test_empty_parameters_are_an_empty_object() -> None:
    assert parse().parameters == parse(parameters="{}").parameters


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ()),
        (" , ,", ()),
        ("a, b,,c", ("a", "b", "c")),
        ("a,a", ("a",)),
        ("ocps-x-1, 7_B", ("ocps-x-1", "7_B")),
    ],
)
def test_prerequisites_are_ids_without_blanks_and_empty_items(text: str, ids: tuple[str, ...]) -> None:
    assert parse_prerequisites(text) == ids


@pytest.mark.parametrize("text", ["../../etc", "a b", "a,b/c", "é"])
def test_a_prerequisite_that_cannot_be_a_job_id_is_refused_by_name(text: str) -> None:
    (problem,) = problems_of(prereq_jobs=text)
    assert problem.startswith("prereq_jobs: ")
    assert repr(text.rsplit(",", maxsplit=1)[-1]) in problem


def test_every_problem_is_named_at_once() -> None:
    problems = problems_of(
        payload="echo", parameters='{"count": "two", "colour": 1}', label="x" * 201, prereq_jobs="a/b"
    )
    text = "\n".join(problems)
    for word in ("parameters.count", "colour", "label", "prereq_jobs"):
        assert word in text
    assert len(problems) == 4


def test_an_unknown_payload_is_answered_with_those_there_are() -> None:
    text = " ".join(problems_of(payload="ehco"))
    assert "ehco" in text
    assert "echo" in text


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '"x"', "null", '{"count": NaN}', '{"count": 1, "count": 2}']
)
def test_parameters_that_are_no_json_object_are_refused(text: str) -> None:
    (problem,) = problems_of(parameters=text)
    assert problem.startswith("parameters")


def test_an_unknown_payload_and_broken_parameters_are_both_named() -> None:
    assert len(problems_of(payload="nothing", parameters="{")) == 2


def test_half_a_surrogate_pair_is_refused() -> None:
    (problem,) = problems_of(parameters=json.dumps({"text": "\ud800"}))
    assert "parameters.text" in problem


def test_labels_are_short_and_printable() -> None:
    assert parse(label="x" * MAX_LABEL_LENGTH).label
    assert problems_of(label="a\nb") == ("label: has characters that cannot be printed",)


def test_a_secret_parameter_is_sent_but_not_told() -> None:
    request = parse(parameters='{"secret": "hunter2"}')
    assert ("secret", "hunter2") in request.pairs
    assert "hunter2" not in json.dumps(request.parameters)


def test_the_fields_of_execute_become_parameters_verbatim() -> None:
    query = "instrument='LATISS' AND exposure IN (1..5) AND \"x\"\n${CP_PIPE_DIR} `id`"
    request = parse_execute(
        CATALOGUE, payload="execute", fields=EXECUTE | {"data_query": query, "prereq_jobs": "4, 5"}
    )
    assert ("data_query", query) in request.pairs
    assert request.prerequisites == ("4", "5")
    assert "prereq_jobs" not in request.parameters
    assert request.command == "execute"


def test_execute_without_a_payload_is_refused() -> None:
    with pytest.raises(RequestRejectedError, match="execute_payload"):
        parse_execute(CATALOGUE, payload="", fields=EXECUTE)


def test_execute_refuses_a_field_that_its_payload_does_not_have() -> None:
    with pytest.raises(RequestRejectedError, match="pipeline"):
        parse_execute(CATALOGUE, payload="echo", fields=EXECUTE | {"pipeline": "x.yaml"})
    assert parse_execute(CATALOGUE, payload="echo", fields=EXECUTE).parameters == {
        "text": "hello",
        "count": 1,
    }


def test_an_empty_field_of_execute_takes_the_default_that_its_parameter_declares() -> None:
    properties = {"output_dataset_types": {"type": "string", "default": "*"}, "version": {"type": "string"}}
    definition = PayloadDefinition(
        name="x", description="", parameters={"type": "object", "properties": properties}
    )
    catalogue = Catalogue([definition])

    def pairs(**fields: str) -> dict[str, str]:
        return dict(parse_execute(catalogue, payload="x", fields=EXECUTE | fields).pairs)

    assert pairs() == {"output_dataset_types": "*", "version": ""}
    assert pairs(output_dataset_types="bias*") == {"output_dataset_types": "bias*", "version": ""}
