"""Answers: documents, texts, redirects and files."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import IO

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from lsst.ts.ocps.uws.documents import error_to_votable

from .conditional import Version, choose
from .dali import VOTABLE, wants_votable
from .departure import departure
from .errors import UsageError
from .forms import Form, read_query

__all__ = [
    "CLIENT_LEFT",
    "FileResponse",
    "LongResponse",
    "error_response",
    "see_other",
    "text_response",
    "xml_response",
]


CLIENT_LEFT = 499
"""The status that proxies and figures have for a request whose client left; nobody is told it."""

_CHUNK = 256 * 1024


def xml_response(document: bytes) -> Response:
    """Answer with a document."""
    return Response(document, media_type="application/xml")


def text_response(text: str, *, status: int = 200) -> Response:
    """Answer with a text."""
    return Response(text.encode(), status, media_type="text/plain; charset=utf-8")


def error_response(request: Request, text: str, *, status: int) -> Response:
    """Answer with an error document: a VOTable where the request wants one, else text (DALI 1.1 section 4.2).

    Parameters
    ----------
    request
        What is answered; its form counts where it has been read already (``request.state.form``).
    text
        A code word, a colon and the message.
    status
        The status of HTTP.
    """
    form: Form | None = getattr(request.state, "form", None)
    if form is None:
        try:
            form = read_query(request)
        except UsageError:
            form = Form(())
    if wants_votable(request.headers.get("accept", ""), form):
        return Response(error_to_votable(text), status, media_type=VOTABLE)
    return text_response(f"{text}\n", status=status)


def see_other(url: str, document: bytes | None = None) -> Response:
    """Answer that the request was accepted, and where its effect can be seen.

    Parameters
    ----------
    url
        Where that is.
    document
        What a GET there answers now. Clients that know ``Content-Location`` (RFC 9110 section 8.7) need not
        ask for it; for others the body of a 303 means nothing.
    """
    if document is None:
        return Response(f"{url}\n".encode(), 303, {"Location": url}, "text/plain; charset=utf-8")
    return Response(document, 303, {"Location": url, "Content-Location": url}, "application/xml")


class LongResponse(Response):
    """Answer with a document in parts, as fast as the client reads them.

    Parameters
    ----------
    parts
        The document.
    media_type
        Its media type.
    """

    def __init__(self, parts: Sequence[bytes], *, media_type: str) -> None:
        super().__init__(media_type=media_type)
        self._parts = parts
        self.headers["Content-Length"] = str(sum(map(len, parts)))

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class FileResponse(Response):
    """Answer with an open file, or a part of it, or that it is known; the file is closed afterwards.

    Parameters
    ----------
    file
        What to send; a file that becomes shorter while it is sent breaks the connection.
    version
        Its size, and what tells it from other versions.
    media_type
        Its media type.
    headers
        Those of the request.
    """

    def __init__(
        self, file: IO[bytes], *, version: Version, media_type: str, headers: Mapping[str, str]
    ) -> None:
        choice = choose(headers, version)
        super().__init__(status_code=choice.status, media_type=media_type)
        self._file = file
        self._start = choice.start
        self._length = choice.length
        self.headers.update(version.headers)
        if choice.status == 304:
            del self.headers["Content-Length"], self.headers["Content-Type"]
        else:
            self.headers["Content-Length"] = str(choice.length)
        if choice.status == 206:
            end = choice.start + choice.length - 1
            self.headers["Content-Range"] = f"bytes {choice.start}-{end}/{version.size}"
        elif choice.status == 416:
            self.headers["Content-Range"] = f"bytes */{version.size}"
        # Results come from programs; a browser must not run them with the rights of this site.
        self.headers["Content-Security-Policy"] = "sandbox"

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            length = 0 if scope["method"] == "HEAD" else self._length
            if length and self._start:
                await asyncio.to_thread(self._file.seek, self._start)
            if length <= _CHUNK:
                await self._send_chunk(send, length)
                return
            # What is sent to nobody goes nowhere, and a large file is not to be read to its end for that.
            with departure(scope, receive) as left:
                while length and not left.done():
                    length = await self._send_chunk(send, length)
        finally:
            await asyncio.to_thread(self._file.close)

    async def _send_chunk(self, send: Send, length: int) -> int:
        """Send the next bytes of so many; how many are left."""
        chunk = await asyncio.to_thread(self._file.read, min(length, _CHUNK)) if length else b""
        length = length - len(chunk) if chunk else 0
        await send({"type": "http.response.body", "body": chunk, "more_body": bool(length)})
        return length
