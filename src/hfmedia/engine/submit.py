"""Submission: the only billable step. Never fails over once a provider may have accepted the job.

Each POST is recorded before its first byte is sent, and again as soon as its outcome is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from msgspec import structs

from hfmedia.aio import run_uncancelled
from hfmedia.core.error_messages import build_error, describe_failure
from hfmedia.core.errors import HfmediaError, InvalidRequestError, RequestNotSentError, ResponseLostError
from hfmedia.core.failure_policy import SubmitPolicy, submit_policy
from hfmedia.core.http import HttpRequest, HttpResponse
from hfmedia.core.job import (
    AcceptedEntry,
    FailedEntry,
    InDoubtEntry,
    RejectedEntry,
    RoutedEntry,
    SubmittingEntry,
    strip_inline_media,
)
from hfmedia.core.protocol import CancelResult, Completed, Failure, Pending, Route, Submit
from hfmedia.core.provider import AdaptedRequest, Provider, adapt_request
from hfmedia.core.request import GenerationRequest
from hfmedia.core.retry import SUBMIT_RETRIES

from .events import Accepted, FailedOver, Retrying, Submitting
from .job_context import JobContext, min_timeout

CANCEL_GRACE_PERIOD = 5.0  # seconds that a cancelled job may still take to learn the outcome of its submission
LARGE_IMAGE_BYTES = 1024 * 1024  # bytes; encoding a larger one as base64 would noticeably block the event loop


class RouteRejectedError(Exception):
    """Internal: this route certainly did not accept the job, so another may be tried."""

    def __init__(
        self, failure: Failure, policy: SubmitPolicy, *, invalid_request: InvalidRequestError | None = None
    ) -> None:
        super().__init__(failure.message)
        self.failure, self.policy, self.invalid_request = failure, policy, invalid_request


class Submitter:
    """Submits one job to the first provider that accepts it."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.completed: Completed | None = None  # an immediate result, kept although the caller may be cancelled

    async def submit_with_failover(
        self, request: GenerationRequest, routes: Sequence[Route]
    ) -> tuple[Route, Pending | Completed]:
        """Return the first route that accepts the job, and its result.

        Raises the error of the last route when none did, and InvalidRequestError when every provider rejects the
        request as invalid before anything is sent.
        """
        rejections: list[tuple[Route, Failure]] = []
        invalid_requests: list[InvalidRequestError] = []
        rejected_credentials: set[str] = set()
        for position, route in enumerate(routes):
            if route.credential in rejected_credentials:
                continue
            if rejections:
                previous_route, failure = rejections[-1]
                self._context.emit(
                    FailedOver,
                    provider=route.provider,
                    previous_provider=previous_route.provider,
                    reason=describe_failure(failure, previous_route),
                    summary=describe_failure(failure, previous_route, include_provider_text=False),
                )
            can_fail_over = any(later.credential not in rejected_credentials for later in routes[position + 1 :])
            try:
                return route, await self._submit_to(request, route, can_fail_over=can_fail_over)
            except RouteRejectedError as rejection:
                rejections.append((route, rejection.failure))
                invalid_requests += [rejection.invalid_request] if rejection.invalid_request else []
                if rejection.policy.failover == "other-credential":
                    rejected_credentials.add(route.credential)
                if rejection.policy.failover == "no":
                    break
        if len(invalid_requests) == len(rejections):  # nothing was sent: the request itself is at fault
            raise invalid_requests[-1]
        raise await self._record_rejections(rejections)

    async def _record_rejections(self, rejections: list[tuple[Route, Failure]]) -> HfmediaError:
        """Record that no provider accepted the job; return the error of the last one."""
        route, failure = rejections[-1]
        earlier = [describe_failure(rejection, rejected) for rejected, rejection in rejections[:-1]]
        message = describe_failure(failure, route)
        await self._context.record(FailedEntry, kind=failure.kind, message=message, status=failure.status)
        return build_error(failure, route, job_id=self._context.job_id, attempts=earlier)

    async def _submit_to(self, request: GenerationRequest, route: Route, *, can_fail_over: bool) -> Pending | Completed:
        """Return the result of a route that accepts the job; raises RouteRejectedError when it certainly did not."""
        context = self._context
        provider = context.get_provider(route.provider)
        try:
            async with asyncio.timeout(context.remaining()):
                request = await self._with_downloaded_image(request, provider)
                adapted = adapt_request(request, provider)
                encoded = await self._encode(provider, adapted.request, route)
                http_request = context.with_router_headers(encoded, route)
                await context.acquire_slot(route.provider)
        except InvalidRequestError as error:  # this provider cannot take it; nothing was sent, the next one may
            failure = Failure(kind="rejected", message=error.message)
            raise RouteRejectedError(failure, SubmitPolicy("rejected", failover="yes"), invalid_request=error) from None
        except TimeoutError:
            raise await context.deadline_error("before anything was sent", accepted=False) from None
        try:
            return await self._submit_with_retries(route, adapted, http_request, can_fail_over=can_fail_over)
        except RouteRejectedError:
            await context.release_slot()
            raise

    async def _submit_with_retries(
        self, route: Route, adapted: AdaptedRequest, http_request: HttpRequest, *, can_fail_over: bool
    ) -> Pending | Completed:
        context = self._context
        for attempt in range(1, SUBMIT_RETRIES + 2):
            result = await self._submit_once(route, adapted, http_request, attempt)
            if not isinstance(result, Failure):
                return result
            policy = submit_policy(result.kind, via=route.via)
            requested_delay = context.requested_delay(result)
            if policy.cooldown:
                context.cool_down(route.provider, policy.cooldown if requested_delay is None else requested_delay)
            max_retries = {"no": 0, "once": 1, "bounded": SUBMIT_RETRIES}[policy.retry]
            fail_over_now = result.kind == "rate_limited" and can_fail_over  # another provider is free now
            if attempt > max_retries or fail_over_now:
                raise RouteRejectedError(result, policy)
            delay = context.backoff(attempt) if requested_delay is None else requested_delay
            remaining = context.remaining()
            if remaining is not None and delay >= remaining:
                raise RouteRejectedError(result, policy)  # the retry would come after the deadline
            context.emit(Retrying, provider=route.provider, reason=describe_failure(result, route), delay=delay)
            await context.sleep(delay)
        raise AssertionError("the loop above ends by returning or raising")

    async def _submit_once(
        self, route: Route, adapted: AdaptedRequest, http_request: HttpRequest, attempt: int
    ) -> Pending | Completed | Failure:
        """Send one billable POST, recorded before and after; return its result, or a failure that was not accepted.

        Raises when the job is in doubt afterwards, or accepted and failed.
        """
        context = self._context
        timeout = min_timeout(context.timeouts.submit or None, context.remaining())
        if timeout is not None and timeout <= 0:
            raise await context.deadline_error("before anything was sent", accepted=False)
        credential = context.credential(route)
        context.emit(Submitting, provider=route.provider, attempt=attempt)
        try:
            entries = [context.new_entry(SubmittingEntry, attempt=(await context.current_job()).attempts + 1)]
            if attempt == 1:
                stripped_request = strip_inline_media(adapted.request)
                routed = context.new_entry(
                    RoutedEntry, route=route, request=stripped_request, warnings=adapted.warnings
                )
                entries.insert(0, routed)
            await context.record_all(*entries)
        except asyncio.CancelledError:  # the entries may be written all the same, but nothing was sent yet
            await run_uncancelled(self._record_not_sent(route))
            raise
        send_task = asyncio.ensure_future(context.send(http_request, credential=credential, timeout=timeout))
        try:
            await asyncio.wait({send_task})  # leaves the request running when this task is cancelled
        except asyncio.CancelledError:  # the request is out: learn its outcome before giving up
            await run_uncancelled(self._record_late_response(send_task, route, adapted))
            raise
        result = self._decode(send_task, route, adapted)
        await self._record(result, route)
        return result

    async def _record_not_sent(self, route: Route) -> None:
        """Record that an announced submission was not started, so that the job is not in doubt."""
        if (await self._context.load()).state == "submitting":
            message = f"cancelled before anything was sent to {route.provider}"
            await self._context.record(RejectedEntry, kind="not_sent", message=message)

    async def _record_late_response(
        self, send_task: asyncio.Future[HttpResponse], route: Route, adapted: AdaptedRequest
    ) -> None:
        """Record the outcome of a submission whose job was cancelled meanwhile; waits for a bounded time."""
        await asyncio.wait({send_task}, timeout=CANCEL_GRACE_PERIOD)
        if not send_task.done():
            send_task.cancel()
            await asyncio.wait({send_task})
        with suppress(HfmediaError):  # such as InDoubtError: it is in the ledger now, and the cancellation continues
            await self._record(self._decode(send_task, route, adapted), route)

    def _decode(
        self, send_task: asyncio.Future[HttpResponse], route: Route, adapted: AdaptedRequest
    ) -> Pending | Completed | Failure:
        """Return the result of a finished submission, whatever its outcome."""
        if send_task.cancelled():
            return Failure(kind="no_response", message="cancelled before the provider answered")
        error = send_task.exception()
        if isinstance(error, RequestNotSentError):
            return Failure(kind="not_sent", message=str(error))
        if isinstance(error, ResponseLostError):
            return Failure(kind="no_response", message=str(error))
        if error is not None:  # a defect of hfmedia: the request may have been sent
            return Failure(kind="no_response", message=f"unexpected: {type(error).__name__}: {error}")
        response = send_task.result()
        result = self._context.decode(Submit(adapted.request), route, response)
        if isinstance(result, CancelResult):
            message = "the response to a submission was decoded as one to a cancel request"
            return Failure(kind="invalid_response", message=message, raw=response.body)
        return result

    async def _record(self, result: Pending | Completed | Failure, route: Route) -> None:
        """Record the result of a submission; raises the error when it ends the job or leaves it in doubt."""
        context = self._context
        if isinstance(result, Pending):
            await context.record(AcceptedEntry, handle=result.handle)
            context.mark_healthy(route.provider)
            context.emit(Accepted, provider=route.provider, provider_job_id=result.handle.id)
            return
        if isinstance(result, Completed):
            self.completed = result
            await context.record_completed(route, result)
            return
        outcome = submit_policy(result.kind, via=route.via).outcome
        message = describe_failure(result, route)
        if outcome == "in_doubt":
            await context.record(InDoubtEntry, message=message)
            failure = Failure(kind="no_response", message=result.message, status=result.status, code=result.code)
            raise build_error(failure, route, job_id=context.job_id)
        if outcome == "failed":
            await context.record(FailedEntry, kind=result.kind, message=message, status=result.status)
            raise build_error(result, route, job_id=context.job_id)
        await context.record(RejectedEntry, kind=result.kind, message=message, status=result.status)

    async def _encode(self, provider: Provider, request: GenerationRequest, route: Route) -> HttpRequest:
        """Encode the request for the provider; a large image is encoded off the event loop."""
        operation = Submit(request)
        if request.image and request.image.data and len(request.image.data) > LARGE_IMAGE_BYTES:
            return await asyncio.to_thread(provider.encode, operation, route)
        return provider.encode(operation, route)

    async def _with_downloaded_image(self, request: GenerationRequest, provider: Provider) -> GenerationRequest:
        """Return the request with its image as bytes when this provider takes no URL."""
        capabilities = provider.tasks.get(request.task)
        constraints = capabilities.image if capabilities else None
        if request.image is None or constraints is None or constraints.encoding != "bytes":
            return request
        return structs.replace(request, image=await self._context.download_image(request.image))
