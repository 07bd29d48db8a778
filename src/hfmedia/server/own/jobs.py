"""/v1/jobs: make things and see how they stand, in our own words; what the web page uses.

``POST`` answers at once with the jobs it began; everything else about them is asked for, or streamed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from msgspec import structs
from pydantic import BaseModel

from hfmedia.core.job import ENDED, STATES, Job, State
from hfmedia.core.request import Task
from hfmedia.engine.images import input_image
from hfmedia.server import sse
from hfmedia.server.books.orders import Ask, Kind, Order, order_of_key
from hfmedia.server.entrance.bodies import Body, read_body
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import admitted, check_model
from hfmedia.server.entrance.idempotency import idempotency_key
from hfmedia.server.errors import MAKING, READING, Refusal, answers
from hfmedia.server.gateway import Gateway
from hfmedia.server.here import gateway_of
from hfmedia.server.media.files import gone
from hfmedia.server.media.janitor import GRACE

from .events import of_caller, of_job
from .shapes import EVENTS, MAKING_BODY, Deleted, JobList, Previews, Resolving
from .views import JobView, media_of, seen
from .wishes import ask_of, making

router = APIRouter(tags=["jobs"])
Asking = Annotated[Caller, Depends(admitted)]
JobId = Annotated[str, Path(description="The id of a job.", max_length=64)]
MOST_LISTED = 200  # jobs on one page
SPARSE: dict[str, frozenset[State]] = {  # what few jobs are: the ledger finds them without a look at all the others
    "open": frozenset(STATES) - ENDED,
    "failed": frozenset({"failed"}),
    "cancelled": frozenset({"cancelled"}),
}


@router.post("/v1/jobs", status_code=202, responses={202: {"model": JobList}, **answers(*MAKING)},
             openapi_extra=MAKING_BODY)  # fmt: skip
async def make_jobs(request: Request, caller: Asking) -> Response:
    """Begin to make n images or videos, and answer with their jobs at once."""
    gateway = gateway_of(request)
    ask = await _asked(request, gateway, caller)
    kind = await _kind(gateway, caller, ask)
    key = idempotency_key(request)
    order = gateway.works.new_order(caller, ask, kind=kind, api="jobs", told={}, idempotency_key=key)
    run = await gateway.works.begin(caller, order)
    jobs = await gateway.works.jobs_of(run.order)
    told = [await seen(job, run.order, gateway, request) for job in jobs]
    request.state.job_ids = run.job_ids
    return _listed(told, more=False, status=202, headers={"x-should-retry": "false"})


@router.post("/v1/jobs/preview", responses={200: {"model": Previews}, **answers(*MAKING)}, openapi_extra=MAKING_BODY)
async def preview_jobs(request: Request, caller: Asking) -> Response:
    """What each provider would be told, and what would be dropped or rounded. Nothing is sent, nothing costs."""
    gateway = gateway_of(request)
    ask = await _asked(request, gateway, caller)
    client = gateway.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)
    if ask.model is None:
        task: Task = ask.task or ("image-to-image" if ask.image else "text-to-image")
        check_model(caller, await client.default_model(task))
    plans = await client.preview(
        ask.prompt, task=ask.task, image=ask.image, model=ask.model, seed=ask.seed, **ask.options
    )
    told = [structs.asdict(plan) for plan in plans]
    return JSONResponse({"object": "list", "data": [{**one, "warnings": list(one["warnings"])} for one in told]})


@router.get("/v1/jobs", responses={200: {"model": JobList}, **answers(*READING)})
async def list_jobs(
    request: Request,
    caller: Asking,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    after: Annotated[str | None, Query(max_length=64, description="The last id of the page before.")] = None,
    kind: Annotated[Literal["image", "video"] | None, Query()] = None,
    search: Annotated[str | None, Query(max_length=200, description="Words of the prompt or the model.")] = None,
    status: Annotated[Literal["open", "completed", "failed", "cancelled", "deleted"] | None, Query()] = None,
) -> Response:
    """Your jobs, newest first; with the status ``deleted`` those that were deleted and can be restored."""
    gateway = gateway_of(request)
    since = gateway.book.clock() - GRACE
    wanted = _Wanted(caller=caller, kind=kind, search=_plain(search or ""), status=status, restorable=since)
    found, more = await _page(gateway, request, wanted, after, limit)
    return _listed(found, more=more)


@router.get("/v1/jobs/{job_id}", responses={200: {"model": JobView}, **answers(*READING)})
async def get_job(request: Request, caller: Asking, job_id: JobId) -> Response:
    """How one job stands."""
    return await _told(request, *await gateway_of(request).works.order_of(caller, job_id))


@router.get("/v1/jobs/{job_id}/events", response_class=StreamingResponse,
            responses={**EVENTS, **answers(*READING)})  # fmt: skip
async def job_events(request: Request, caller: Asking, job_id: JobId) -> Response:
    """How one job stands, now and at each change until it ends: queued, position, running, downloading, done."""
    gateway = gateway_of(request)
    await gateway.works.order_of(caller, job_id)
    return sse.streamed(of_job(gateway, caller, job_id, request))


@router.get("/v1/events", response_class=StreamingResponse,
            responses={**EVENTS, **answers(*READING)})  # fmt: skip
async def all_events(request: Request, caller: Asking) -> Response:
    """Each change of any of your jobs, for as long as you listen; one that was deleted is told as that."""
    return sse.streamed(of_caller(gateway_of(request), caller, request))


@router.post("/v1/jobs/{job_id}/cancel", responses={200: {"model": JobView}, **answers(*READING, 409, 502)})
async def cancel_job(request: Request, caller: Asking, job_id: JobId) -> Response:
    """Tell a job to stop, at its provider too where that is possible; what was accepted may still be billed."""
    gateway = gateway_of(request)
    order, _ = await gateway.works.order_of(caller, job_id)
    return await _told(request, order, await gateway.works.cancel(order, job_id))


@router.post("/v1/jobs/{job_id}/resolve", responses={200: {"model": JobView}, **answers(*READING, 413, 415)},
             openapi_extra={"requestBody": {"required": True, "content": {
                 "application/json": {"schema": Resolving.model_json_schema()}}}})  # fmt: skip
async def resolve_job(request: Request, caller: Asking, job_id: JobId) -> Response:
    """Settle a doubt: ``ask`` the provider, ``resend`` (it may be paid twice), or ``drop``."""
    gateway = gateway_of(request)
    body = await read_body(request, gateway.config)
    decision = body.fields.get("decision")
    if decision not in ("resend", "drop", "ask"):
        raise Refusal(400, "decision must be ask, resend or drop", code="invalid_value", param="decision")
    order, _ = await gateway.works.order_of(caller, job_id)
    return await _told(request, order, await gateway.works.resolve(order, job_id, decision))


@router.delete("/v1/jobs/{job_id}", responses={200: {"model": Deleted}, **answers(*READING, 409, 502)})
async def delete_job(request: Request, caller: Asking, job_id: JobId) -> Response:
    """Take a job out of sight, cancelled first if it is under way. Its files go later: ``restore`` brings it back."""
    await gateway_of(request).works.delete(caller, job_id)
    return JSONResponse({"id": job_id, "object": "job.deleted", "deleted": True})


@router.post("/v1/jobs/{job_id}/restore", responses={200: {"model": JobView}, **answers(*READING)})
async def restore_job(request: Request, caller: Asking, job_id: JobId) -> Response:
    """Bring a deleted job back, for as long as its files are still there (an hour)."""
    works = gateway_of(request).works
    _, job = await works.find(caller, job_id)
    if not await asyncio.to_thread(lambda: all(media.path.is_file() for media in media_of(job))):
        raise gone()
    await works.delete(caller, job_id, undo=True)
    return await _told(request, *await works.order_of(caller, job_id))


def _plain(text: str) -> str:
    """Words as they are searched: their case and how they are parted do not matter."""
    return " ".join(text.casefold().split())


class _Wanted(BaseModel, arbitrary_types_allowed=True):
    caller: Caller
    kind: Literal["image", "video"] | None
    search: str
    status: str | None
    restorable: float  # unix seconds: what was deleted after that can be brought back

    def may_take(self, order: Order) -> bool:
        """Whether a job of this order can fit at all, as far as the order alone tells."""
        ask, mine = order.ask, self.caller.admin or order.key == self.caller.key
        text = _plain(f"{ask.prompt or ''} {ask.model or ''}")
        return mine and self.kind in (None, order.kind) and (ask.model is None or self.search in text)

    def takes(self, job: Job, order: Order) -> bool:
        index = (order_of_key(job.key) or ("", 0))[1]
        text = _plain(f"{job.request.prompt or ''} {job.request.model}")
        state = "open" if not job.ended else {"stored": "completed"}.get(job.state, job.state)
        if self.search not in text:
            return False
        if self.status == "deleted":
            return order.deleted.get(index, 0.0) > self.restorable
        return index not in order.deleted and self.status in (None, state)


async def _page(
    gateway: Gateway, request: Request, wanted: _Wanted, after: str | None, limit: int
) -> tuple[list[JobView], bool]:
    """One page of jobs, and whether there are more. Orders are read until enough of their jobs fit."""
    found: list[JobView] = []
    past: str | None = None
    if after is not None:
        order, job = await gateway.works.find(wanted.caller, after)
        past, skip = order.id, (order_of_key(job.key) or ("", 0))[1] + 1
        found, full = await _of_order(gateway, request, wanted, order, limit, skip)
        if full:
            return found, True
    async with aclosing(_candidates(gateway, wanted, past)) as orders:
        async for order in orders:
            more, full = await _of_order(gateway, request, wanted, order, limit - len(found), 0)
            found += more
            if full:
                return found, True
    return found, False


async def _candidates(gateway: Gateway, wanted: _Wanted, past: str | None) -> AsyncGenerator[Order, None]:
    """The orders of which jobs may fit, newest first, after a past one. The jobs of most orders need no look."""
    if wanted.status in SPARSE:
        named = [order_of_key(job.key) async for job in gateway.client.ledger.jobs(states=SPARSE[wanted.status])]
        for order_id in sorted({one[0] for one in named if one}, reverse=True):  # ids sort by age
            order = gateway.book.order(order_id) if past is None or order_id < past else None
            if order is not None and wanted.may_take(order):
                yield order
        return
    key = None if wanted.caller.admin else wanted.caller.key
    deleted = wanted.status == "deleted"
    while True:
        orders = await asyncio.to_thread(
            gateway.book.orders, key, kind=wanted.kind, after=past, deleted=deleted, limit=MOST_LISTED
        )
        for order in orders:
            if wanted.may_take(order):
                yield order
        if len(orders) < MOST_LISTED:
            return
        past = orders[-1].id


async def _of_order(
    gateway: Gateway, request: Request, wanted: _Wanted, order: Order, most: int, skip: int
) -> tuple[list[JobView], bool]:
    """The jobs of an order that fit, from one output on; and whether there was one too many."""
    found: list[JobView] = []
    for job in await gateway.works.jobs_of(order):
        if (order_of_key(job.key) or ("", 0))[1] < skip or not wanted.takes(job, order):
            continue
        if len(found) >= most:
            return found, True
        found.append(await seen(job, order, gateway, request))
    return found, False


async def _asked(request: Request, gateway: Gateway, caller: Caller) -> Ask:
    body: Body = await read_body(request, gateway.config)
    made = making(body.fields)
    uploads = body.uploads("image")
    given: Any = uploads[0].data if uploads else made.image
    if isinstance(given, str) and not given[:8].lower().startswith(("http://", "https://", "data:")):
        raise Refusal(400, "image is a URL, a data: URL, or a file of a form", code="invalid_value", param="image")
    ask = ask_of(made, with_image=given is not None)
    if ask.model is not None:
        check_model(caller, ask.model)
    picture = await input_image(given) if given is not None else None
    return structs.replace(ask, image=picture)


async def _kind(gateway: Gateway, caller: Caller, ask: Ask) -> Kind:
    """What will come out, for the limits; the model tells where the request does not."""
    if ask.task is not None:
        return "video" if ask.task.endswith("video") else "image"
    client = gateway.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)
    planned = await client.planner.plan(ask.prompt, None, ask.image, {"model": ask.model, **ask.options})
    check_model(caller, planned.wish.model)
    return planned.wish.makes


async def _told(request: Request, order: Order, job: Job) -> Response:
    view = await seen(job, order, gateway_of(request), request)
    return Response(view.model_dump_json(), media_type="application/json")


def _listed(found: list[JobView], *, more: bool, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    ids = [view.id for view in found]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    told = JobList(data=found, first_id=first, last_id=last, has_more=more)
    return Response(told.model_dump_json(), status, headers, media_type="application/json")
