"""Read XML of strangers into a small tree, without entities, and without losing the source of an element."""

import codecs
import re
from collections.abc import Iterator
from xml.etree.ElementTree import ParseError  # nosec B405 # types; defusedxml parses
from xml.sax.saxutils import quoteattr  # nosec B406 # it writes, and parses nothing

from defusedxml.common import DefusedXmlException, DTDForbidden
from defusedxml.ElementTree import DefusedXMLParser

from .errors import UwsDocumentError, quoted

__all__ = ["Node", "beginning", "decode", "parse_xml"]

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_VALUE = re.compile(rb"""(?<==)\s*(?:"[^"]*"|'[^']*')""")
_NAME = re.compile(rb"<[^\s/>]+")
_PREFIX = re.compile(rb"\sxmlns(?::([^\s=]+))?\s*=")
_BOMS = (
    ("utf-8", codecs.BOM_UTF8),
    ("utf-32-le", codecs.BOM_UTF32_LE),  # begins with the mark of UTF-16
    ("utf-32-be", codecs.BOM_UTF32_BE),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
)
_MAX_DEPTH = 200
"""A job document is five levels deep; what is nested deeper than this is an attack."""


class Node:
    """One element.

    Parameters
    ----------
    tag
        ``{namespace}name`` as ElementTree writes it.
    attributes
        Attributes by such names.
    start
        Offset of its start tag in the source (byte).
    scope
        Namespaces in scope by prefix, "" for the default one.
    source
        The whole document, in UTF-8.
    """

    __slots__ = (
        "_end",
        "_scope",
        "_source",
        "_start",
        "_text",
        "attributes",
        "children",
        "name",
        "namespace",
    )

    def __init__(
        self, tag: str, attributes: dict[str, str], *, start: int, scope: dict[str, str], source: bytes
    ) -> None:
        namespace, _, name = tag.rpartition("}")
        self.namespace = namespace[1:]
        self.name = name
        self.attributes = attributes
        self.children: list[Node] = []
        self._text: list[str] = []
        self._scope = scope
        self._source = source
        self._start = start
        self._end = start

    @property
    def text(self) -> str:
        """The character data directly in this element, that of its children left out."""
        return "".join(self._text)

    def attribute(self, name: str) -> str | None:
        """An attribute by its local name, one without namespace first."""
        if name in self.attributes:
            return self.attributes[name]
        return next((value for key, value in self.attributes.items() if key.endswith("}" + name)), None)

    def walk(self) -> "Iterator[Node]":
        """The element itself and all below it, in document order."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def inner_source(self) -> str:
        """What stands between the tags, as it was written."""
        opening = self._opening()
        return (
            "" if opening.endswith(b"/>") else self._source[self._start + len(opening) : self._end].decode()
        )

    def to_xml(self) -> str:
        """The element as it was written, with every prefix that is in scope declared on it."""
        opening = self._opening()
        name = _NAME.match(opening)
        declared = {(match[1] or b"").decode() for match in _PREFIX.finditer(_VALUE.sub(b"", opening))}
        added = "".join(
            f" xmlns{':' if prefix else ''}{prefix}={quoteattr(uri)}"
            for prefix, uri in sorted(self._scope.items())
            if prefix not in declared
        )
        at = self._start + (name.end() if name else 0)
        end = self._start + len(opening)
        if not opening.endswith(b"/>"):
            end = self._source.index(b">", self._end) + 1
        return f"{self._source[self._start : at].decode()}{added}{self._source[at:end].decode()}"

    def _opening(self) -> bytes:
        """The start tag, or the whole of an empty-element tag."""
        match = _TAG.match(self._source, self._start)
        return match[0] if match else b""


class _Builder:
    """Target of the parser: makes the tree."""

    def __init__(self, source: bytes) -> None:
        self.root: Node | None = None
        self._source = source
        self._open: list[Node] = []
        self._scope: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self.parser = DefusedXMLParser(target=self, encoding="utf-8")
        self.parser.parser.StartDoctypeDeclHandler = self._check_doctype

    @staticmethod
    def _check_doctype(name: str, system: str | None, public: str | None, has_subset: int) -> None:
        # Declarations of attributes take a time that grows with their square, and no document needs them.
        if has_subset:
            raise DTDForbidden(name, system, public)

    def start_ns(self, prefix: str, uri: str) -> None:
        self._declared[prefix] = uri

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise UwsDocumentError(f"the document is nested deeper than {_MAX_DEPTH} elements")
        scope = self._open[-1]._scope if self._open else {}  # noqa: SLF001 (same module)
        if self._declared:
            scope = {**scope, **self._declared}
            self._declared = {}
        start = self.parser.parser.CurrentByteIndex
        node = Node(tag, attributes, start=start, scope=scope, source=self._source)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def data(self, text: str) -> None:
        self._open[-1]._text.append(text)  # noqa: SLF001 (same module)

    def end(self, _tag: str) -> None:
        self._open.pop()._end = self.parser.parser.CurrentByteIndex  # noqa: SLF001 (same module)

    def close(self) -> None:
        pass


def decode(data: bytes) -> str:
    """Decode a document by its byte order mark, else as its XML declaration says, else as UTF-8.

    Raises
    ------
    UwsDocumentError
        If the bytes are no text in that encoding.
    """
    encoding, mark = next((known for known in _BOMS if data.startswith(known[1])), ("", b""))
    if not encoding:
        match = _DECLARED.match(data[:400])
        encoding = match[1].decode("ascii") if match else "utf-8"
    try:
        return data[len(mark) :].decode(encoding)
    except (LookupError, ValueError) as error:
        raise UwsDocumentError(f"the document is no {encoding} text ({error}): {beginning(data)}") from error


def beginning(data: bytes) -> str:
    """The first characters of a document, for messages."""
    text = data[:1000].decode("utf-8", "replace").strip()
    return quoted(text) if text else "an empty answer"


def parse_xml(data: bytes, *, expected: str) -> Node:
    """Parse a document.

    Parameters
    ----------
    data
        The document; blanks before it and a missing XML declaration are accepted.
    expected
        What the document should be, for messages.

    Returns
    -------
    Node
        The root element.

    Raises
    ------
    UwsDocumentError
        If it is not well-formed XML, or declares anything.
    """
    try:
        source = decode(data).strip().lstrip("\ufeff").encode()
    except UnicodeEncodeError as error:
        raise UwsDocumentError(f"{expected} holds lone surrogates: {beginning(data)}") from error
    builder = _Builder(source)
    try:
        builder.parser.feed(source)
        builder.parser.close()
    except ParseError as error:
        raise UwsDocumentError(f"{expected} is not well-formed XML ({error}): {beginning(data)}") from error
    except DefusedXmlException as error:
        kind = type(error).__name__
        raise UwsDocumentError(f"{expected} is refused ({kind}): {beginning(data)}") from error
    if builder.root is None:
        raise UwsDocumentError(f"{expected} has no element: {beginning(data)}")
    return builder.root
