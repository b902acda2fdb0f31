"""The REST binding of UWS 1.1 (section 2.2): URLs and methods. What they mean is in ``jobs``."""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lsst.ts.ocps.uws.documents import (
    job_list_frame,
    job_refs_to_xml,
    job_to_xml,
    parameters_to_xml,
    results_to_xml,
)
from lsst.ts.ocps.uws.jobs import Parameter
from lsst.ts.ocps.uws.progress import Progress
from lsst.ts.ocps.uws.times import format_time

from .context import context_of, jobs_of
from .controls import read_action, read_filter, read_waiting
from .dali import is_declared, read_format
from .departure import departure
from .errors import NotFoundError, UsageError
from .forms import Form, read_body, read_form, read_query
from .jobs import JobService
from .late import LateResponse, wait_of
from .listing import ListedJob
from .openapi import (
    CONTENT,
    CREATION,
    DOCUMENT,
    ERRORS,
    FILTERS,
    PARAMETERS,
    PLAIN,
    RUN,
    VALUE,
    WAITING,
    form,
)
from .responses import (
    FileResponse,
    LongResponse,
    error_response,
    see_other,
    text_response,
    xml_response,
)
from .routing import add_heads, job_url, root_url
from .schema import StoredJob
from .sync import primary_result, run_at_once

__all__ = ["router"]

router = APIRouter(default_response_class=Response, responses=ERRORS)

_JOBS = "/{payload}/async"
_SYNC = "/{payload}/sync"
_JOB = "/{payload}/async/{job_id}"


def _job_document(jobs: JobService, stored: StoredJob, url: str, progress: Progress | None = None) -> bytes:
    job = replace(stored.job, quote=jobs.quote(stored), parameters=_parameters(stored, url))
    return job_to_xml(job, job_url=url, progress=progress)


def _parameters(stored: StoredJob, url: str) -> tuple[Parameter, ...]:
    """The parameters; what came with the request can be read at an URL of the job."""
    return tuple(
        replace(parameter, value=f"{url}/parameters/{parameter.name}")
        if parameter.by_reference and parameter.is_post
        else parameter
        for parameter in stored.job.parameters
    )


async def _form(request: Request, *, max_file_bytes: int = 0) -> Form:
    max_bytes = context_of(request).config.max_request
    form = await read_form(request, max_bytes=max_bytes, max_file_bytes=max_file_bytes)
    # Whoever tells an error wants to know which format was asked for.
    request.state.form = form
    return form


@router.get(
    "/jobs", summary="The jobs of all payloads; PHASE, AFTER, LAST", openapi_extra=FILTERS, responses=DOCUMENT
)
async def list_all_jobs(request: Request) -> Response:
    return await _list(request, None)


# Job lists


@router.get(
    _JOBS, summary="The jobs of a payload; PHASE, AFTER, LAST", openapi_extra=FILTERS, responses=DOCUMENT
)
async def list_jobs(request: Request, payload: str) -> Response:
    return await _list(request, payload)


@router.post(_JOBS, summary="Create a job", status_code=303, openapi_extra=CREATION)
async def create_job(request: Request, payload: str) -> Response:
    jobs = jobs_of(request)
    async with aclosing(await _form(request, max_file_bytes=jobs.max_file_bytes(payload))) as form:
        stored = await jobs.create(payload, form)
    url = job_url(request, payload, stored.job_id)
    return see_other(url, _job_document(jobs, stored, url))


@router.get(_SYNC, summary="Run a job and be led to its result")
@router.post(_SYNC, summary="Run a job and be led to its result", status_code=303, openapi_extra=RUN)
async def run_sync(request: Request, payload: str) -> Response:
    context = context_of(request)
    jobs = jobs_of(request)
    definition = jobs.definition(payload)
    form = await _form(request, max_file_bytes=jobs.max_file_bytes(payload))
    async with aclosing(form):
        with departure(request.scope, request.receive) as left:
            stored = await run_at_once(jobs, payload, form, max_time=context.config.max_sync, left=left)
    result = primary_result(stored.files, media_type=None if is_declared(definition) else read_format(form))
    if result is None:
        return Response(status_code=204)
    url = job_url(request, payload, stored.job_id)
    return see_other(f"{url}/results/{quote(result.result_id, safe='')}")


