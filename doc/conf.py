"""Sphinx configuration; `make docs` builds with warnings as errors.

The reference of the SAL runtime is made of its public names: a page in ``doc/api`` for each kind of them.
Other packages have a page each with the modules that others may build on, and the HTTP interface of the
service one that is made of its OpenAPI document.
"""

import enum
import importlib
import inspect
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from lsst.ts.ocps import __version__, sal
from lsst.ts.ocps.service.api_page import list_operations
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.config import ServiceConfig

sys.path.insert(0, str(Path(__file__).parent))
from config_table import to_table

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

PACKAGES = {
    "uws": ("phases", "jobs", "codec", "documents", "progress", "run_id", "times", "vosi", "errors"),
    "payloads": ("schema", "catalogue", "parameters", "command", "errors"),
    "executors": ("base", "registry", "local", "testing"),
    "client": ("base", "registry", "testing", "errors"),
    "service": ("config", "app", "main", "errors"),
}
"""Modules of other packages that are of use to those who write clients, services, executors and back ends."""

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


def write_page(name: str, title: str, *entries: str) -> None:
    """Write a page of the reference; one that is as it was keeps its time."""
    API.mkdir(exist_ok=True)
    text = "\n".join(["=" * len(title), title, "=" * len(title), "", *entries])
    path = API / f"{name}.rst"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_packages() -> None:
    """Write a page for each of the other packages."""
    for package, modules in PACKAGES.items():
        entries = []
        for module in modules:
            name = f"{sal.__name__.removesuffix('.sal')}.{package}.{module}"
            title = f"``{package}.{module}``"
            entries += [title, "=" * len(title), "", f".. automodule:: {name}", "   :members:"]
            entries += ["   :exclude-members: model_config", ""]
        write_page(package, f"Package ``{package}``", *entries)


def write_interface() -> None:
    """Write the page of the HTTP interface of the service."""
    config = ServiceConfig(payload_directories=(Path("payloads"),), data_directory=Path("data"))
    lines = [
        "Paths are below the root URL; ``…`` stands for the parameters of the payload.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 9 41 50",
        "",
        "   * - method",
        "     - path",
        "     - meaning; query; body",
    ]
    for one in list_operations(create_app(config).openapi()):
        query = f"; query: {', '.join(f'``{name}``' for name in one.query)}" if one.query else ""
        body = f"; body: {', '.join(f'``{name}``' for name in one.body)}" if one.body else ""
        lines += [f"   * - {one.method}", f"     - ``{one.path}``", f"     - {one.summary}{query}{body}"]
    write_page("service-http", "The HTTP interface of the service", *lines, "")


def write_configuration() -> None:
    """Write the page of what the service can be configured with."""
    write_page("service-config", "Configuration of the service", *to_table(ServiceConfig))


def write_reference() -> None:
    """Write the pages of the SAL runtime."""
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
    for page, title in PAGES.items():
        write_page(page, title, *entries[page])


def find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node
) -> nodes.Node | None:
    """Find what a docstring names as its own module does, though it is defined in another one."""
    target = node.get("reftarget", "")
    domain = env.get_domain("py")
    found = {entry[0] for entry in domain.get_objects() if entry[0].endswith(f".{target}")}
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    place = node.get("refdoc", "")
    return domain.resolve_xref(env, place, app.builder, node["reftype"], found.pop(), node, content)


def setup(app: Sphinx) -> None:
    """Add what is our own to Sphinx."""
    app.connect("missing-reference", find_elsewhere)


write_reference()
write_packages()
write_configuration()
write_interface()
