"""The REST binding of the JSON dialect of ``lsst-dm/uws-api-server``, on the same jobs as UWS."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .context import context_of, jobs_of
from .errors import NotFoundError
from .forms import Form, read_body
from .json_jobs import read_creation, read_phase, to_object, to_pairs, to_phase, to_results
from .openapi import ERRORS
from .responses import FileResponse, LongResponse
from .schema import StoredJob

__all__ = ["json_router"]

json_router = APIRouter(prefix="/api/v1", default_response_class=Response, responses=ERRORS)

_MAX_LISTED = 10_000
"""The dialect lists whole jobs and has no way to ask for fewer: the newest so many."""

_MEDIA_TYPE = "application/json; charset=UTF-8"

_CONTROLS = frozenset({"RUNID"})
_CREATION = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["command"],
                    "properties": {
                        "command": {"type": "string", "description": "The name of a payload"},
                        "run_id": {"type": "string", "maxLength": 63},
                        "environment": {
                            "type": "array",
                            "description": "The parameters; a list is one JSON text",
                            "items": {
                                "type": "object",
                                "required": ["name", "value"],
                                "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                            },
                        },
                    },
                }
            }
        }
    }
}
_PHASE = {
    "parameters": [
        {"name": "phase", "in": "query", "required": False, "schema": {"type": "string"}},
    ]
}


@json_router.put("/job", summary="Create a job of a payload and start it", openapi_extra=_CREATION)
async def put_job(request: Request) -> Response:
    context = context_of(request)
    body = await read_body(request, max_bytes=context.config.max_request)
    # Values with escapes in them are read at 1 MB/s.
    payload, form = await asyncio.to_thread(read_creation, body)
    jobs = jobs_of(request)
    definition = jobs.definition(payload)
    pairs = to_pairs(definition, form.without(_CONTROLS))
    controls = tuple((name, form.get(name) or "") for name in _CONTROLS)
    stored = await jobs.create(payload, Form((*pairs, *controls)), run=True)
    return _answer(to_object(stored, definition))


@json_router.get("/job", summary="The jobs of all payloads, the newest first; phase", openapi_extra=_PHASE)
async def list_objects(request: Request) -> Response:
    jobs = jobs_of(request)
    phases = read_phase(request.query_params.get("phase", ""))

    def write(listed: Iterable[StoredJob]) -> bytes:
        objects = [to_object(stored, jobs.find_definition(stored.payload)) for stored in listed]
        return json.dumps(objects).encode()[1:-1]

    # Of a part there may be nothing that can be read.
    parts = [part for part in await jobs.list_whole(phases, write, last=_MAX_LISTED) if part]
    further = (b", " + part for part in parts[1:])
    return LongResponse([b"[", *parts[:1], *further, b"]"], media_type=_MEDIA_TYPE)


@json_router.get("/job/{job_id}", summary="A job")
async def read_object(request: Request, job_id: str) -> Response:
    stored = await jobs_of(request).find(job_id)
    return _answer("", 404) if stored is None else _answer(_whole(request, stored))


@json_router.get("/job/{job_id}/{name}", summary="The phase, results or parameters of a job")
async def read_property(request: Request, job_id: str, name: str) -> Response:
    if name not in {"phase", "results", "parameters"}:
        return _answer(f"Invalid job property: {name[:80]}", 400)
    stored = await jobs_of(request).find(job_id)
    if stored is None:
        return _answer("", 404)
    match name:
        case "phase":
            return _answer(to_phase(stored))
        case "results":
            return _answer(to_results(stored))
        case _:
            return _answer(_whole(request, stored)["parameters"])


@json_router.get("/job/result/{job_id}/{index}", summary="A result")
async def read_file(request: Request, job_id: str, index: str) -> Response:
    jobs = jobs_of(request)
    stored = await jobs.find(job_id)
    number = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else -1
    if stored is None or not 0 <= number < len(stored.files):
        raise NotFoundError("Result file not found.")
    result_id = stored.files[number].result_id
    file, version, media_type = await jobs.open_result(stored.payload, job_id, result_id)
    return FileResponse(file, version=version, media_type=media_type, headers=request.headers)


@json_router.delete("/job/{job_id}", summary="Stop a job and destroy it")
async def delete_object(request: Request, job_id: str) -> Response:
    jobs = jobs_of(request)
    stored = await jobs.find(job_id)
    if stored is None:
        raise NotFoundError(f"there is no job {job_id[:80]!r}")
    await jobs.destroy(stored.payload, job_id)
    return _answer({"status": "Success", "message": "", "code": 200})


def _whole(request: Request, stored: StoredJob) -> dict[str, Any]:
    return to_object(stored, jobs_of(request).find_definition(stored.payload))


def _answer(value: Any, status: int = 200) -> Response:
    # What is no UTF-8 in the name of a file travels as an escape.
    return Response(json.dumps(value).encode(), status, media_type=_MEDIA_TYPE)
