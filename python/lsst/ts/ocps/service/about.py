"""What the service tells of itself: pages, the documents of VOSI, figures."""

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .api_page import api_to_html
from .context import context_of
from .errors import StoreError
from .metrics import CONTENT_TYPE, Present
from .openapi import DOCUMENT, ERRORS, PAGE, PLAIN
from .responses import xml_response
from .routing import add_heads, root_url
from .vosi import availability_to_xml, capabilities_to_xml, root_to_html

__all__ = ["about_router"]

_log = structlog.stdlib.get_logger(__name__)

about_router = APIRouter(default_response_class=Response, responses=ERRORS)


@about_router.get("/", summary="The payloads, for people", responses=PAGE)
async def read_root(request: Request) -> Response:
    page = root_to_html(root_url(request), context_of(request).jobs.definitions)
    return Response(page, media_type="text/html; charset=utf-8")


@about_router.get("/availability", summary="VOSI availability", responses=DOCUMENT)
async def read_availability(request: Request) -> Response:
    context = context_of(request)
    # Anybody may read this: what is wrong stands in the log, with its names of hosts, users and files.
    note = ""
    try:
        await context.store.ping()
    except StoreError as error:
        _log.warning("the database does not answer", reason=str(error))
        note = "the database does not answer"
    if context.failure.done():
        note = "a part of the service has ended; it has to be started again"
    return xml_response(availability_to_xml(available=not note, up_since=context.started, note=note))


@about_router.get("/capabilities", summary="VOSI capabilities", responses=DOCUMENT)
async def read_capabilities(request: Request) -> Response:
    return xml_response(capabilities_to_xml(root_url(request), context_of(request).jobs.definitions))


# A payload is a service of its own to those who know DALI: they look for these beside its lists.


@about_router.get(
    "/{payload}/availability", summary="VOSI availability, beside the lists of a payload", responses=DOCUMENT
)
async def read_payload_availability(request: Request, payload: str) -> Response:
    context_of(request).jobs.definition(payload)
    return await read_availability(request)


@about_router.get("/{payload}/capabilities", summary="VOSI capabilities of a payload", responses=DOCUMENT)
async def read_payload_capabilities(request: Request, payload: str) -> Response:
    definition = context_of(request).jobs.definition(payload)
    root = root_url(request)
    return xml_response(capabilities_to_xml(root, [definition], base_url=f"{root}/{definition.name}"))


@about_router.get("/docs", summary="The interface, for people", responses=PAGE)
async def read_api(request: Request) -> Response:
    page = api_to_html(request.app.openapi(), root_url(request))
    return Response(page, media_type="text/html; charset=utf-8")


@about_router.get("/metrics", summary="Figures for Prometheus", responses=PLAIN)
async def read_metrics(request: Request) -> Response:
    context = context_of(request)
    try:
        jobs = await context.store.count()
    except StoreError:
        # The other figures are wanted all the more; availability says why.
        jobs = None
    dispatcher = context.dispatcher
    present = Present(jobs, dispatcher.queued, dispatcher.running, context.watch.total)
    return Response(context.metrics.to_text(present), media_type=CONTENT_TYPE)


add_heads(about_router)
