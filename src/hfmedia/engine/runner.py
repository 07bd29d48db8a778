"""Carrying one job: buy, watch, keep. Each step writes to the ledger before the next one begins.

What an answer means is decided in core.verdict; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hfmedia.core import job as life
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
from hfmedia.core.ports import OutputTarget
from hfmedia.core.protocol import Cancel, CancelResult, Completed, Failure, JobHandle, Output, Pending, Route
from hfmedia.core.request import GenerationRequest
from hfmedia.storage import Media

from .dependencies import EngineDependencies, Timeouts
from .events import Downloading, Event
from .job_context import JobContext, min_timeout, run_uncancelled
from .poller import Poller
from .storing import StoredOutputs, store_outputs
from .submit import Submitter

CANCEL_TIMEOUT = 5.0  # seconds for telling a provider to stop; beyond that the caller's own wish comes first
IN_DOUBT_HINT = (
    "Look at the provider's own dashboard, then decide: `hfmedia jobs resolve {job} --resend` or `--drop`. It is never "
    "sent again by itself"
)
PROGRESS_INTERVAL = 0.1  # seconds between two progress events of a download: a terminal shows no more


class JobRunner:
    """Carries one job. ``tell`` hears its events; ``place`` is where its file shall lie."""

    def __init__(
        self,
        deps: EngineDependencies,
        job_id: str,
        index: int,
        *,
        emit: Callable[[Event], None],
        target: OutputTarget,
        timeouts: Timeouts,
        current_job: life.Job | None = None,
    ) -> None:
        self.context = JobContext(deps, job_id, index, emit=emit, timeouts=timeouts, current_job=current_job)
        self.job_id, self.index, self.target = job_id, index, target
        self.unsaved_outputs: tuple[Output, ...] = ()  # media that came inside a reply and is not stored yet
        self.detached = False  # let go of here, while the provider goes on
        self.keep_unsent = False  # let go of so that it is sent later, if it was not sent yet
        self._last_progress_at = 0.0

    async def run(self, request: GenerationRequest, routes: Sequence[Route]) -> StoredOutputs:
        """From a wish to its files. Raises a typed error, with the job's id, when that cannot be."""
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
        self, job: life.Job, *, routes: Sequence[Route] = (), outputs: tuple[Output, ...] = ()
    ) -> StoredOutputs:
        """From where the ledger says the job stands. What may have been bought is never bought again.

        ``routes`` are for a job that was never sent; ``outputs`` holds inline media that waits for a place.
        """
        if job.state in ("created", "routed"):
            return await self.run(_sendable_request(job), routes)
        if job.state == "submitting":  # whoever sent it is gone, and took the answer along
            job = await self.context.record(
                life.InDoubtEntry, message="the process ended while the request was on its way"
            )
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
            outputs = await Poller(self.context).poll_until_done(
                route, result, (await self.context.current_job()).submitted_at
            )
        return await self._store(route, await self.context.current_job(), outputs)

    async def _store(self, route: Route, job: life.Job, outputs: tuple[Output, ...]) -> StoredOutputs:
        def on_progress(received: int, total: int | None) -> None:
            now = asyncio.get_running_loop().time()
            if now - self._last_progress_at >= PROGRESS_INTERVAL or received == total:
                self._last_progress_at = now
                self.context.emit(Downloading, provider=route.provider, received=received, total=total)

        try:
            async with asyncio.timeout(min_timeout(self.context.timeouts.download or None, self.context.remaining())):
                stored, sidecars = await store_outputs(self.context.deps, job, route, outputs, self.target, on_progress)
        except TimeoutError:
            raise await self.context.deadline_error(
                "while its media was on the way here", not_submitted=False
            ) from None
        except HfmediaError as error:
            self.unsaved_outputs = tuple(outputs) if any(_is_inline(output) for output in outputs) else ()
            error.job_id, error.provider, error.model = self.context.job_id, route.provider, route.model
            if (
                isinstance(error, ResultExpiredError) and job.state != "stored"
            ):  # that one was done, whatever became of it
                await self.context.record(life.FailedEntry, kind="expired", message=error.message, status=error.status)
            raise
        await self.context.record(life.StoredEntry, media={"files": sidecars})
        return stored

    async def _on_cancelled(self, completed: Completed | None = None) -> None:
        """The job was cancelled here: tell the provider where it can be told, and write down what it said."""
        job = await self.context.load()
        if job.state in ("created", "routed") and not self.keep_unsent:
            await self.context.record(life.CancelledEntry, provider_confirmed=None, message="nothing was sent")
        elif job.state == "running" and job.route and job.handle and not self.detached:
            confirmed, message = await self.cancel_remote(job.route, job.handle)
            await self.context.record(life.CancelledEntry, provider_confirmed=confirmed, message=message)
        elif job.state == "completed" and job.route and completed and any(map(_is_inline, completed.outputs)):
            with suppress(HfmediaError):  # paid for and in our hands: it needs no more than a file
                await self._store(job.route, job, completed.outputs)
        # any other job stays as it is: running where it is let go of, or finished, paid for, and still to be fetched

    async def cancel_remote(self, route: Route, handle: JobHandle) -> tuple[bool, str]:
        """Whether the provider agreed to stop, and its words. Bounded; never raises for trouble on the way."""
        provider = self.context.deps.get_provider(route.provider)
        if not provider.can_cancel:
            return False, f"{route.provider} has no way to cancel; it may still be billed"
        operation = Cancel(handle)
        try:
            http_request = self.context.with_router_headers(provider.encode(operation, route), route)
            response_coroutine = self.context.deps.sender.send(
                http_request, credential=self.context.deps.credential_for(route), timeout=CANCEL_TIMEOUT
            )
            result = provider.decode(operation, route, await response_coroutine)
        except (RequestNotSentError, ResponseLostError) as error:
            return False, f"{route.provider} could not be told to stop ({error}); it may still be billed"
        if isinstance(result, CancelResult):
            return result.confirmed, result.message or "cancelled"
        message = describe_failure(result, route) if isinstance(result, Failure) else "the job goes on there"
        return False, f"{message}; it may still be billed"

    async def _record_unsent_failure(self, error: HfmediaError) -> None:
        """The end of a job that no provider ever had, where nobody has written it down yet."""
        if (await self.context.load()).state in ("created", "routed"):
            await self.context.record(life.FailedEntry, kind="rejected", message=error.message, status=error.status)


