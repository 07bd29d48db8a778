"""Per-job context shared by submitting, polling and storing: the few verbs they need, the deadline, the slot.

It records and emits; it decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from msgspec import structs

from hfmedia.core.credentials import Credential, redact
from hfmedia.core.errors import DeadlineExceededError
from hfmedia.core.http import HttpRequest, HttpResponse
from hfmedia.core.job import (
    CompletedEntry,
    FailedEntry,
    InvalidTransitionError,
    Job,
    LedgerEntry,
    strip_inline_outputs,
)
from hfmedia.core.ports import OutputTarget, StoredFile
from hfmedia.core.protocol import Cancel, Completed, Failure, Operation, OperationResult, Output, Pending, Poll, Route
from hfmedia.core.provider import Provider
from hfmedia.core.request import InputImage
from hfmedia.core.retry import backoff, retry_delay
from hfmedia.core.timeouts import Timeouts

from .dependencies import EngineDependencies
from .events import Event, Queued, Running
from .input_images import download_image


class JobContext:
    """One job while it runs. ``emit`` receives its events; ``current_job`` is its state when that is known."""

    def __init__(
        self,
        deps: EngineDependencies,
        job_id: str,
        index: int,
        *,
        emit: Callable[[Event], None],
        timeouts: Timeouts,
        current_job: Job | None = None,
    ) -> None:
        self.job_id, self.index, self.timeouts = job_id, index, timeouts
        self._deps = deps
        self._emit = emit
        self._deadline = asyncio.get_running_loop().time() + timeouts.total if timeouts.total else None
        self._slot: AbstractAsyncContextManager[object] | None = None
        self._current_job = current_job

    # -- the ledger -------------------------------------------------------------------------------------------------

    async def load(self) -> Job:
        """Read the job from the ledger."""
        job = await self._deps.ledger.get(self.job_id)
        if job is None:
            raise InvalidTransitionError(f"job {self.job_id} is not in the ledger")
        return job

    async def current_job(self) -> Job:
        """Return the job after this context's last entry; no other process changes it meanwhile."""
        return self._current_job or await self.load()

    async def record(self, entry_type: type[LedgerEntry], /, **fields: Any) -> Job:
        """Append one entry of this job; it is durable when this returns."""
        return await self.record_all(self.new_entry(entry_type, **fields))

    async def record_all(self, entry: LedgerEntry, *more: LedgerEntry) -> Job:
        """Append entries of this job; they are durable together when this returns."""
        self._current_job = None  # a cancelled write may be done all the same
        self._current_job = await self._deps.ledger.append(entry, *more)
        return self._current_job

    def new_entry(self, entry_type: type[LedgerEntry], /, **fields: Any) -> LedgerEntry:
        """Build an entry of this job with the current time, without appending it."""
        return entry_type(job_id=self.job_id, timestamp=self.now(), **fields)

    async def record_completed(self, route: Route, completed: Completed) -> None:
        """Record that the provider is done, and feed the statistics and the provider's health."""
        self.mark_healthy(route.provider)
        job = await self.record(
            CompletedEntry,
            outputs=strip_inline_outputs(completed.outputs),
            seed=completed.seed,
            cost=completed.cost,
            timings=completed.timings,
            warnings=completed.warnings,
        )
        self._deps.record_stats(route, job.updated_at - (job.submitted_at or job.updated_at), completed.cost)

    @property
    def is_terminal(self) -> bool:
        """True once this context recorded the final entry, which also released the claim."""
        return self._current_job is not None and self._current_job.is_terminal

    # -- events -----------------------------------------------------------------------------------------------------

    def emit(self, event_type: type[Event], /, **fields: Any) -> None:
        """Emit one event of this job."""
        self._emit(event_type(job_id=self.job_id, index=self.index, **fields))

    def emit_progress(self, route: Route, pending: Pending) -> None:
        """Emit the progress that the provider reports."""
        progress = pending.progress
        if progress is None:
            self.emit(Running, provider=route.provider)
        elif progress.position is not None and progress.fraction is None:
            self.emit(Queued, provider=route.provider, position=progress.position)
        else:
            message = redact(progress.message) if progress.message else None
            fields = {"fraction": progress.fraction, "message": message, "eta": progress.eta}
            self.emit(Running, provider=route.provider, **fields)

    # -- providers --------------------------------------------------------------------------------------------------

    def get_provider(self, name: str) -> Provider:
        """Return a provider by name."""
        return self._deps.get_provider(name)

    def credential(self, route: Route) -> Credential:
        """Return the credential of a route; raises AuthenticationError when there is none."""
        return self._deps.credential_for(route)

    async def send(
        self, http_request: HttpRequest, *, credential: Credential, timeout: float | None = None
    ) -> HttpResponse:
        """Send a request; raises RequestNotSentError or ResponseLostError."""
        return await self._deps.sender.send(http_request, credential=credential, timeout=timeout)

    async def exchange(self, operation: Poll | Cancel, route: Route, timeout: float | None = None) -> OperationResult:
        """Send an operation that costs nothing and decode the response."""
        provider = self.get_provider(route.provider)
        http_request = self.with_router_headers(provider.encode(operation, route), route)
        response = await self.send(http_request, credential=self.credential(route), timeout=timeout)
        return provider.decode(operation, route, response)

    def decode(self, operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
        """Decode the response to an operation."""
        return self.get_provider(route.provider).decode(operation, route, response)

    def with_router_headers(self, http_request: HttpRequest, route: Route) -> HttpRequest:
        """Add the headers that only the router receives, such as the billed organization."""
        if route.via == "direct":
            return http_request
        return structs.replace(http_request, headers={**http_request.headers, **self._deps.router_headers})

    def cool_down(self, provider: str, seconds: float) -> None:
        """Make new jobs skip a provider for that many seconds."""
        self._deps.health.cool_down(provider, seconds)

    def mark_healthy(self, provider: str) -> None:
        """End the cooldown of a provider."""
        self._deps.health.mark_healthy(provider)

    async def expected_duration(self, route: Route) -> float | None:
        """Return how many seconds such jobs take from submission, None when unknown."""
        return await self._deps.expected_duration(route)

    async def acquire_slot(self, provider: str) -> None:
        """Wait for a concurrency slot at the provider, unless this job has one; it is held until released."""
        if self._slot is None:
            slot = self._deps.slot(provider)
            await slot.__aenter__()
            self._slot = slot

    async def release_slot(self) -> None:
        """Release the slot, if this job has one."""
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.__aexit__(None, None, None)

    # -- media ------------------------------------------------------------------------------------------------------

    async def download_image(self, image: InputImage) -> InputImage:
        """Return an input image as bytes."""
        return await download_image(image, self._deps.fetch)

    async def save(
        self,
        output: Output,
        target: OutputTarget,
        *,
        output_kind: Literal["image", "video"],
        on_progress: Callable[[int, int | None], None],
        build_sidecar: Callable[[StoredFile], dict[str, Any]],
    ) -> None:
        """Download an output, when it is a URL, and store it as a file."""
        await self._deps.storage.save(
            output,
            target,
            output_kind=output_kind,
            fetch=self._deps.fetch,
            progress=on_progress,
            build_sidecar=build_sidecar,
        )

    # -- time -------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time in unix seconds."""
        return self._deps.clock()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._deps.sleep(seconds)

    def requested_delay(self, failure: Failure) -> float | None:
        """Return the seconds that the server asked to wait (Retry-After), None when it did not."""
        return retry_delay(failure.retry_after, failure.retry_at, self.now())

    def backoff(self, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt, with jitter."""
        return backoff(attempt, self._deps.random_float())

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, negative after it; None without one."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    async def deadline_error(self, when: str, *, accepted: bool) -> DeadlineExceededError:
        """Build the error for a time limit; a job that no provider accepted also ends as failed."""
        route = (await self.load()).route
        if not accepted:
            await self.record(FailedEntry, kind="deadline_exceeded", message=f"time limit reached {when}")
            hint = "No provider accepted the job."
        else:
            resume_hint = f"`hfmedia jobs resume {self.job_id}` continues it without paying again"
            hint = f"Job {self.job_id} is detached, not lost: {resume_hint}."
        return DeadlineExceededError(
            f"the time limit was reached {when}. {hint}",
            provider=route.provider if route else None,
            model=route.model if route else None,
            job_id=self.job_id,
        )


def min_timeout(*timeouts: float | None) -> float | None:
    """Return the smallest of the timeouts that are set, None when none is."""
    return min((timeout for timeout in timeouts if timeout is not None), default=None)