async def _list(request: Request, payload: str | None) -> Response:
    wanted = read_filter(read_query(request), payload)
    root = root_url(request)

    def write(listed: Iterable[ListedJob]) -> bytes:
        urls = ((entry.ref, f"{root}/{entry.payload}/async/{entry.ref.job_id}") for entry in listed)
        return job_refs_to_xml(replace(ref, url=url) for ref, url in urls)

    begin, end = job_list_frame()
    parts = await jobs_of(request).list_jobs(wanted, write)
    return LongResponse([begin, *parts, end], media_type="application/xml")


# Jobs


@router.get(
    _JOB,
    summary="A job; WAIT and PHASE to be answered when its phase changes",
    openapi_extra=WAITING,
    responses=DOCUMENT,
)
async def read_job(request: Request, payload: str, job_id: str) -> Response:
    context, jobs = context_of(request), jobs_of(request)
    waiting = read_waiting(read_query(request), max_wait=context.config.max_wait)
    url = job_url(request, payload, job_id)

    async def answer(stored: StoredJob) -> Response:
        progress = await jobs.read_progress(stored)
        return xml_response(_job_document(context.jobs, stored, url, progress))

    if waiting.seconds <= 0:
        return await answer(await jobs.get(payload, job_id))
    wait = wait_of(request.scope) or jobs.waiting(payload, job_id, waiting)
    stored = await wait.look()
    return LateResponse(wait, url, answer) if stored is None else await answer(stored)


@router.delete(_JOB, summary="Destroy a job", status_code=303)
async def delete_job(request: Request, payload: str, job_id: str) -> Response:
    await jobs_of(request).destroy(payload, job_id)
    return see_other(f"{root_url(request)}/{quote(payload)}/async")


@router.post(
    _JOB,
    summary="Destroy a job (ACTION=DELETE)",
    status_code=303,
    openapi_extra=form(ACTION={"type": "string", "enum": ["DELETE"]}),
)
async def act_on_job(request: Request, payload: str, job_id: str) -> Response:
    read_action(await _form(request))
    return await delete_job(request, payload, job_id)


# Parts of jobs


@router.get(_JOB + "/phase", summary="The phase", responses=PLAIN)
async def read_phase(request: Request, payload: str, job_id: str) -> Response:
    return text_response((await jobs_of(request).get(payload, job_id)).phase.value)


@router.post(
    _JOB + "/phase",
    summary="Run or abort a job (PHASE=RUN, PHASE=ABORT)",
    status_code=303,
    openapi_extra=form(PHASE={"type": "string", "enum": ["RUN", "ABORT"]}),
)
async def set_phase(request: Request, payload: str, job_id: str) -> Response:
    jobs, url = jobs_of(request), job_url(request, payload, job_id)
    stored = await jobs.set_phase(payload, job_id, await _form(request))
    return see_other(url, _job_document(jobs, stored, url))


@router.get(
    _JOB + "/executionduration", summary="The limit of the execution time (s); 0 = unlimited", responses=PLAIN
)
async def read_execution_duration(request: Request, payload: str, job_id: str) -> Response:
    stored = await jobs_of(request).get(payload, job_id)
    return text_response(str(stored.job.execution_duration))


@router.post(
    _JOB + "/executionduration",
    summary="Set the limit of the execution time",
    status_code=303,
    openapi_extra=form(EXECUTIONDURATION={"type": "integer", "minimum": 0}),
)
async def set_execution_duration(request: Request, payload: str, job_id: str) -> Response:
    await jobs_of(request).set_execution_duration(payload, job_id, await _form(request))
    return see_other(job_url(request, payload, job_id))


@router.get(_JOB + "/destruction", summary="The time of destruction", responses=PLAIN)
async def read_destruction(request: Request, payload: str, job_id: str) -> Response:
    destruction = (await jobs_of(request).get(payload, job_id)).job.destruction
    return text_response(format_time(destruction) if destruction else "")