def _sendable_request(job: life.Job) -> GenerationRequest:
    """The request of a job that was never sent; InvalidRequestError when its input image was not kept."""
    image = job.request.image
    if image is not None and image.url is None:
        raise InvalidRequestError(
            f"job {job.id} was never sent, and its input image is not kept in the ledger; ask for it again",
            job_id=job.id,
        )
    return job.request


def _stored_media(job: life.Job) -> StoredOutputs:
    """The media of a stored job, when every file of it is where it was put."""
    stored = [Media.from_dict(sidecar) for sidecar in (job.media or {}).get("files", ())]
    return tuple((media, None) for media in stored) if all(media.path.exists() for media in stored) else ()


def _terminal_error(job: life.Job) -> HfmediaError:
    """Why a job cannot be carried on."""
    provider = job.route.provider if job.route else None
    details: dict[str, Any] = {"provider": provider, "model": job.request.model, "job_id": job.id}
    if job.state == "in_doubt":
        return InDoubtError(
            f"job {job.id} is in doubt: {job.error}. {IN_DOUBT_HINT.replace('{job}', job.id)}", **details
        )
    if job.state == "cancelled":
        return JobCancelledError(f"job {job.id} was cancelled: {job.error}", **details)
    return GenerationFailedError(f"job {job.id} is over: {job.error or job.state}", **details)


def _is_inline(output: Output) -> bool:
    return output.data is not None or (output.url or "").startswith("data:")
