"""Carrying one job: buy, watch, keep. Each step writes to the ledger before the next one begins.

What an answer means is decided in core.verdict; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hfmedia.core import job as life
from hfmedia.core.answers import Cancel, Cancelled, Failed, Finished, Handle, Output, Pending, Route
from hfmedia.core.complaint import sentence
from hfmedia.core.errors import (
    ExpiredError,
    FailedError,
    HfmediaError,
    InDoubtError,
    InvalidRequestError,
    JobCancelledError,
    LostError,
    UnsentError,
)
from hfmedia.core.ports import Place
from hfmedia.core.request import Request
from hfmedia.store import Media

from .buy import Buyer
from .desk import Desk, least, whole
from .events import Downloading, Event
from .keep import Made, keep_outputs
from .watch import Watcher
from .world import Timeouts, World

CANCEL_PATIENCE = 5.0  # seconds for telling a provider to stop; beyond that the caller's own wish comes first
DOUBT = (
    "Look at the provider's own dashboard, then decide: `hfmedia jobs resolve {job} --resend` or `--drop`. It is never "
    "sent again by itself"
)
TELL_EVERY = 0.1  # seconds between two progress events of a download: a terminal shows no more


class Carrier:
    """Carries one job. ``tell`` hears its events; ``place`` is where its file shall lie."""

    def __init__(
        self,
        world: World,
        job_id: str,
        index: int,
        *,
        tell: Callable[[Event], None],
        place: Place,
        timeouts: Timeouts,
        known: life.Job | None = None,
    ) -> None:
        self.desk = Desk(world, job_id, index, tell=tell, timeouts=timeouts, known=known)
        self.job_id, self.index, self.place = job_id, index, place
        self.inline: tuple[Output, ...] = ()  # media that came inside a reply and is not stored yet
        self.detached = False  # let go of here, while the provider goes on
        self.keeps_unsent = False  # let go of so that it is sent later, if it was not sent yet
        self._told = 0.0

    async def carry(self, wish: Request, routes: Sequence[Route]) -> Made:
        """From a wish to its files. Raises a typed error, with the job's id, when that cannot be."""
        buyer = Buyer(self.desk)
        try:
            route, answer = await buyer.somewhere(wish, routes)
            return await self._to_the_end(route, answer)
        except asyncio.CancelledError:
            await whole(self._stop(buyer.finished))
            raise
        except HfmediaError as error:
            error.job_id = self.job_id
            await self._ended_unsent(error)
            raise
        finally:
            await self.desk.free_slot()

    async def resume(self, job: life.Job, *, routes: Sequence[Route] = (), outputs: tuple[Output, ...] = ()) -> Made:
        """From where the ledger says the job stands. What may have been bought is never bought again.

        ``routes`` are for a job that was never sent; ``outputs`` holds inline media that waits for a place.
        """
        if job.state in ("new", "ready"):
            return await self.carry(_kept_whole(job), routes)
        if job.state == "sending":  # whoever sent it is gone, and took the answer along
            job = await self.desk.write(life.Doubted, message="the process ended while the request was on its way")
        if job.state == "stored" and (there := _files(job)):
            return there
        try:
            if job.route and job.state in ("finished", "stored"):
                return await self._keep(job.route, job, outputs or job.outputs)
            if job.route and job.handle and job.state == "running":
                return await self._to_the_end(job.route, Pending(handle=job.handle, after=0))
        except asyncio.CancelledError:
            await whole(self._stop())
            raise
        finally:
            await self.desk.free_slot()
        raise _over(job)

    async def _to_the_end(self, route: Route, answer: Pending | Finished) -> Made:
        if isinstance(answer, Finished):
            await self.desk.free_slot()
            outputs = answer.outputs
        else:
            outputs = await Watcher(self.desk).to_its_end(route, answer, (await self.desk.known()).sent)
        return await self._keep(route, await self.desk.known(), outputs)

    async def _keep(self, route: Route, job: life.Job, outputs: tuple[Output, ...]) -> Made:
        def progress(received: int, total: int | None) -> None:
            now = asyncio.get_running_loop().time()
            if now - self._told >= TELL_EVERY or received == total:
                self._told = now
                self.desk.tell(Downloading, provider=route.provider, received=received, total=total)

        try:
            async with asyncio.timeout(least(self.desk.timeouts.download or None, self.desk.remaining())):
                kept, facts = await keep_outputs(self.desk.world, job, route, outputs, self.place, progress)
        except TimeoutError:
            raise await self.desk.out_of_time("while its media was on the way here", over=False) from None
        except HfmediaError as error:
            self.inline = tuple(outputs) if any(_is_inline(output) for output in outputs) else ()
            error.job_id, error.provider, error.model = self.desk.job_id, route.provider, route.model
            if isinstance(error, ExpiredError) and job.state != "stored":  # that one was done, whatever became of it
                await self.desk.write(life.Broken, kind="gone", message=error.message, status=error.status)
            raise
        await self.desk.write(life.Stored, media={"files": facts})
        return kept

    async def _stop(self, finished: Finished | None = None) -> None:
        """The job was cancelled here: tell the provider where it can be told, and write down what it said."""
        job = await self.desk.job()
        if job.state in ("new", "ready") and not self.keeps_unsent:
            await self.desk.write(life.Stopped, reached=None, message="nothing was sent")
        elif job.state == "running" and job.route and job.handle and not self.detached:
            reached, message = await self.ask_to_stop(job.route, job.handle)
            await self.desk.write(life.Stopped, reached=reached, message=message)
        elif job.state == "finished" and job.route and finished and any(map(_is_inline, finished.outputs)):
            with suppress(HfmediaError):  # paid for and in our hands: it needs no more than a file
                await self._keep(job.route, job, finished.outputs)
        # any other job stays as it is: running where it is let go of, or finished, paid for, and still to be fetched

    async def ask_to_stop(self, route: Route, handle: Handle) -> tuple[bool, str]:
        """Whether the provider agreed to stop, and its words. Bounded; never raises for trouble on the way."""
        provider = self.desk.world.provider(route.provider)
        if not provider.cancels:
            return False, f"{route.provider} has no way to cancel; it may still be billed"
        ask = Cancel(handle)
        try:
            request = self.desk.addressed(provider.encode(ask, route), route)
            send = self.desk.world.sender.send(
                request, credential=self.desk.world.credential(route), timeout=CANCEL_PATIENCE
            )
            answer = provider.decode(ask, route, await send)
        except (UnsentError, LostError) as error:
            return False, f"{route.provider} could not be told to stop ({error}); it may still be billed"
        if isinstance(answer, Cancelled):
            return answer.stopped, answer.message or "cancelled"
        words = sentence(answer, route.provider) if isinstance(answer, Failed) else "the job goes on there"
        return False, f"{words}; it may still be billed"

    async def _ended_unsent(self, error: HfmediaError) -> None:
        """The end of a job that no provider ever had, where nobody has written it down yet."""
        if (await self.desk.job()).state in ("new", "ready"):
            await self.desk.write(life.Broken, kind="refused", message=error.message, status=error.status)


