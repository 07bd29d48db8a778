"""Polling: free, and repeated until the provider is done. An error of a poll is not an error of the job."""

from __future__ import annotations

import asyncio

from hfmedia.core.error_messages import build_error, describe_failure
from hfmedia.core.errors import RequestNotSentError, ResponseLostError
from hfmedia.core.failure_policy import POLL_ACTIONS
from hfmedia.core.job import AcceptedEntry, FailedEntry
from hfmedia.core.protocol import CancelResult, Completed, Failure, JobHandle, Output, Pending, Poll, Route
from hfmedia.core.retry import POLL_RETRIES, poll_interval

from .events import Retrying
from .job_context import JobContext, min_timeout

MAX_INVALID_POLLS = 2  # status responses in a row that cannot be decoded: one may be a hiccup, more are an error


class Poller:
    """Polls one accepted job until it is done, has failed, or a time limit is reached."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    async def poll_until_done(self, route: Route, pending: Pending, submitted_at: float | None) -> tuple[Output, ...]:
        """Return the outputs of a job submitted at that time (unix seconds).

        Raises a ProviderError when the provider failed the job or keeps failing to answer, and DeadlineExceededError
        when a time limit is reached; the job then keeps running there.
        """
        context = self._context
        try:
            async with asyncio.timeout(min_timeout(context.timeouts.run or None, context.remaining())):
                await context.acquire_slot(route.provider)
                return await self._poll(route, pending, submitted_at)
        except TimeoutError:
            when = f"while {route.provider} was running the job"
            raise await context.deadline_error(when, accepted=True) from None
        finally:
            await context.release_slot()

    async def _poll(self, route: Route, pending: Pending, submitted_at: float | None) -> tuple[Output, ...]:
        context = self._context
        started_at = context.now() if submitted_at is None else submitted_at
        expected_duration = await context.expected_duration(route)
        handle, delay, failures = pending.handle, pending.poll_after, 0
        context.emit_progress(route, pending)
        while True:
            await context.sleep(
                poll_interval(context.now() - started_at, expected_duration) if delay is None else delay
            )
            result = await self._poll_once(route, handle)
            if isinstance(result, Completed):
                await context.record_completed(route, result)
                return result.outputs
            if isinstance(result, Pending):
                if result.handle != handle:
                    await context.record(AcceptedEntry, handle=result.handle)
                handle, delay, failures = result.handle, result.poll_after, 0
                context.emit_progress(route, result)
                continue
            failures += 1
            delay = await self._on_poll_failure(route, result, failures)

    async def _on_poll_failure(self, route: Route, failure: Failure, failures: int) -> float:
        """Return the seconds to wait after a failed poll; raises when the job has failed or no retries are left."""
        context = self._context
        action = POLL_ACTIONS[failure.kind]
        message = describe_failure(failure, route, polling=True)
        if action == "fail":
            await context.record(FailedEntry, kind=failure.kind, message=message, status=failure.status)
            raise build_error(failure, route, job_id=context.job_id)
        if action == "detach" or failures > (MAX_INVALID_POLLS if failure.kind == "invalid_response" else POLL_RETRIES):
            raise build_error(failure, route, job_id=context.job_id, polling=True)
        requested_delay = context.requested_delay(failure)
        delay = context.backoff(failures) if requested_delay is None else requested_delay
        context.emit(Retrying, provider=route.provider, reason=message, delay=delay)
        return delay

    async def _poll_once(self, route: Route, handle: JobHandle) -> Pending | Completed | Failure:
        try:
            result = await self._context.exchange(Poll(handle), route)
        except RequestNotSentError as error:
            return Failure(kind="not_sent", message=str(error))
        except ResponseLostError as error:
            return Failure(kind="no_response", message=str(error))
        if isinstance(result, CancelResult):
            return Failure(kind="invalid_response", message="the response is not a status")
        return result
