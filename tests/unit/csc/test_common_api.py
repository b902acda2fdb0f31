"""CSC, observer, command line and sandbox use only what ts_salobj and our runtime both have."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from lsst.ts.ocps import sal
from support.salobj_api import KEYWORDS, MEMBERS, MODULE, OUR_MEMBERS, OURS, UTILS, is_offered
from support.salobj_audit import Use, find_uses, list_sources

PAGE = Path(__file__).parents[3] / "doc" / "salobj-common-api.rst"
USES = find_uses(list_sources())
HOLDER = "class A:\n    def __init__(self, c: salobj.Controller): self._c = c\n"


def is_of_ours(use: Use) -> bool:
    """Whether it is something that only our runtime offers, which is looked for before it is used."""
    kind, text = use
    return text in OUR_MEMBERS.get(kind, ()) or (kind == "module" and text in OURS)


def find_problems(uses: set[Use]) -> list[str]:
    """What of it ts_salobj does not offer, and ``salobj`` does not add."""
    problems = []
    for kind, text in sorted(uses):
        name, _, keyword = text.partition("(")
        method = f"{kind}.{name}"
        if keyword:
            is_right = keyword.removesuffix("=)") in KEYWORDS.get(method, frozenset())
        elif kind == "module":
            is_right = name in MODULE | UTILS
        else:
            is_right = is_offered(kind, name)
        if not is_right:
            problems.append(f"{kind}: {text}")
    return problems


def test_whatever_is_used_is_offered_by_ts_salobj() -> None:
    assert len(USES) > 50
    assert find_problems({use for use in USES if not is_of_ours(use)}) == []


def test_whatever_is_used_of_the_module_is_in_our_runtime_too() -> None:
    names = {name.partition("(")[0] for kind, name in USES if kind == "module"}
    assert names - {"RUNTIME"} <= set(sal.__all__)


def test_what_only_ours_has_is_asked_for_in_one_place() -> None:
    root = Path(sal.__file__).parents[1]
    users = defaultdict(set)
    for path in list_sources():
        for use in filter(is_of_ours, find_uses([path])):
            users[use[1]].add(str(path.relative_to(root)))
    # An error that is never raised does no harm: it may be named anywhere.
    assert users.pop("SalError") <= {"csc/main.py", "csc/missed.py", "csc/ocps_csc.py"}
    names = {"RUNTIME"}.union(*OUR_MEMBERS.values())
    assert users == {name: {"csc/outlet.py"} for name in names}


def render(uses: set[Use]) -> str:
    """The table of the page."""
    by_kind = defaultdict(list)
    offered = {use for use in uses if not is_of_ours(use)}
    for kind, name in sorted(offered, key=lambda use: (use[0] != "module", use[0].lower(), use[1])):
        by_kind[kind].append(f"``{name}``")
    rows = [f"   * - {kind}\n     - {', '.join(names)}\n" for kind, names in by_kind.items()]
    return "".join(rows)


def test_the_table_of_the_page_is_what_the_source_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    _, _, table = text.partition("     - what is used of it\n")
    rows, _, _ = table.partition("\n\n")
    assert f"{rows}\n" == render(USES), "the table should be:\n" + render(USES)


def test_the_page_names_what_only_ours_has_and_the_topics_that_may_be_missing() -> None:
    from lsst.ts.ocps.csc.outlet import NEW_TOPICS  # noqa: PLC0415 (of this test alone)

    text = PAGE.read_text(encoding="utf-8")
    used = {use[1] for use in USES if is_of_ours(use)}
    for name in used | set(NEW_TOPICS):
        assert f"``{name}``" in text


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def f(remote: salobj.Remote): remote.evt_x.stream()", "read topic: stream"),
        ("def f(remote: salobj.Remote): remote.tel_x.get(copy=True)", "read topic: get(copy=)"),
        ("def f(remote: salobj.Remote): remote.cmd_x.set_start(a=1, retry=2)", ""),
        ("def f(remote: salobj.Remote): remote.cmd_x.start(retry=2)", "sent command: start(retry=)"),
        ("def f(remote: salobj.Remote): getattr(remote, 'evt_x').wait()", "read topic: wait"),
        ("def f(remote: salobj.Remote):\n    t = getattr(remote, name)\n    t.wait()", "read topic: wait"),
        ("async def f():\n    async with salobj.Domain() as d:\n        d.connection", "Domain: connection"),
        ("def f(d): salobj.Remote(d, 'X', 1, history=3)", "Remote: __init__(history=)"),
        ("def f(): salobj.BrokerPool()", "module: BrokerPool"),
        ("from lsst.ts.ocps.salobj import together", "module: together"),
        ("class A(salobj.ConfigurableCsc):\n    def f(self): self.salinfo.broker", "SalInfo: broker"),
        ("class A(salobj.ConfigurableCsc):\n    def f(self): self.put()", "ConfigurableCsc: put"),
        ("class A(salobj.ConfigurableCsc):\n    def f(self): self.f()", ""),
        (
            "class A(salobj.ConfigurableCsc):\n    async def f(self): await super().halt()",
            "ConfigurableCsc: halt",
        ),
        (f"{HOLDER}    def f(self): self._c.evt_x.set_write(flush=True, force_output=True)", ""),
        (f"class A:\n    def f(self): self._c.evt_x.send()\n{HOLDER[9:]}", "written topic: send"),
        ("def f():\n    try: g()\n    except salobj.AckError as e: e.command", "AckError: command"),
    ],
)
def test_the_reader_of_the_source_finds_what_ts_salobj_lacks(
    source: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "source.py"
    file.write_text(f"from lsst.ts.ocps import salobj\n{source}\n", encoding="utf-8")
    assert find_problems(find_uses([file])) == ([problem] if problem else [])


def test_no_kind_of_object_is_without_a_description() -> None:
    assert {kind for kind, _ in USES} - {"module"} <= set(MEMBERS)
    assert {key.rpartition(".")[0] for key in KEYWORDS} <= {"module", *MEMBERS}
    assert all(re.fullmatch(r"[\w ]+\.\w+", key) for key in KEYWORDS)
