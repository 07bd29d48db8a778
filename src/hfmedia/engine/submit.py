"""Buying: the only step that costs money. Whoever may have accepted is the last one asked.

Written down before the first byte is sent, and again when it is known what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.error_messages import build_error, describe_failure
from hfmedia.core.errors import HfmediaError, InvalidRequestError, RequestNotSentError, ResponseLostError
from hfmedia.core.failure_policy import SubmitPolicy, submit_policy
from hfmedia.core.http import HttpRequest, HttpResponse
from hfmedia.core.protocol import CancelResult, Completed, Failure, Pending, Route, Submit
from hfmedia.core.provider import AdaptedRequest, Provider, adapt_request
from hfmedia.core.request import GenerationRequest
from hfmedia.core.retry import SUBMIT_RETRIES, backoff, retry_delay

from .events import Accepted, FailedOver, Retrying, Submitting
from .input_images import download_image
from .job_context import JobContext, min_timeout, run_uncancelled

CANCEL_GRACE_PERIOD = 5.0  # seconds that a cancelled job may still take to learn what became of its submission
LARGE_IMAGE_BYTES = 1024 * 1024  # bytes; spelling a larger one as base64 would be felt by everybody else on the loop


class RouteRejectedError(Exception):
    """Inside the engine: this route certainly did not accept the job, and another may be asked."""

    def __init__(
        self, failure: Failure, policy: SubmitPolicy, *, invalid_request: InvalidRequestError | None = None
    ) -> None:
        super().__init__(failure.message)
        self.failure, self.policy, self.invalid_request = failure, policy, invalid_request


class Submitter:
    """Gets one job accepted by one provider, or says why nobody took it."""

    def __init__(self, context: JobContext) -> None:
        self.context = context
        self.completed: Completed | None = None  # what was bought, even when nobody waits for it any more

    async def submit_with_failover(
        self, request: GenerationRequest, routes: Sequence[Route]
    ) -> tuple[Route, Pending | Completed]:
        """The first route that accepts, and its answer. Goes on only while nobody can have accepted."""
        rejections: list[tuple[Route, Failure]] = []
        invalid_requests: list[InvalidRequestError] = []
        rejected_credentials: set[str] = set()
        for position, route in enumerate(routes):
            if route.credential in rejected_credentials:
                continue
            if rejections:
                previous_route, failure = rejections[-1]
                self.context.emit(
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
        if len(invalid_requests) == len(rejections):  # nobody was asked: the request itself is at fault
            raise invalid_requests[-1]
        route, failure = rejections[-1]
        earlier_failures = [
            describe_failure(earlier_failure, failed_route) for failed_route, earlier_failure in rejections[:-1]
        ]
        await self.context.record(
            life.FailedEntry,
            kind=failure.kind,
            message=describe_failure(failure, route),
            status=failure.status,
        )
        raise build_error(failure, route, job_id=self.context.job_id, attempts=earlier_failures)

    async def _submit_to(self, request: GenerationRequest, route: Route, *, can_fail_over: bool) -> Pending | Completed:
        """This route's answer when it accepts; NextRouteError when it certainly did not."""
        provider = self.context.deps.get_provider(route.provider)
        try:
            async with asyncio.timeout(self.context.remaining()):
                request = await self._with_downloaded_image(request, provider)
                adapted = adapt_request(request, provider)
                http_request = self.context.with_router_headers(
                    await self._encode(provider, adapted.request, route), route
                )
                await self.context.acquire_slot(route.provider)
        except InvalidRequestError as error:  # this provider cannot take it; nothing was sent, the next one may
            failure = Failure(kind="rejected", message=error.message)
            raise RouteRejectedError(failure, SubmitPolicy("rejected", failover="yes"), invalid_request=error) from None
        except TimeoutError:
            raise await self.context.deadline_error("before anything was sent", not_submitted=True) from None
        try:
            return await self._submit_with_retries(route, adapted, http_request, can_fail_over=can_fail_over)
        except RouteRejectedError:
            await self.context.release_slot()
            raise

    async def _submit_with_retries(
        self, route: Route, adapted: AdaptedRequest, http_request: HttpRequest, *, can_fail_over: bool
    ) -> Pending | Completed:
        for attempt in range(1, SUBMIT_RETRIES + 2):
            result = await self._submit_once(route, adapted, http_request, attempt)
            if not isinstance(result, Failure):
                return result
            policy = submit_policy(result.kind, via=route.via)
            server_delay = retry_delay(result.retry_after, result.retry_at, self.context.deps.clock())
            if policy.cooldown:
                self.context.deps.health.cool_down(
                    route.provider, policy.cooldown if server_delay is None else server_delay
                )
            max_retries = {"no": 0, "once": 1, "bounded": SUBMIT_RETRIES}[policy.retry]
            fail_over_now = result.kind == "rate_limited" and can_fail_over  # another provider is free now: why wait here
            if attempt > max_retries or fail_over_now:
                raise RouteRejectedError(result, policy)
            delay = backoff(attempt, self.context.deps.random_float()) if server_delay is None else server_delay
            if self.context.remaining() is not None and delay >= (self.context.remaining() or 0):
                raise RouteRejectedError(result, policy)  # it would only be ready after the deadline
            self.context.emit(Retrying, provider=route.provider, reason=describe_failure(result, route), delay=delay)
            await self.context.deps.sleep(delay)
        raise AssertionError("the loop above ends by returning or raising")

    async def _submit_once(
        self, route: Route, adapted: AdaptedRequest, http_request: HttpRequest, attempt: int
    ) -> Pending | Completed | Failure:
        """One POST that buys, written down before and after. A doubt or a loss is raised, a refusal returned."""
        timeout = min_timeout(self.context.timeouts.submit or None, self.context.remaining())
        if timeout is not None and timeout <= 0:
            raise await self.context.deadline_error("before anything was sent", not_submitted=True)
        credential = self.context.deps.credential_for(route)
        self.context.emit(Submitting, provider=route.provider, attempt=attempt)
        try:
            entries = [
                self.context.new_entry(life.SubmittingEntry, attempt=(await self.context.current_job()).attempts + 1)
            ]
            if attempt == 1:
                stripped_request = life.strip_inline_media(adapted.request)
                entries.insert(
                    0,
                    self.context.new_entry(
                        life.RoutedEntry, route=route, request=stripped_request, warnings=adapted.warnings
                    ),
                )
            await self.context.record_all(*entries)
        except asyncio.CancelledError:  # it may be written all the same, but nothing was sent yet
            await run_uncancelled(self._record_not_sent(route))
            raise
        send_task = asyncio.ensure_future(
            self.context.deps.sender.send(http_request, credential=credential, timeout=timeout)
        )
        try:
            await asyncio.wait({send_task})  # which leaves it running when this is cancelled
        except asyncio.CancelledError:  # the request is out: learn what became of it before letting go
            await run_uncancelled(self._record_late_response(send_task, route, adapted))
            raise
        result = self._decode(send_task, route, adapted)
        await self._record(result, route)
        return result

    async def _record_not_sent(self, route: Route) -> None:
        """A submission that was announced and is not begun: no doubt about that one."""
        if (await self.context.load()).state == "submitting":
            message = f"cancelled before anything was sent to {route.provider}"
            await self.context.record(life.RejectedEntry, kind="not_sent", message=message)

    async def _record_late_response(
        self, send_task: asyncio.Future[HttpResponse], route: Route, adapted: AdaptedRequest
    ) -> None:
        """What came of a submission whose job was cancelled meanwhile, written down; bounded."""
        await asyncio.wait({send_task}, timeout=CANCEL_GRACE_PERIOD)
        if not send_task.done():
            send_task.cancel()
            await asyncio.wait({send_task})
        with suppress(HfmediaError):  # a doubt, say: it is in the ledger now, and the cancel goes on
            await self._record(self._decode(send_task, route, adapted), route)

    def _decode(
        self, send_task: asyncio.Future[HttpResponse], route: Route, adapted: AdaptedRequest
    ) -> Pending | Completed | Failure:
        """What came of a submission, whatever came of it."""
        if send_task.cancelled():
            return Failure(kind="no_response", message="it was cancelled while the provider had not answered yet")
        error = send_task.exception()
        if isinstance(error, RequestNotSentError):
            return Failure(kind="not_sent", message=str(error))
        if isinstance(error, ResponseLostError):
            return Failure(kind="no_response", message=str(error))
        if error is not None:  # a defect of ours: nobody knows how far it came
            return Failure(kind="no_response", message=f"unexpected: {type(error).__name__}: {error}")
        response = send_task.result()
        result = self.context.deps.get_provider(route.provider).decode(Submit(adapted.request), route, response)
        if isinstance(result, CancelResult):
            return Failure(
                kind="invalid_response", message="a submission was answered as if it were a cancel", raw=response.body
            )
        return result

    async def _record(self, result: Pending | Completed | Failure, route: Route) -> None:
        """The answer to a submission, in the ledger; raised here when it ends the job."""
        if isinstance(result, Pending):
            await self.context.record(life.AcceptedEntry, handle=result.handle)
            self.context.deps.health.mark_healthy(route.provider)
            self.context.emit(Accepted, provider=route.provider, provider_job_id=result.handle.id)
            return
        if isinstance(result, Completed):
            self.completed = result
            await self.context.record_completed(route, result)
            return
        outcome = submit_policy(result.kind, via=route.via).outcome
        message = describe_failure(result, route)
        if outcome == "in_doubt":
            await self.context.record(life.InDoubtEntry, message=message)
            failure = Failure(kind="no_response", message=result.message, status=result.status, code=result.code)
            raise build_error(failure, route, job_id=self.context.job_id)
        if outcome == "failed":
            await self.context.record(life.FailedEntry, kind=result.kind, message=message, status=result.status)
            raise build_error(result, route, job_id=self.context.job_id)
        await self.context.record(life.RejectedEntry, kind=result.kind, message=message, status=result.status)

    async def _encode(self, provider: Provider, request: GenerationRequest, route: Route) -> HttpRequest:
        """The request in the provider's own words; a large image is spelled beside the loop."""
        operation = Submit(request)
        if request.image and request.image.data and len(request.image.data) > LARGE_IMAGE_BYTES:
            return await asyncio.to_thread(provider.encode, operation, route)
        return provider.encode(operation, route)

    async def _with_downloaded_image(self, request: GenerationRequest, provider: Provider) -> GenerationRequest:
        """The request with its image as bytes, where this provider takes no URL."""
        capabilities = provider.tasks.get(request.task)
        if (
            request.image is None
            or capabilities is None
            or capabilities.image is None
            or capabilities.image.encoding != "bytes"
        ):
            return request
        return structs.replace(request, image=await download_image(request.image, self.context.deps.fetch))
