"""/v1/jobs: create jobs, and list, watch, cancel, resolve, delete and restore them.

``POST`` returns as soon as the jobs are created; poll or stream their status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from msgspec import structs
from pydantic import BaseModel

from hfmedia.core.job import STATES, TERMINAL_STATES, Job, State
from hfmedia.engine.input_images import load_input_image
from hfmedia.server import sse
from hfmedia.server.api.fields import request_body
from hfmedia.server.auth.caller import Caller
from hfmedia.server.auth.policy import require_model_access
from hfmedia.server.db.generations import Generation, GenerationSpec, OutputKind, output_index, parse_job_key
from hfmedia.server.dependencies import CallerDep, GatewayDep
from hfmedia.server.errors import CREATE_ERRORS, READ_ERRORS, ApiError, error_responses
from hfmedia.server.gateway import Gateway
from hfmedia.server.http.headers import NO_RETRY_HEADERS, idempotency_key
from hfmedia.server.http.request_body import ParsedBody, read_body
from hfmedia.server.media.janitor import UNDELETE_GRACE_PERIOD
from hfmedia.server.media.routes import gone_error
from hfmedia.server.media.signed_urls import stored_media

from .events import caller_event_stream, job_event_stream
from .requests import parse_create
from .schemas import CREATE_BODY, EVENT_STREAM_RESPONSES, DeletedJob, JobList, PreviewList, ResolveRequest
from .serializers import JobView, load_job_view

router = APIRouter(tags=["jobs"])
JobId = Annotated[str, Path(description="Job ID.", max_length=64)]
MAX_PAGE_SIZE = 200  # jobs on one page
# The statuses of few jobs, by ledger state: the ledger finds those without reading all others.
SPARSE_STATES: dict[str, frozenset[State]] = {
    "open": frozenset(STATES) - TERMINAL_STATES,
    "failed": frozenset({"failed"}),
    "cancelled": frozenset({"cancelled"}),
}


@router.post("/v1/jobs", status_code=202, responses={202: {"model": JobList}, **error_responses(*CREATE_ERRORS)},
             openapi_extra=CREATE_BODY)  # fmt: skip
async def create_jobs(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Create n images or videos; returns their jobs immediately."""
    spec = await _read_spec(request, gateway, caller)
    kind = await _output_kind(gateway, caller, spec)
    key = idempotency_key(request)
    generation = gateway.service.new_generation(
        caller, spec, kind=kind, api="jobs", response_context={}, idempotency_key=key
    )
    active = await gateway.service.start(caller, generation)
    jobs = await gateway.runner.jobs_of(active.generation)
    views = [await load_job_view(job, active.generation, gateway, request) for job in jobs]
    request.state.job_ids = active.job_ids
    return _list_response(views, has_more=False, status=202, headers=NO_RETRY_HEADERS)


