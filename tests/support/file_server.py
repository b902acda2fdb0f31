"""A server that answers every request alike, on the loopback."""

import ssl

from typing_extensions import override

from .http_server import HttpServer, Reply, Request

__all__ = ["FileServer"]


class FileServer(HttpServer):
    """Answers with ``reply``.

    Parameters
    ----------
    reply
        The answer.
    tls
        As for `HttpServer`.
    """

    def __init__(self, reply: Reply, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.reply = reply

    @override
    async def answer(self, request: Request) -> Reply:
        return self.reply

    @override
    def end_jobs(self) -> None:
        """There are none."""
