"""Recorded answers of real UWS servers, and the official schemas."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from lxml import etree
from typing_extensions import override

__all__ = ["Sample", "all_samples", "make_response", "sample", "samples_named", "schema_problems"]

_DATA = Path(__file__).parents[1] / "data"
_SAMPLES = _DATA / "uws_samples"
_XSD = _DATA / "xsd"


@dataclass(frozen=True)
class Sample:
    """One recorded answer."""

    server: str
    name: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def id(self) -> str:
        return f"{self.server}/{self.name}"

    def response(self, request: httpx.Request | None = None) -> httpx.Response:
        """The answer as httpx sees it; the recorder had already undone the codings of the transfer."""
        coded = {"transfer-encoding", "content-encoding", "content-length"}
        headers = [(name, value) for name, value in self.headers if name not in coded]
        return make_response(self.status, self.body, headers, request=request)


def make_response(
    status: int,
    body: bytes = b"",
    headers: Sequence[tuple[str, str]] = (),
    *,
    request: httpx.Request | None = None,
) -> httpx.Response:
    """An answer as it comes from the network: its body has not been read."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body), request=request)


@cache
def all_samples() -> tuple[Sample, ...]:
    return tuple(_load(path) for path in sorted(_SAMPLES.glob("*/*.http")))


def samples_named(*prefixes: str) -> list[Sample]:
    """The samples of all servers whose names begin with one of some prefixes."""
    return [found for found in all_samples() if found.name.startswith(prefixes)]


def sample(server: str, name: str) -> Sample:
    return next(found for found in all_samples() if (found.server, found.name) == (server, name))


def _load(path: Path) -> Sample:
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    return Sample(path.parent.name, path.stem, int(lines[0].split()[1]), headers, body)


class _LocalOnly(etree.Resolver):
    """The schemas import one another by their official URLs; the copies are here."""

    @override
    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
        name = (system_url or "").rpartition("/")[2]
        copy = {"xlink.xsd": "xlink.xsd", "xml.xsd": "xmlnamespace.xsd"}.get(name)
        return self.resolve_filename(str(_XSD / "stilts" / copy), context) if copy else None


@cache
def _schema(name: str) -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_LocalOnly())
    return etree.XMLSchema(etree.parse(str(_XSD / name), parser))


def schema_problems(document: bytes, schema: str = "UWS-v1.1.xsd") -> list[str]:
    """What the official schema finds wrong with a document; empty if it is valid."""
    validator = _schema(schema)
    root = etree.fromstring(document, etree.XMLParser(no_network=True, resolve_entities=False))
    return [] if validator.validate(root) else [str(entry.message) for entry in validator.error_log]