@router.post(
    "/v1/jobs/preview",
    responses={200: {"model": PreviewList}, **error_responses(*CREATE_ERRORS)},
    openapi_extra=CREATE_BODY,
)
async def preview_jobs(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Preview what each provider would receive, and what would be dropped or rounded. Nothing is sent or billed."""
    spec = await _read_spec(request, gateway, caller)
    client = gateway.account_clients.for_caller(caller)
    if spec.model is None:
        require_model_access(caller, await client.default_model(spec.default_task))
    previews = await client.preview(
        spec.prompt, task=spec.task, image=spec.image, model=spec.model, seed=spec.seed, **spec.options
    )
    items = [structs.asdict(plan) for plan in previews]
    return JSONResponse({"object": "list", "data": [{**item, "warnings": list(item["warnings"])} for item in items]})


@router.get("/v1/jobs", responses={200: {"model": JobList}, **error_responses(*READ_ERRORS)})
async def list_jobs(
    request: Request,
    caller: CallerDep,
    gateway: GatewayDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = 50,
    after: Annotated[str | None, Query(max_length=64, description="The last_id of the previous page.")] = None,
    kind: Annotated[Literal["image", "video"] | None, Query()] = None,
    search: Annotated[str | None, Query(max_length=200, description="Text in the prompt or the model.")] = None,
    status: Annotated[Literal["open", "completed", "failed", "cancelled", "deleted"] | None, Query()] = None,
) -> Response:
    """List your jobs, newest first; with status ``deleted`` those that were deleted and can still be restored."""
    restorable_since = gateway.database.clock() - UNDELETE_GRACE_PERIOD
    job_query = _JobQuery(
        caller=caller, kind=kind, search=_normalize_text(search or ""), status=status, restorable_since=restorable_since
    )
    views, has_more = await _list_page(gateway, request, job_query, after, limit)
    return _list_response(views, has_more=has_more)


@router.get("/v1/jobs/{job_id}", responses={200: {"model": JobView}, **error_responses(*READ_ERRORS)})
async def get_job(request: Request, caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Get a job."""
    return await _job_response(request, gateway, *await gateway.service.get_owned(caller, job_id))


@router.get("/v1/jobs/{job_id}/events", response_class=StreamingResponse,
            responses={**EVENT_STREAM_RESPONSES, **error_responses(*READ_ERRORS)})  # fmt: skip
async def job_events(request: Request, caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Stream a job, now and at each change until it ends: queued, position, running, downloading, done."""
    await gateway.service.get_owned(caller, job_id)
    return sse.event_stream(job_event_stream(gateway, caller, job_id, request))


@router.get("/v1/events", response_class=StreamingResponse,
            responses={**EVENT_STREAM_RESPONSES, **error_responses(*READ_ERRORS)})  # fmt: skip
async def all_events(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Stream every change of any of your jobs, deletions included, until you disconnect."""
    return sse.event_stream(caller_event_stream(gateway, caller, request))


@router.post("/v1/jobs/{job_id}/cancel", responses={200: {"model": JobView}, **error_responses(*READ_ERRORS, 409, 502)})
async def cancel_job(request: Request, caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Cancel a job, at its provider too if that is possible; an accepted job may still be billed."""
    generation, _ = await gateway.service.get_owned(caller, job_id)
    return await _job_response(request, gateway, generation, await gateway.service.cancel(generation, job_id))


@router.post(
    "/v1/jobs/{job_id}/resolve",
    responses={200: {"model": JobView}, **error_responses(*READ_ERRORS, 413, 415)},
    openapi_extra=request_body(ResolveRequest.model_json_schema()),
)
async def resolve_job(request: Request, caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Resolve a job in doubt: ``ask`` the provider, ``resend`` it (which may be billed twice), or ``drop`` it."""
    body = await read_body(request, gateway.config)
    decision = body.fields.get("decision")
    if decision not in ("resend", "drop", "ask"):
        raise ApiError(400, "decision must be ask, resend or drop", code="invalid_value", param="decision")
    generation, _ = await gateway.service.get_owned(caller, job_id)
    return await _job_response(
        request, gateway, generation, await gateway.service.resolve(generation, job_id, decision)
    )


@router.delete("/v1/jobs/{job_id}", responses={200: {"model": DeletedJob}, **error_responses(*READ_ERRORS, 409, 502)})
async def delete_job(caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Delete a job, canceling it first if it is active. Its files are removed later; until then it can be restored."""
    await gateway.service.delete(caller, job_id)
    return JSONResponse({"id": job_id, "object": "job.deleted", "deleted": True})


@router.post("/v1/jobs/{job_id}/restore", responses={200: {"model": JobView}, **error_responses(*READ_ERRORS)})
async def restore_job(request: Request, caller: CallerDep, gateway: GatewayDep, job_id: JobId) -> Response:
    """Restore a deleted job, as long as its files exist (an hour)."""
    _, job = await gateway.service.get_owned_including_deleted(caller, job_id)
    if not await asyncio.to_thread(lambda: all(media.path.is_file() for media in stored_media(job))):
        raise gone_error()
    await gateway.service.restore(caller, job_id)
    return await _job_response(request, gateway, *await gateway.service.get_owned(caller, job_id))


def _normalize_text(text: str) -> str:
    """Return a text for searches: case and whitespace are ignored."""
    return " ".join(text.casefold().split())


class _JobQuery(BaseModel, arbitrary_types_allowed=True):
    caller: Caller
    kind: Literal["image", "video"] | None
    search: str
    status: str | None
    restorable_since: float  # unix seconds; a job deleted after this can be restored

    def may_match(self, generation: Generation) -> bool:
        """Return False if the generation alone shows that none of its jobs match."""
        spec, is_visible = generation.spec, self.caller.admin or generation.caller_id == self.caller.id
        text = _normalize_text(f"{spec.prompt or ''} {spec.model or ''}")
        return is_visible and self.kind in (None, generation.kind) and (spec.model is None or self.search in text)

    def matches(self, job: Job, generation: Generation) -> bool:
        index = output_index(job)
        text = _normalize_text(f"{job.request.prompt or ''} {job.request.model}")
        state = "open" if not job.is_terminal else {"stored": "completed"}.get(job.state, job.state)
        if self.search not in text:
            return False
        if self.status == "deleted":
            return generation.deleted_outputs.get(index, 0.0) > self.restorable_since
        return index not in generation.deleted_outputs and self.status in (None, state)


async def _list_page(
    gateway: Gateway, request: Request, job_query: _JobQuery, after: str | None, limit: int
) -> tuple[list[JobView], bool]:
    """Return one page of jobs, and whether there are more. Reads generations until enough of their jobs match."""
    views: list[JobView] = []
    cursor: str | None = None
    if after is not None:
        generation, job = await gateway.service.get_owned_including_deleted(job_query.caller, after)
        cursor, skip = generation.id, output_index(job) + 1
        views, has_more = await _matching_jobs(gateway, request, job_query, generation, limit, skip)
        if has_more:
            return views, True
    async with aclosing(_iter_candidates(gateway, job_query, cursor)) as generations:
        async for generation in generations:
            batch, has_more = await _matching_jobs(gateway, request, job_query, generation, limit - len(views), 0)
            views += batch
            if has_more:
                return views, True
    return views, False


async def _iter_candidates(
    gateway: Gateway, job_query: _JobQuery, cursor: str | None
) -> AsyncGenerator[Generation, None]:
    """Yield the generations whose jobs may match, newest first, after a cursor."""
    if job_query.status in SPARSE_STATES:
        job_refs = [
            parse_job_key(job.idempotency_key)
            async for job in gateway.client.ledger.iter_jobs(states=SPARSE_STATES[job_query.status])
        ]
        for generation_id in sorted({job_ref[0] for job_ref in job_refs if job_ref}, reverse=True):  # IDs sort by age
            generation = (
                gateway.database.generation(generation_id) if cursor is None or generation_id < cursor else None
            )
            if generation is not None and job_query.may_match(generation):
                yield generation
        return
    pages = gateway.database.iter_generations(
        None if job_query.caller.admin else job_query.caller.id,
        kind=job_query.kind,
        after=cursor,
        deleted=job_query.status == "deleted",
    )
    while page := await asyncio.to_thread(next, pages, None):
        for generation in page:
            if job_query.may_match(generation):
                yield generation


async def _matching_jobs(
    gateway: Gateway, request: Request, job_query: _JobQuery, generation: Generation, limit: int, skip: int
) -> tuple[list[JobView], bool]:
    """Return the matching jobs of a generation from an output on, and whether there are more than the limit."""
    views: list[JobView] = []
    for job in await gateway.runner.jobs_of(generation):
        if output_index(job) < skip or not job_query.matches(job, generation):
            continue
        if len(views) >= limit:
            return views, True
        views.append(await load_job_view(job, generation, gateway, request))
    return views, False


async def _read_spec(request: Request, gateway: Gateway, caller: Caller) -> GenerationSpec:
    body: ParsedBody = await read_body(request, gateway.config)
    uploads = body.uploads("image")
    spec, image_url = parse_create(body.fields, uploaded=bool(uploads))
    source = uploads[0].data if uploads else image_url
    if spec.model is not None:
        require_model_access(caller, spec.model)
    image = await load_input_image(source) if source is not None else None
    return structs.replace(spec, image=image)


async def _output_kind(gateway: Gateway, caller: Caller, spec: GenerationSpec) -> OutputKind:
    """Return the output kind, which the limits depend on; without a task in the request the model decides."""
    if spec.task is not None:
        return "video" if spec.task.endswith("video") else "image"
    client = gateway.account_clients.for_caller(caller)
    planned = await client.planner.plan(spec.prompt, None, spec.image, {"model": spec.model, **spec.options})
    require_model_access(caller, planned.request.model)
    return planned.request.output_kind


async def _job_response(request: Request, gateway: Gateway, generation: Generation, job: Job) -> Response:
    view = await load_job_view(job, generation, gateway, request)
    return Response(view.model_dump_json(), media_type="application/json")


def _list_response(
    views: list[JobView], *, has_more: bool, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    ids = [view.id for view in views]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    page = JobList(data=views, first_id=first, last_id=last, has_more=has_more)
    return Response(page.model_dump_json(), status, headers, media_type="application/json")