def _kept_whole(job: life.Job) -> Request:
    """The request of a job that was never sent; InvalidRequestError when its input image was not kept."""
    image = job.request.image
    if image is not None and image.url is None:
        raise InvalidRequestError(
            f"job {job.id} was never sent, and its input image is not kept in the ledger; ask for it again",
            job_id=job.id,
        )
    return job.request


def _files(job: life.Job) -> Made:
    """The media of a stored job, when every file of it is where it was put."""
    told = [Media.of(facts) for facts in (job.media or {}).get("files", ())]
    return tuple((media, None) for media in told) if all(media.path.exists() for media in told) else ()


def _over(job: life.Job) -> HfmediaError:
    """Why a job cannot be carried on."""
    provider = job.route.provider if job.route else None
    where: dict[str, Any] = {"provider": provider, "model": job.request.model, "job_id": job.id}
    if job.state == "doubt":
        return InDoubtError(f"job {job.id} is in doubt: {job.error}. {DOUBT.replace('{job}', job.id)}", **where)
    if job.state == "cancelled":
        return JobCancelledError(f"job {job.id} was cancelled: {job.error}", **where)
    return FailedError(f"job {job.id} is over: {job.error or job.state}", **where)


def _is_inline(output: Output) -> bool:
    return output.data is not None or (output.url or "").startswith("data:")
