"""The application: routes, errors, life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from lsst.ts.ocps import __version__

from .about import about_router
from .config import ServiceConfig
from .context import ProcessContext, open_context
from .errors import RequestError, StoreError, UnavailableError, UnreadableJobError
from .gate import GateMiddleware, tell_error
from .handlers import router
from .json_dialect import json_router
from .late import WaitingMiddleware
from .metrics import MeteringMiddleware
from .responses import CLIENT_LEFT, error_response

__all__ = ["create_app"]

_log = structlog.stdlib.get_logger(__name__)

_RETRY_AFTER = 5
"""When a request may be repeated that the database failed (s)."""

_CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_CORS_HEADERS = ("Authorization", "Content-Type", "If-None-Match", "If-Modified-Since", "If-Range", "Range")
_EXPOSED_HEADERS = ("Content-Range", "ETag", "Location", "Repr-Digest", "Retry-After", "WWW-Authenticate")
"""What pages of ``origins`` may send, and read of the answers beside the usual."""


def create_app(config: ServiceConfig, context: ProcessContext | None = None) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    config
        The configuration.
    context
        What it works with; None: it is opened when the application starts, and closed when it stops.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if context is not None:
            yield
            return
        async with open_context(config) as own:
            app.state.context = own
            yield

    app = FastAPI(
        title="OCPS job service",
        description="A Universal Worker Service (IVOA UWS 1.1): a job list for each payload.",
        version=__version__,
        servers=[{"url": str(config.public_url).rstrip("/")}] if config.public_url else None,
        lifespan=lifespan,
        # The page at /docs is our own.
        docs_url=None,
        redoc_url=None,
        # They would lead to where this process sees itself, which behind a proxy is nowhere.
        redirect_slashes=False,
    )
    app.state.context = context
    app.add_middleware(WaitingMiddleware)
    app.add_middleware(GateMiddleware, find_gate=lambda: app.state.context.gate)
    if config.origins:
        # Browsers ask what pages may do before they let them, without credentials: it is before the gate.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
        )
    # The last one is the first to see a request: those that are not let in are counted too.
    app.add_middleware(MeteringMiddleware)
    app.include_router(about_router)
    app.include_router(router)
    app.include_router(json_router)
    app.add_exception_handler(RequestError, _tell_request_error)
    app.add_exception_handler(HTTPException, _tell_http_error)
    app.add_exception_handler(StoreError, _tell_store_error)
    app.add_exception_handler(UnreadableJobError, _tell_unreadable)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_exception_handler(Exception, _tell_failure)
    return app


async def _tell_request_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise error
    return tell_error(request, error)


async def _tell_http_error(request: Request, error: Exception) -> Response:
    """Unknown URLs and methods."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 405 and request.method == "OPTIONS":
        answer = Response(status_code=204)
    else:
        answer = error_response(request, f"UsageError: {error.detail}", status=error.status_code)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(sorted({*_allowed_methods(request), "OPTIONS"}))
    return answer


async def _tell_store_error(request: Request, error: Exception) -> Response:
    """The database fails or does not answer, which may be over soon."""
    _log.error(
        "the database failed a request", method=request.method, path=request.url.path, error=str(error)
    )
    text = f"{UnavailableError.code}: the database fails; try again later"
    answer = error_response(request, text, status=UnavailableError.status)
    answer.headers["Retry-After"] = str(_RETRY_AFTER)
    return answer


async def _tell_unreadable(request: Request, _: Exception) -> Response:
    """Trying again does not help; the log has been told which job it is, and why."""
    _log.warning("a request met an unreadable job", method=request.method, path=request.url.path)
    text = "Error: what the service has of this job cannot be read; its operators have to look at it"
    return error_response(request, text, status=500)


async def _tell_nobody(request: Request, _: Exception) -> Response:
    """The client left before its request was there: no failure of anybody here."""
    _log.debug("the client left in the middle of its request", method=request.method, path=request.url.path)
    return Response(status_code=CLIENT_LEFT)


def _allowed_methods(request: Request) -> set[str]:
    """The methods of all routes that a path matches; the router knows only those of one."""
    return {
        method
        for route in (*about_router.routes, *router.routes, *json_router.routes)
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _tell_failure(request: Request, error: Exception) -> Response:
    """A failure of the service itself, never of a job; the server logs where it happened."""
    _log.error("request failed", method=request.method, path=request.url.path, error=str(error))
    return error_response(request, "Error: the service failed; its log tells more", status=500)
