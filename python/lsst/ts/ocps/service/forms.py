"""The parameters of a request: query, urlencoded body and multipart body (UWS 1.1 section 2.2.3)."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .errors import RequestTooLargeError, UnsupportedMediaError, UsageError

__all__ = ["Form", "read_body", "read_form", "read_query"]

_MAX_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """Name-value pairs; names are compared ignoring case (DALI 1.1 section 2.3.10)."""

    pairs: tuple[tuple[str, str], ...]

    def get_all(self, name: str) -> tuple[str, ...]:
        """All values of a name, given in capitals."""
        return tuple(value for key, value in self.pairs if key.upper() == name)

    def get(self, name: str) -> str | None:
        """The value of a name, given in capitals; None if absent.

        Raises
        ------
        UsageError
            If the parameter is repeated.
        """
        values = self.get_all(name)
        if len(values) > 1:
            raise UsageError(f"{name}: given {len(values)} times; it takes one value")
        return values[0] if values else None

    def without(self, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """The pairs of other names than these."""
        left_out = frozenset(names)
        return tuple(pair for pair in self.pairs if pair[0].upper() not in left_out)


def read_query(request: Request) -> Form:
    """The parameters in the query part of the URL."""
    return Form(_parse(request.scope["query_string"], "the query"))


async def read_form(request: Request, *, max_bytes: int) -> Form:
    """The parameters in query and body together.

    Raises
    ------
    RequestTooLargeError
        If the body has more than ``max_bytes``.
    UnsupportedMediaError
        If the body is no form.
    UsageError
        If the form is broken, or has a file in it.
    """
    body = await read_body(request, max_bytes=max_bytes)
    query = read_query(request).pairs
    if not body:
        return Form(query)
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    match header.get_content_type():
        case "application/x-www-form-urlencoded":
            return Form(query + _parse(body, "the body"))
        case "multipart/form-data":
            return Form(query + await _parse_multipart(request, body))
        case other:
            forms = "application/x-www-form-urlencoded or multipart/form-data"
            raise UnsupportedMediaError(f"the body is of type {other}; parameters are sent as {forms}")


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """The body of a request, as long as it is not too large.

    Raises
    ------
    RequestTooLargeError
        If it has more than ``max_bytes``; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise RequestTooLargeError(f"the body has more than {max_bytes} bytes")
    return bytes(body)


def _parse(text: bytes, where: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    try:
        decoded = text.decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise UsageError(f"{where} is no urlencoded form in UTF-8: {error}") from error
    return tuple(pairs)


async def _parse_multipart(request: Request, body: bytes) -> tuple[tuple[str, str], ...]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_fields=_MAX_FIELDS, max_part_size=len(body))
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", None) or error
        raise UsageError(f"the body is no multipart form: {reason}") from error
    pairs = []
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                raise UsageError(f"{name}: the service takes no files")
            pairs.append((name, value))
    finally:
        await form.close()
    return tuple(pairs)
