"""Commands are argument lists into which values go without ever becoming something else."""

import sys
from typing import Any

import pytest

from lsst.ts.ocps.payloads.command import MAX_ARGUMENT, build_command
from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.schema import RunSpec
from lsst.ts.ocps.payloads.template import parse_argument


def build(command: list[str], parameters: dict[str, Any], **more: Any) -> tuple[str, ...]:
    return build_command(RunSpec(command=tuple(command), **more), parameters)


def test_a_placeholder_is_replaced_inside_its_argument() -> None:
    assert build(["tool", "--image={image}", "{image}:{n}"], {"image": "a b", "n": 3}) == (
        "tool",
        "--image=a b",
        "a b:3",
    )


def test_a_value_never_becomes_more_arguments_or_placeholders() -> None:
    value = "x --force; rm -rf / {n} $(id) `id` \n"
    assert build(["tool", "{v}", "{n}"], {"v": value, "n": 1}) == ("tool", value, "1")


def test_values_that_are_no_texts_go_in_as_json() -> None:
    values = {"b": True, "x": None, "f": 1.5, "o": {"k": [1, "ü"]}, "l": ["a", "b"]}
    assert build(["tool", "{b}", "{x}", "{f}", "{o}", "{l}"], values)[1:] == (
        "true",
        "null",
        "1.5",
        '{"k":[1,"ü"]}',
        '["a","b"]',
    )


def test_doubled_braces_are_braces() -> None:
    assert build(["awk", "{{print $1}}", "{{{n}}}", "}}{{"], {"n": 3}) == ("awk", "{print $1}", "{3}", "}{")


@pytest.mark.parametrize("text", ["{", "}", "a{b", "a}b", "{{}", "{a{b}}"])
def test_a_brace_without_a_partner_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="has no partner; write it twice"):
        parse_argument(text)


def test_python_is_the_interpreter_of_this_process_only_as_the_program() -> None:
    assert build(["python", "-m", "python"], {}) == (sys.executable, "-m", "python")


def test_a_value_that_looks_like_an_option_is_refused_as_a_whole_argument() -> None:
    with pytest.raises(ParameterError, match=r"^parameters\.image: '-rf' begins with '-'"):
        build(["tool", "{image}"], {"image": "-rf"})
    with pytest.raises(ParameterError, match=r"^parameters\.dec: '-3' begins with '-'"):
        build(["tool", "{dec}"], {"dec": -3})


def test_a_leading_dash_is_harmless_inside_an_argument_or_where_it_is_declared() -> None:
    assert build(["tool", "--dec={dec}"], {"dec": -3}) == ("tool", "--dec=-3")
    assert build(["tool", "{dec}"], {"dec": -3}, allow_dash=("dec",)) == ("tool", "-3")


def test_a_value_without_which_the_command_is_incomplete_is_named() -> None:
    with pytest.raises(ParameterError, match=r"^parameters\.image: has no value, and the command needs one$"):
        build(["tool", "{image}"], {})


def test_every_problem_is_listed() -> None:
    with pytest.raises(ParameterError) as info:
        build(["tool", "{a}", "{b}"], {"a": "-x", "b": "y\0"})
    assert [problem.path for problem in info.value.problems] == ["parameters.a", "parameters.b"]


def test_what_does_not_fit_an_argument_is_refused() -> None:
    fits = "x" * MAX_ARGUMENT
    assert build(["tool", "{a}"], {"a": fits}) == ("tool", fits)
    with pytest.raises(ParameterError, match="131072 bytes do not fit an argument"):
        build(["tool", "{a}"], {"a": fits + "x"})
    with pytest.raises(ParameterError, match="argument 1 of the command would be 131073 bytes long"):
        build(["tool", "--a{a}"], {"a": fits[:-1]})
