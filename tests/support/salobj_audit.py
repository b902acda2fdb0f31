"""What our packages use of ``lsst.ts.ocps.salobj``, found by reading their source.

Types are followed as far as our code needs it: annotations, constructors, ``with … as``, ``getattr`` of a
topic, attributes of attributes. What this reader cannot follow, the run on the strict stand-in sees
(`support.strict_salobj`): its findings have to be among those of this one.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

import lsst.ts.ocps
from support.salobj_api import MEMBERS, OUR_MEMBERS

__all__ = ["AUDITED", "Use", "find_uses", "list_sources", "shorten"]

AUDITED = ("csc", "observer", "cli", "sandbox")
"""The packages that reach SAL through that module."""

Use = tuple[str, str]
"""Kind of object, and its attribute, or ``method(keyword=)``."""

_SAL_CLASSES = ("ConfigurableCsc", "Controller", "CscCommander", "Remote", "Domain", "SalInfo", "AckError")
_CLASSES = (*_SAL_CLASSES, "AsyncS3Bucket")
_ATTRIBUTE_KINDS = {"salinfo": "SalInfo", "domain": "Domain", "remote": "Remote"}
_WRITERS = {"ConfigurableCsc", "Controller"}
_TOPICS_OF = {**dict.fromkeys(_WRITERS, "topic of a controller"), "Remote": "topic of a remote"}
_NO_FIELDS = {"set_write": {"force_output"}, "set_start": {"timeout", "wait_done"}}
"""Their other keywords are fields of the topic."""

_AMBIGUOUS = {
    "topic of a controller": ("written topic", "received command"),
    "topic of a remote": ("read topic", "sent command"),
}


def list_sources() -> list[Path]:
    """The files of the audited packages."""
    root = Path(lsst.ts.ocps.__file__).parent
    return sorted(path for package in AUDITED for path in (root / package).glob("*.py"))


def find_uses(paths: list[Path]) -> set[Use]:
    """What the files use.

    Parameters
    ----------
    paths
        Python files.
    """
    trees = [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths]
    makers = dict(maker for tree in trees for maker in _find_makers(tree))
    classes = dict(subclass for tree in trees for subclass in _find_subclasses(tree))
    uses: set[Use] = set()
    for tree in trees:
        uses |= _FileReader(tree, makers, classes).read()
    return uses


def _find_subclasses(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Classes of ours that derive from one of SAL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, kind) for base in node.bases if (kind := _find_class(base)) is not None)


def _find_makers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions that give an object of SAL: ``async with connect(…) as remote``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            kind = _find_class(node.returns)
            if kind is not None:
                yield node.name, kind


def _find_class(annotation: ast.AST) -> str | None:
    """The class of SAL that an annotation names, perhaps inside of another one."""
    for node in ast.walk(annotation):
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
        if name in _CLASSES:
            return str(name)
    return None


class _FileReader(ast.NodeVisitor):
    """Reads one file.

    Parameters
    ----------
    tree
        The file.
    makers, classes
        Functions and classes of all files, each with the kind of object that it gives or is.
    """

    def __init__(self, tree: ast.Module, makers: dict[str, str], classes: dict[str, str]) -> None:
        self._tree = tree
        self._makers = makers
        self._names: set[str] = set()
        """What is imported from the module by name."""

        self._variables = dict(classes)
        """Kinds of the variables of the present function, and of ``self.x`` of the present class."""

        self._own: set[str] = set()
        """What the present class defines itself."""

        self._uses: set[Use] = set()

    def read(self) -> set[Use]:
        self.visit(self._tree)
        return self._uses

    # Where kinds come from

    @override
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "lsst.ts.ocps.salobj":
            for name in node.names:
                self._names.add(name.name)
                self._uses.add(("module", name.name))

    @override
    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer = self._variables, self._own
        bases = [kind for base in node.bases if (kind := _find_class(base)) is not None]
        self._variables = dict(outer[0])
        self._own = _find_own_names(node) if bases else set()
        if bases:
            self._variables |= {"self": bases[0], "super()": bases[0], "cls": bases[0]}
            # What is overridden is used too.
            self._uses |= {(bases[0], name) for name in self._own & MEMBERS[bases[0]]}
        for _ in range(2):
            # Attributes that one method sets are used by others, above and below.
            self.generic_visit(node)
        self._variables, self._own = outer

    @override
    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    @override
    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer = dict(self._variables)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            kind = None if argument.annotation is None else _find_class(argument.annotation)
            if kind is not None:
                self._variables[argument.arg] = kind
        self.generic_visit(node)
        attributes = {name: kind for name, kind in self._variables.items() if name.startswith("self.")}
        self._variables = outer | attributes

    @override
    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        kind = self._kind_of(node.value)
        for target in node.targets:
            name = _spell(target)
            if kind is not None and name is not None:
                self._variables[name] = kind

    @override
    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        for item in node.items:
            kind = self._kind_of(item.context_expr)
            if kind is not None and isinstance(item.optional_vars, ast.Name):
                self._variables[item.optional_vars.id] = kind
        self.generic_visit(node)

    @override
    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None and node.type is not None and _find_class(node.type) == "AckError":
            self._variables[node.name] = "AckError"
        self.generic_visit(node)

    # What is used

    @override
    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "salobj":
            self._uses.add(("module", node.attr))
            return
        kind = self._kind_of(node.value)
        if kind is None or node.attr.startswith("__"):
            return
        if _spell(node.value) in {"self", "cls"} and node.attr in self._own:
            return
        self._uses |= {(candidate, shorten(node.attr)) for candidate in _settle(kind, node.attr)}

    @override
    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        for kind, name in self._find_methods(node.func):
            keywords = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            keywords &= _NO_FIELDS.get(name, keywords)
            self._uses |= {(kind, f"{name}({keyword}=)") for keyword in keywords}
        match node:
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[owner, ast.Constant(value=str() as text), *_]
            ):
                owner_kind = self._kind_of(owner)
                if owner_kind is not None:
                    self._uses |= {(each, shorten(text)) for each in _settle(owner_kind, text)}
            case _:
                pass

    def _find_methods(self, function: ast.expr) -> list[Use]:
        """The method of SAL that is called: none, one, or where the kind is not certain several."""
        name = ""
        match function:
            case ast.Attribute(value=ast.Name(id="salobj"), attr=name):
                pass
            case ast.Attribute(value=owner, attr=attribute):
                kind = self._kind_of(owner)
                return [] if kind is None else [(each, attribute) for each in _settle(kind, attribute)]
            case ast.Name(id=name) if name in self._names:
                pass
            case _:
                return []
        return [(name, "__init__")] if name in _CLASSES else [("module", name)]

    def _kind_of(self, node: ast.expr) -> str | None:
        kind: str | None = None
        match node:
            case ast.Await():
                kind = self._kind_of(node.value)
            case ast.Name() | ast.Attribute() if (name := _spell(node)) in self._variables:
                kind = self._variables.get(name or "")
            case ast.Attribute():
                kind = self._kind_of_attribute(node)
            case ast.Call():
                kind = self._kind_of_call(node)
            case _:
                pass
        return kind

    def _kind_of_call(self, node: ast.Call) -> str | None:
        kind: str | None = None
        match node:
            case ast.Call(func=ast.Name(id="super")):
                kind = self._variables.get("super()")
            case ast.Call(
                func=ast.Name(id="getattr" | "get_topic"), args=[owner, ast.Constant(value=str() as name), *_]
            ):
                kind = _kind_of_member(self._kind_of(owner), name)
            case ast.Call(
                func=ast.Name(id="getattr"),
                args=[owner, ast.JoinedStr(values=[ast.Constant(value=str() as prefix), *_]), *_],
            ):
                kind = _kind_of_member(self._kind_of(owner), prefix)
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, *_]):
                kind = _TOPICS_OF.get(self._kind_of(owner) or "")
            case ast.Call(func=ast.Name(id=name)):
                kind = name if name in self._names & set(_CLASSES) else self._makers.get(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="salobj"), attr=name)) if name in _CLASSES:
                kind = name
            case _:
                pass
        return kind

    def _kind_of_attribute(self, node: ast.Attribute) -> str | None:
        return _kind_of_member(self._kind_of(node.value), node.attr)


def _settle(kind: str, attribute: str) -> list[str]:
    """What a topic may be that is found by a name which is not written out: what is asked of it tells."""
    candidates = _AMBIGUOUS.get(kind, (kind,))
    fitting = [
        each
        for each in candidates
        if attribute in MEMBERS.get(each, ()) or attribute in OUR_MEMBERS.get(each, ())
    ]
    return fitting or [candidates[0]]


def _kind_of_member(owner: str | None, name: str) -> str | None:
    if owner is None:
        return None
    if name.startswith(("evt_", "tel_")):
        return "written topic" if owner in _WRITERS else "read topic"
    if name.startswith("cmd_"):
        return "received command" if owner in _WRITERS else "sent command"
    return _ATTRIBUTE_KINDS.get(name)


def _spell(node: ast.expr) -> str | None:
    """``name`` or ``self.name``; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return f"self.{node.attr}"
    return None


def shorten(attribute: str) -> str:
    """Topics are counted by their kind: their names come from the interface."""
    for prefix in ("cmd_", "evt_", "tel_"):
        if attribute.startswith(prefix):
            return f"{prefix}*"
    return attribute


def _find_own_names(node: ast.ClassDef) -> set[str]:
    """What a class defines: methods, class variables, and attributes that it sets on itself."""
    names = set()
    for child in ast.walk(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
            case _:
                pass
    return names
