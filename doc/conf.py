"""Sphinx configuration; `make docs` builds with warnings as errors.

The reference of the SAL runtime is made of its public names: a page in ``doc/api`` for each kind of them.
"""

import enum
import importlib
import inspect
from pathlib import Path

from lsst.ts.ocps import __version__, sal

project = "ts_ocps"
author = "the ts_ocps developers"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build", "news"]
html_theme = "alabaster"
nitpicky = True
# Links into other documentations would need the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(argparse|astropy|asyncio|collections|contextlib|logging|pathlib|unittest)\..*"),
]
default_role = "py:obj"

autodoc_member_order = "bysource"
# The sections of the docstrings say what there is to say about types.
autodoc_typehints = "none"
numpydoc_show_class_members = False

API = Path(__file__).with_name("api")

PAGES = {
    "classes": "Classes",
    "topics": "Topics",
    "functions": "Functions",
    "enums": "Enumerations",
    "errors": "Errors",
    "values": "Constants and types",
}


def is_alias(name: str, value: object) -> bool:
    """Whether a class has another name where it is defined."""
    return inspect.isclass(value) and value.__name__ != name


def choose_page(name: str, value: object) -> str | None:
    """The page of a public name; None for a module."""
    if inspect.ismodule(value):
        return None
    if is_alias(name, value):
        return "values"
    if not inspect.isclass(value):
        return "functions" if inspect.isroutine(value) else "values"
    if issubclass(value, BaseException):
        return "errors"
    return "enums" if issubclass(value, enum.Enum) else "classes"


def make_entry(module: str, name: str, page: str) -> str:
    """The directive that documents one name."""
    kinds = {"functions": "autofunction", "values": "autodata", "errors": "autoexception"}
    lines = [f".. {kinds.get(page, 'autoclass')}:: {module}.{name}"]
    if page not in {"functions", "values"}:
        lines += ["   :members:"]
    if page in {"classes", "topics"}:
        lines += ["   :inherited-members:"]
    return "\n".join([*lines, ""])


def find_home(package: str, name: str, value: object) -> str:
    """The module in which a public name is defined."""
    home = getattr(value, "__module__", None)
    if not is_alias(name, value) and isinstance(home, str) and home.startswith(f"{sal.__name__}."):
        return home
    listed = sal._MODULES.get(name)  # noqa: SLF001 (the one list of where the names are)
    return f"{sal.__name__}.{listed}" if listed else package


def write_reference() -> None:
    """Write the pages of the reference; one that is as it was keeps its time."""
    entries: dict[str, list[str]] = {page: [] for page in PAGES}
    topics = importlib.import_module(f"{sal.__name__}.topics")
    for package in (sal, topics):
        for name in sorted(package.__all__):
            value = getattr(package, name)
            page = choose_page(name, value)
            if page is None or name.startswith("__"):
                continue
            if package is topics and page == "classes":
                page = "topics"
            entries[page].append(make_entry(find_home(package.__name__, name, value), name, page))
    API.mkdir(exist_ok=True)
    for page, title in PAGES.items():
        text = "\n".join(["=" * len(title), title, "=" * len(title), "", *entries[page]])
        path = API / f"{page}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


write_reference()
