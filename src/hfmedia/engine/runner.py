"""Running one job: submit, poll, store. Each step is recorded in the ledger before the next one starts.

core.failure_policy decides what a response means; this module acts on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hfmedia.aio import run_uncancelled
from hfmedia.core.error_messages import describe_failure
from hfmedia.core.errors import (
    GenerationFailedError,
    HfmediaError,
    InDoubtError,
    InvalidRequestError,
    JobCancelledError,
    RequestNotSentError,
    ResponseLostError,
    ResultExpiredError,
)
from hfmedia.core.job import CancelledEntry, FailedEntry, InDoubtEntry, Job, StoredEntry
from hfmedia.core.ports import OutputTarget
from hfmedia.core.protocol import Cancel, CancelResult, Completed, Failure, JobHandle, Output, Pending, Route
from hfmedia.core.request import GenerationRequest
from hfmedia.core.timeouts import Timeouts
from hfmedia.storage import Media

from .dependencies import EngineDependencies
from .events import Downloading, Event
from .job_context import JobContext, min_timeout
from .poller import Poller
from .storing import StoredOutputs, store_outputs
from .submit import Submitter

CANCEL_TIMEOUT = 5.0  # seconds to ask a provider to stop; beyond that the caller's own cancellation comes first
IN_DOUBT_HINT = (
    "Check the provider's dashboard, then run `hfmedia jobs resolve {job} --resend` or `--drop`. hfmedia never resends "
    "it automatically"
)
INTERRUPTED_MESSAGE = "the process ended while the request was in flight"
PROGRESS_INTERVAL = 0.1  # seconds between two progress events of a download: a terminal shows no more


class JobRunner:
    """Runs one job. ``emit`` receives its events; ``target`` is its output path."""

    def __init__(
        self,
        deps: EngineDependencies,
        job_id: str,
        index: int,
        *,
        emit: Callable[[Event], None],
        target: OutputTarget,
        timeouts: Timeouts,
        current_job: Job | None = None,
    ) -> None:
        self.context = JobContext(deps, job_id, index, emit=emit, timeouts=timeouts, current_job=current_job)
        self.job_id, self.index, self.target = job_id, index, target
        self.unsaved_outputs: tuple[Output, ...] = ()  # inline media of a response that is not stored yet
        self.detached = False  # stop here while the provider keeps running the job
        self.keep_unsent = False  # with detached: leave an unsent job to be sent when it is resumed
        self._last_progress_at = 0.0

    async def run(self, request: GenerationRequest, routes: Sequence[Route]) -> StoredOutputs:
        """Run a job that was not sent yet to completion; raises an HfmediaError with the job's id."""
        submitter = Submitter(self.context)
        try:
            route, result = await submitter.submit_with_failover(request, routes)
            return await self._finish(route, result)
        except asyncio.CancelledError:
            await run_uncancelled(self._on_cancelled(submitter.completed))
            raise
        except HfmediaError as error:
            error.job_id = self.job_id
            await self._record_unsent_failure(error)
            raise
        finally:
            await self.context.release_slot()

    async def resume(
        self, job: Job, *, routes: Sequence[Route] = (), outputs: tuple[Output, ...] = ()
    ) -> StoredOutputs:
        """Continue from the state in the ledger. A submission that may have been accepted is never repeated.

        ``routes`` are for a job that was never sent; ``outputs`` is inline media that could not be stored before.
        """
        if job.state in ("created", "routed"):
            return await self.run(_sendable_request(job), routes)
        if job.state == "submitting":  # the process that sent it died before it had the response
            job = await self.context.record(InDoubtEntry, message=INTERRUPTED_MESSAGE)
        if job.state == "stored" and (stored := _stored_media(job)):
            return stored
        try:
            if job.route and job.state in ("completed", "stored"):
                return await self._store(job.route, job, outputs or job.outputs)
            if job.route and job.handle and job.state == "running":
                return await self._finish(job.route, Pending(handle=job.handle, poll_after=0))
        except asyncio.CancelledError:
            await run_uncancelled(self._on_cancelled())
            raise
        finally:
            await self.context.release_slot()
        raise _terminal_error(job)

    async def _finish(self, route: Route, result: Pending | Completed) -> StoredOutputs:
        if isinstance(result, Completed):
            await self.context.release_slot()
            outputs = result.outputs
        else:
            submitted_at = (await self.context.current_job()).submitted_at
            outputs = await Poller(self.context).poll_until_done(route, result, submitted_at)
        return await self._store(route, await self.context.current_job(), outputs)

    async def _store(self, route: Route, job: Job, outputs: tuple[Output, ...]) -> StoredOutputs:
        context = self.context

        def on_progress(received: int, total: int | None) -> None:
            now = asyncio.get_running_loop().time()
            if now - self._last_progress_at >= PROGRESS_INTERVAL or received == total:
                self._last_progress_at = now
                context.emit(Downloading, provider=route.provider, received=received, total=total)

        try:
            async with asyncio.timeout(min_timeout(context.timeouts.download or None, context.remaining())):
                stored, sidecars = await store_outputs(context, job, route, outputs, self.target, on_progress)
        except TimeoutError:
            raise await context.deadline_error("while its media was downloading", accepted=True) from None
        except HfmediaError as error:
            self.unsaved_outputs = tuple(outputs) if any(_is_inline(output) for output in outputs) else ()
            error.job_id, error.provider, error.model = context.job_id, route.provider, route.model
            if isinstance(error, ResultExpiredError) and job.state != "stored":  # a stored job stays stored
                await context.record(FailedEntry, kind="expired", message=error.message, status=error.status)
            raise
        await context.record(StoredEntry, media={"files": sidecars})
        return stored

    async def _on_cancelled(self, completed: Completed | None = None) -> None:
        """Stop a job whose task was cancelled: cancel it at the provider where possible, and record the outcome."""
        job = await self.context.load()
        if job.state in ("created", "routed") and not self.keep_unsent:
            await self.context.record(CancelledEntry, provider_confirmed=None, message="nothing was sent")
        elif job.state == "running" and job.route and job.handle and not self.detached:
            confirmed, message = await self.cancel_remote(job.route, job.handle)
            await self.context.record(CancelledEntry, provider_confirmed=confirmed, message=message)
        elif job.state == "completed" and job.route and completed and any(map(_is_inline, completed.outputs)):
            with suppress(HfmediaError):  # paid for and in memory: only the file is missing
                await self._store(job.route, job, completed.outputs)
        # any other job keeps its state: running when detached, or completed with its download pending

    async def cancel_remote(self, route: Route, handle: JobHandle) -> tuple[bool, str]:
        """Ask the provider to stop the job; return whether it confirmed, and a message.

        Takes at most CANCEL_TIMEOUT seconds; transport errors are in the message.
        """
        if not self.context.get_provider(route.provider).can_cancel:
            return False, f"{route.provider} cannot cancel jobs; it may still be billed"
        try:
            result = await self.context.exchange(Cancel(handle), route, timeout=CANCEL_TIMEOUT)
        except (RequestNotSentError, ResponseLostError) as error:
            return False, f"the cancel request to {route.provider} failed ({error}); it may still be billed"
        if isinstance(result, CancelResult):
            return result.confirmed, result.message or "cancelled"
        if isinstance(result, Failure):
            return False, f"{describe_failure(result, route)}; it may still be billed"
        return False, f"the job keeps running at {route.provider}; it may still be billed"

    async def _record_unsent_failure(self, error: HfmediaError) -> None:
        """Record the failure of a job that no provider accepted, unless an entry says so already."""
        if (await self.context.load()).state in ("created", "routed"):
            await self.context.record(FailedEntry, kind="rejected", message=error.message, status=error.status)