@router.post(
    _JOB + "/destruction",
    summary="Set the time of destruction",
    status_code=303,
    openapi_extra=form(DESTRUCTION={"type": "string", "format": "date-time"}),
)
async def set_destruction(request: Request, payload: str, job_id: str) -> Response:
    await jobs_of(request).set_destruction(payload, job_id, await _form(request))
    return see_other(job_url(request, payload, job_id))


@router.get(_JOB + "/quote", summary="The expected time of completion, if known", responses=PLAIN)
async def read_quote(request: Request, payload: str, job_id: str) -> Response:
    jobs = jobs_of(request)
    expected = jobs.quote(await jobs.get(payload, job_id))
    return text_response(format_time(expected) if expected else "")


@router.get(_JOB + "/owner", summary="The owner, if known", responses=PLAIN)
async def read_owner(request: Request, payload: str, job_id: str) -> Response:
    return text_response((await jobs_of(request).get(payload, job_id)).job.owner_id or "")


@router.get(_JOB + "/error", summary="Why the job failed, and the end of its standard error", responses=PLAIN)
async def read_error(request: Request, payload: str, job_id: str) -> Response:
    text = await jobs_of(request).read_error(payload, job_id)
    return error_response(request, text.rstrip("\n"), status=200)


@router.get(_JOB + "/results", summary="The list of results", responses=DOCUMENT)
async def list_results(request: Request, payload: str, job_id: str) -> Response:
    stored = await jobs_of(request).get(payload, job_id)
    return xml_response(results_to_xml(stored.job.results, job_url=job_url(request, payload, job_id)))


@router.get(_JOB + "/results/{result_id}", summary="A result, or a range of its bytes", responses=CONTENT)
async def read_result(request: Request, payload: str, job_id: str, result_id: str) -> Response:
    file, version, media_type = await jobs_of(request).open_result(payload, job_id, result_id)
    return FileResponse(file, version=version, media_type=media_type, headers=request.headers)


@router.get(_JOB + "/parameters", summary="The parameters", responses=DOCUMENT)
async def list_parameters(request: Request, payload: str, job_id: str) -> Response:
    stored = await jobs_of(request).get(payload, job_id)
    return xml_response(parameters_to_xml(_parameters(stored, job_url(request, payload, job_id))))


@router.post(
    _JOB + "/parameters",
    summary="Change parameters, or give files, while the job is PENDING",
    status_code=303,
    openapi_extra=PARAMETERS,
)
async def set_parameters(request: Request, payload: str, job_id: str) -> Response:
    jobs = jobs_of(request)
    async with aclosing(await _form(request, max_file_bytes=jobs.max_file_bytes(payload))) as form:
        await jobs.set_parameters(payload, job_id, form)
    return see_other(job_url(request, payload, job_id))


@router.get(_JOB + "/parameters/{name}", summary="The value of a parameter", responses=PLAIN)
async def read_parameter(request: Request, payload: str, job_id: str, name: str) -> Response:
    stored = await jobs_of(request).get(payload, job_id)
    for upload in stored.uploads:
        if upload.name.upper() == name.upper():
            if upload.url is not None:
                return text_response(upload.url)
            file, version = await jobs_of(request).open_upload(stored, upload)
            media_type = "application/octet-stream"
            return FileResponse(file, version=version, media_type=media_type, headers=request.headers)
    values = [value for given, value in stored.pairs if given.upper() == name.upper()]
    if len(values) != 1:
        raise NotFoundError(f"job {job_id} has {len(values)} values of a parameter {name[:80]!r}")
    return text_response(values[0])


@router.put(
    _JOB + "/parameters/{name}",
    summary="Set a parameter while the job is PENDING",
    status_code=303,
    openapi_extra=VALUE,
)
async def set_parameter(request: Request, payload: str, job_id: str, name: str) -> Response:
    context = context_of(request)
    body = await read_body(request, max_bytes=context.config.max_request)
    try:
        value = body.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name[:80]}: the value is not UTF-8: {error}") from error
    await jobs_of(request).set_parameters(payload, job_id, Form(((name, value),)))
    return see_other(job_url(request, payload, job_id))


# What makes a job by GET is not merely read.
add_heads(router, but=_SYNC)
