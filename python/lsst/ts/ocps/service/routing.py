"""What all handlers of UWS resources share: URLs as clients see them, and routes for HEAD."""

from urllib.parse import quote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request

from .context import context_of

__all__ = ["add_heads", "job_url", "root_url"]


def root_url(request: Request) -> str:
    """The root URL as the client sees it, without trailing slash."""
    public = context_of(request).config.public_url
    return str(public or request.base_url).rstrip("/")


def job_url(request: Request, payload: str, job_id: str) -> str:
    """The URL of a job as the client sees it."""
    return f"{root_url(request)}/{quote(payload)}/async/{quote(job_id)}"


def add_heads(router: APIRouter, *, but: str = "") -> None:
    """Let everything that can be read be asked for its headers alone; the HTTP server leaves out the body.

    Parameters
    ----------
    router
        Its routes so far get another one each.
    but
        The path of a route that is left as it is.
    """
    for route in list(router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and route.path != but:
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
