"""Watching: free, and repeated until the provider says done. Trouble in asking is not trouble with the job."""

from __future__ import annotations

import asyncio

from hfmedia.core import job as life
from hfmedia.core.error_messages import build_error, describe_failure
from hfmedia.core.errors import RequestNotSentError, ResponseLostError
from hfmedia.core.failure_policy import POLL_ACTIONS
from hfmedia.core.protocol import CancelResult, Completed, Failure, JobHandle, Output, Pending, Poll, Route
from hfmedia.core.retry import POLL_RETRIES, backoff, poll_interval, retry_delay

from .events import Retrying
from .job_context import JobContext, min_timeout

MAX_INVALID_POLLS = 2  # of a status that makes no sense: once may be a hiccup, unknown is an error


class Poller:
    """Asks for one accepted job until it is done, over, or patience ends."""

    def __init__(self, context: JobContext) -> None:
        self.context = context

    async def poll_until_done(self, route: Route, pending: Pending, submitted_at: float | None) -> tuple[Output, ...]:
        """What the provider made of what was ``sent`` then (unix seconds).

        Raises when it failed the job, or when patience ended and the job goes on there.
        """
        try:
            async with asyncio.timeout(min_timeout(self.context.timeouts.run or None, self.context.remaining())):
                await self.context.acquire_slot(route.provider)
                return await self._poll(route, pending, submitted_at)
        except TimeoutError:
            raise await self.context.deadline_error(
                f"while {route.provider} was at work", not_submitted=False
            ) from None
        finally:
            await self.context.release_slot()

    async def _poll(self, route: Route, pending: Pending, submitted_at: float | None) -> tuple[Output, ...]:
        clock = self.context.deps.clock
        started_at = clock() if submitted_at is None else submitted_at
        expected_duration = await self.context.deps.expected_duration(route)
        handle, delay, failures = pending.handle, pending.poll_after, 0
        self.context.emit_progress(route, pending)
        while True:
            await self.context.deps.sleep(
                poll_interval(clock() - started_at, expected_duration) if delay is None else delay
            )
            result = await self._poll_once(route, handle)
            if isinstance(result, Completed):
                await self.context.record_completed(route, result)
                return result.outputs
            if isinstance(result, Pending):
                if result.handle != handle:
                    await self.context.record(life.AcceptedEntry, handle=result.handle)
                handle, delay, failures = result.handle, result.poll_after, 0
                self.context.emit_progress(route, result)
                continue
            failures += 1
            delay = await self._on_poll_failure(route, result, failures)

    async def _on_poll_failure(self, route: Route, failure: Failure, failures: int) -> float:
        """Seconds to wait after trouble while a job runs; raises when the provider ended it or patience does."""
        action = POLL_ACTIONS[failure.kind]
        message = describe_failure(failure, route, polling=True)
        if action == "fail":
            await self.context.record(life.FailedEntry, kind=failure.kind, message=message, status=failure.status)
            raise build_error(failure, route, job_id=self.context.job_id)
        if action == "detach" or failures > (MAX_INVALID_POLLS if failure.kind == "invalid_response" else POLL_RETRIES):
            raise build_error(failure, route, job_id=self.context.job_id, polling=True)
        server_delay = retry_delay(failure.retry_after, failure.retry_at, self.context.deps.clock())
        delay = backoff(failures, self.context.deps.random_float()) if server_delay is None else server_delay
        self.context.emit(Retrying, provider=route.provider, reason=message, delay=delay)
        return delay

    async def _poll_once(self, route: Route, handle: JobHandle) -> Pending | Completed | Failure:
        provider, operation = self.context.deps.get_provider(route.provider), Poll(handle)
        try:
            http_request = self.context.with_router_headers(provider.encode(operation, route), route)
            response = await self.context.deps.sender.send(
                http_request, credential=self.context.deps.credential_for(route)
            )
        except RequestNotSentError as error:
            return Failure(kind="not_sent", message=str(error))
        except ResponseLostError as error:
            return Failure(kind="no_response", message=str(error))
        result = provider.decode(operation, route, response)
        return result if not isinstance(result, CancelResult) else Failure(kind="invalid_response", message="not a status")