def _sendable_request(job: Job) -> GenerationRequest:
    """Return the request of a job that was never sent; raises InvalidRequestError when its input image is gone."""
    image = job.request.image
    if image is not None and image.url is None:
        raise InvalidRequestError(
            f"job {job.id} was never sent, and the ledger does not keep its input image; submit the request again",
            job_id=job.id,
        )
    return job.request


def _stored_media(job: Job) -> StoredOutputs:
    """Return the media of a stored job when all of its files still exist."""
    stored = [Media.from_dict(sidecar) for sidecar in job.stored_files()]
    return tuple((media, None) for media in stored) if all(media.path.exists() for media in stored) else ()


def _terminal_error(job: Job) -> HfmediaError:
    """Build the error for a job that cannot be resumed."""
    provider = job.route.provider if job.route else None
    details: dict[str, Any] = {"provider": provider, "model": job.request.model, "job_id": job.id}
    if job.state == "in_doubt":
        hint = IN_DOUBT_HINT.replace("{job}", job.id)
        return InDoubtError(f"job {job.id} is in doubt: {job.error}. {hint}", **details)
    if job.state == "cancelled":
        return JobCancelledError(f"job {job.id} was cancelled: {job.error}", **details)
    return GenerationFailedError(f"job {job.id} failed: {job.error or job.state}", **details)


def _is_inline(output: Output) -> bool:
    return output.data is not None or (output.url or "").startswith("data:")
