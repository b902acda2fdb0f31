"""The parameters of a request: query, urlencoded body and multipart body (UWS 1.1 section 2.2.3)."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .errors import RequestTooLargeError, UnsupportedMediaError, UsageError

__all__ = ["Form", "read_body", "read_form", "read_query"]

_MAX_FIELDS = 1000
_MAX_FILES = 100
_MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Form:
    """Name-value pairs; names are compared ignoring case (DALI 1.1 section 2.3.10)."""

    pairs: tuple[tuple[str, str], ...]
    files: Mapping[str, UploadFile] = field(default_factory=dict)
    """Files by the name of their part; whoever let them in closes them."""

    async def aclose(self) -> None:
        """Close the files."""
        for file in self.files.values():
            await file.close()

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


async def read_form(request: Request, *, max_bytes: int, max_file_bytes: int = 0) -> Form:
    """The parameters in query and body together.

    Parameters
    ----------
    request
        The request.
    max_bytes
        Largest body, but for files (byte).
    max_file_bytes
        So many more if there are files in it (byte); 0: there may be none.

    Raises
    ------
    RequestTooLargeError
        If the body has more than ``max_bytes``.
    UnsupportedMediaError
        If the body is no form.
    UsageError
        If the form is broken, or has a file in it that it may not have.
    """
    if max_file_bytes and _media_type(request) == _MULTIPART:
        body_stream = _limited(request, max_bytes + max_file_bytes)
        pairs, files = await _parse_multipart(request, body_stream, max_part=max_bytes, takes_files=True)
        return Form(read_query(request).pairs + pairs, files)
    body = await read_body(request, max_bytes=max_bytes)
    query = read_query(request).pairs
    if not body:
        return Form(query)
    match _media_type(request):
        case "application/x-www-form-urlencoded":
            return Form(query + _parse(body, "the body"))
        case "multipart/form-data":
            pairs, _ = await _parse_multipart(request, _once(body), max_part=len(body))
            return Form(query + pairs)
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
    return b"".join([chunk async for chunk in _limited(request, max_bytes)])


def _parse(text: bytes, where: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    try:
        decoded = text.decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise UsageError(f"{where} is no urlencoded form in UTF-8: {error}") from error
    return tuple(pairs)


def _media_type(request: Request) -> str:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    return header.get_content_type()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise RequestTooLargeError(f"the body has more than {max_bytes} bytes")
        yield chunk


async def _parse_multipart(
    request: Request, body: AsyncGenerator[bytes, None], *, max_part: int, takes_files: bool = False
) -> tuple[tuple[tuple[str, str], ...], Mapping[str, UploadFile]]:
    """The fields and files of a form; large files are kept on the disk while they come."""
    parser = MultiPartParser(
        request.headers, body, max_fields=_MAX_FIELDS, max_files=_MAX_FILES, max_part_size=max_part
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", None) or error
        raise UsageError(f"the body is no multipart form: {reason}") from error
    items = form.multi_items()
    pairs = tuple((name, value) for name, value in items if not isinstance(value, UploadFile))
    files = [(name, value) for name, value in items if isinstance(value, UploadFile)]
    if files and (not takes_files or len(dict(files)) < len(files)):
        await form.close()
        reason = "two files have one name" if takes_files else "no file is taken here"
        raise UsageError(f"{', '.join(name for name, _ in files)[:200]}: {reason}")
    return pairs, dict(files)
