"""Carrying one job: buy, watch, keep. Each step writes to the ledger before the next one begins.

What an answer means is decided in core.verdict; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.answers import (
    Cancel,
    Cancelled,
    Check,
    Failed,
    Finished,
    Handle,
    Output,
    Pending,
    Route,
    Submit,
)
from hfmedia.core.complaint import complaint, sentence
from hfmedia.core.errors import (
    ExpiredError,
    HfmediaError,
    InvalidRequestError,
    LostError,
    OutOfTimeError,
    UnsentError,
)
from hfmedia.core.ports import Place
from hfmedia.core.provider import Fitted, Provider, fit
from hfmedia.core.request import Request
from hfmedia.core.retry import CHECK_RETRIES, SUBMIT_RETRIES, backoff, pace, seconds_until
from hfmedia.core.verdict import CHECKED, Verdict, judge
from hfmedia.core.wire import HttpReply, HttpRequest, redact
from hfmedia.store import Media

from .events import Accepted, Downloading, Event, Moved, Queued, Retrying, Running, Submitting
from .images import fetched
from .keep import keep_outputs
from .world import Timeouts, World

CANCEL_GRACE = 5.0  # seconds that a cancelled job may still take to learn its id and to tell the provider
UNREADABLE_CHECKS = 2  # of a status that makes no sense: once may be a hiccup, unknown is an error
TELL_EVERY = 0.1  # seconds between two progress events of a download: a terminal shows no more


Made = tuple[tuple[Media, str | None], ...]


class NextRouteError(Exception):
    """Inside the engine: this route certainly did not accept the job, and another may be asked."""

    def __init__(self, failed: Failed, verdict: Verdict, *, unsendable: InvalidRequestError | None = None) -> None:
        super().__init__(failed.message)
        self.failed, self.verdict, self.unsendable = failed, verdict, unsendable


class Carrier:
    """Carries one job. ``tell`` hears its events; ``place`` is where its file shall lie."""

    def __init__(
        self, world: World, job_id: str, index: int, *, tell: Callable[[Event], None], place: Place, timeouts: Timeouts
    ) -> None:
        self.world, self.job_id, self.index, self.place, self.timeouts = world, job_id, index, place, timeouts
        self._tell = tell
        self._deadline = asyncio.get_running_loop().time() + timeouts.total if timeouts.total else None
        self._told = 0.0
        self._slot: AbstractAsyncContextManager[object] | None = None

    # -- the whole way ------------------------------------------------------------------------------------------

    async def carry(self, wish: Request, routes: Sequence[Route]) -> Made:
        """From a wish to its files. Raises a typed error, with the job's id, when that cannot be."""
        try:
            route, answer = await self._buy_somewhere(wish, routes)
            return await self._to_the_end(route, answer)
        except asyncio.CancelledError:
            await whole(self._stop())
            raise
        except HfmediaError as error:
            error.job_id = self.job_id
            await self._ended_unsent(error)
            raise
        finally:
            await self._free_slot()

    async def resume(self, job: life.Job) -> Made:
        """From where the ledger says the job stands; nothing is ever bought here."""
        if job.route is None:
            raise InvalidRequestError(f"job {job.id} was never sent anywhere; ask for it again", job_id=job.id)
        try:
            if job.state in ("finished", "stored"):
                return await self._keep(job.route, job, job.outputs)
            if job.state == "running" and job.handle:
                return await self._to_the_end(job.route, Pending(handle=job.handle, after=0))
        except asyncio.CancelledError:
            await whole(self._stop())
            raise
        raise InvalidRequestError(f"job {job.id} is {job.state}; there is nothing to resume", job_id=job.id)

    async def _to_the_end(self, route: Route, answer: Pending | Finished) -> Made:
        outputs = answer.outputs if isinstance(answer, Finished) else await self._watch_in_time(route, answer)
        job = await self.world.ledger.job(self.job_id)
        if job is None:
            raise life.ImpossibleError(f"job {self.job_id} is not in the ledger")
        return await self._keep(route, job, outputs)

    # -- buy: the only step that costs money -------------------------------------------------------------------

    async def _buy_somewhere(self, wish: Request, routes: Sequence[Route]) -> tuple[Route, Pending | Finished]:
        """The first route that accepts, and its answer. Goes on only while nobody can have accepted."""
        refusals: list[tuple[Route, Failed]] = []
        unsendable: list[InvalidRequestError] = []
        refused_credentials: set[str] = set()
        for number, route in enumerate(routes):
            if route.credential in refused_credentials:
                continue
            if refusals:
                before, failed = refusals[-1]
                self.tell(
                    Moved, provider=route.provider, before=before.provider, reason=sentence(failed, before.provider)
                )
            onward = any(later.credential not in refused_credentials for later in routes[number + 1 :])
            try:
                return route, await self._buy(wish, route, onward=onward)
            except NextRouteError as refusal:
                refusals.append((route, refusal.failed))
                unsendable += [refusal.unsendable] if refusal.unsendable else []
                if refusal.verdict.onward == "other-credential":
                    refused_credentials.add(route.credential)
                if refusal.verdict.onward == "no":
                    break
        if len(unsendable) == len(refusals):  # nobody was asked: the request itself is at fault
            raise unsendable[-1]
        route, failed = refusals[-1]
        earlier = [sentence(other, at.provider) for at, other in refusals[:-1]]
        await self._write(life.Broken, kind=failed.kind, message=sentence(failed, route.provider), status=failed.status)
        raise complaint(failed, route, job_id=self.job_id, attempts=earlier)

    async def _buy(self, wish: Request, route: Route, *, onward: bool) -> Pending | Finished:
        """This route's answer when it accepts; NextRouteError when it certainly did not."""
        provider = self.world.provider(route.provider)
        try:
            async with asyncio.timeout(self._remaining()):
                wish = await self._with_bytes(wish, provider)
                fitted = fit(wish, provider)
                request = self._addressed(provider.encode(Submit(fitted.request), route), route)
                await self._take_slot(route.provider)
        except InvalidRequestError as error:  # this provider cannot take it; nothing was sent, the next one may
            failed = Failed(kind="refused", message=error.message)
            raise NextRouteError(failed, Verdict("refused", onward="yes"), unsendable=error) from None
        except TimeoutError:
            raise await self._out_of_time("before anything was sent", over=True) from None
        await self._write(
            life.Routed, route=route, request=life.without_media(fitted.request), warnings=fitted.warnings
        )
        try:
            return await self._submit(route, fitted, request, onward=onward)
        except NextRouteError:
            await self._free_slot()
            raise

    async def _submit(self, route: Route, fitted: Fitted, request: HttpRequest, *, onward: bool) -> Pending | Finished:
        for attempt in range(1, SUBMIT_RETRIES + 2):
            answer = await self._send_once(route, fitted, request, attempt)
            if not isinstance(answer, Failed):
                return answer
            verdict = judge(answer.kind, via=route.via)
            wait = seconds_until(answer.retry_after, answer.retry_at, self.world.clock())
            if verdict.rest:
                self.world.memory.rest(route.provider, verdict.rest if wait is None else wait)
            again = {"no": 0, "once": 1, "bounded": SUBMIT_RETRIES}[verdict.again]
            hurry = answer.kind == "busy" and onward  # another provider is free now: why wait here
            if attempt > again or hurry:
                raise NextRouteError(answer, verdict)
            after = backoff(attempt, self.world.dice()) if wait is None else wait
            if self._remaining() is not None and after >= (self._remaining() or 0):
                raise NextRouteError(answer, verdict)  # it would only be ready after the deadline
            self.tell(Retrying, provider=route.provider, reason=sentence(answer, route.provider), after=after)
            await self.world.sleep(after)
        raise AssertionError("the loop above ends by returning or raising")

    async def _send_once(
        self, route: Route, fitted: Fitted, request: HttpRequest, attempt: int
    ) -> Pending | Finished | Failed:
        """One POST that buys, written down before and after. A doubt or a loss is raised, a refusal returned."""
        limit = _least(self.timeouts.submit or None, self._remaining())
        if limit is not None and limit <= 0:
            raise await self._out_of_time("before anything was sent", over=True)
        self.tell(Submitting, provider=route.provider, attempt=attempt)
        await self._write(life.Sending, attempt=await self._attempts() + 1)
        send = asyncio.ensure_future(
            self.world.sender.send(request, credential=self.world.credential(route), timeout=limit)
        )
        try:
            await asyncio.wait({send})  # which leaves it running when this is cancelled
        except asyncio.CancelledError:  # the request is out: learn what became of it before letting go
            await whole(self._last_words(send, route, fitted))
            raise
        answer = self._understood(send, route, fitted)
        await self._written(answer, route)
        return answer

    async def _last_words(self, send: asyncio.Future[HttpReply], route: Route, fitted: Fitted) -> None:
        """What came of a submission whose job was cancelled meanwhile, written down; bounded."""
        await asyncio.wait({send}, timeout=CANCEL_GRACE)
        if not send.done():
            send.cancel()
            await asyncio.wait({send})
        with suppress(HfmediaError):  # a doubt, say: it is in the ledger now, and the cancel goes on
            await self._written(self._understood(send, route, fitted), route)

    def _understood(self, send: asyncio.Future[HttpReply], route: Route, fitted: Fitted) -> Pending | Finished | Failed:
        """What came of a submission, whatever came of it."""
        if send.cancelled():
            return Failed(kind="lost", message="it was cancelled while the provider had not answered yet")
        error = send.exception()
        if isinstance(error, UnsentError):
            return Failed(kind="unsent", message=str(error))
        if isinstance(error, LostError):
            return Failed(kind="lost", message=str(error))
        if error is not None:
            raise error
        reply = send.result()
        answer = self.world.provider(route.provider).decode(Submit(fitted.request), route, reply)
        if isinstance(answer, Cancelled):
            return Failed(kind="unreadable", message="a submission was answered as if it were a cancel", raw=reply.body)
        return answer

    async def _written(self, answer: Pending | Finished | Failed, route: Route) -> None:
        """The answer to a submission, in the ledger; raised here when it ends the job."""
        if isinstance(answer, Pending):
            await self._write(life.Accepted, handle=answer.handle)
            self.world.memory.ok(route.provider)
            self.tell(Accepted, provider=route.provider, provider_job=answer.handle.id)
            return
        if isinstance(answer, Finished):
            await self._made(route, answer)
            return
        fate = judge(answer.kind, via=route.via).fate
        words = sentence(answer, route.provider)
        if fate == "doubt":
            await self._write(life.Doubted, message=words)
            doubt = Failed(kind="lost", message=answer.message, status=answer.status, code=answer.code)
            raise complaint(doubt, route, job_id=self.job_id)
        if fate == "failed":
            await self._write(life.Broken, kind=answer.kind, message=words, status=answer.status)
            raise complaint(answer, route, job_id=self.job_id)
        await self._write(life.Refused, kind=answer.kind, message=words, status=answer.status)

    # -- watch: free, and repeated until the provider says done ---------------------------------------------------

    async def _watch_in_time(self, route: Route, pending: Pending) -> tuple[Output, ...]:
        try:
            async with asyncio.timeout(_least(self.timeouts.run or None, self._remaining())):
                await self._take_slot(route.provider)
                return await self._watch(route, pending)
        except TimeoutError:
            raise await self._out_of_time(f"while {route.provider} was at work", over=False) from None
        finally:
            await self._free_slot()

    async def _watch(self, route: Route, pending: Pending) -> tuple[Output, ...]:
        began = asyncio.get_running_loop().time()
        handle, after, troubles = pending.handle, pending.after, 0
        self._tell_progress(route, pending)
        while True:
            elapsed = asyncio.get_running_loop().time() - began
            await self.world.sleep(pace(elapsed) if after is None else after)
            answer = await self._check(route, handle)
            if isinstance(answer, Finished):
                await self._made(route, answer)
                return answer.outputs
            if isinstance(answer, Pending):
                if answer.handle != handle:
                    await self._write(life.Accepted, handle=answer.handle)
                handle, after, troubles = answer.handle, answer.after, 0
                self._tell_progress(route, answer)
                continue
            troubles += 1
            after = await self._bear(route, answer, troubles)

    async def _bear(self, route: Route, failed: Failed, troubles: int) -> float:
        """Seconds to wait after trouble while a job runs; raises when the provider ended it or patience does."""
        what = CHECKED[failed.kind]
        words = sentence(failed, route.provider, asking=True)
        if what == "over":
            await self._write(life.Broken, kind=failed.kind, message=words, status=failed.status)
            raise complaint(failed, route, job_id=self.job_id)
        if what == "detach" or troubles > (UNREADABLE_CHECKS if failed.kind == "unreadable" else CHECK_RETRIES):
            raise complaint(failed, route, job_id=self.job_id, asking=True)
        told = seconds_until(failed.retry_after, failed.retry_at, self.world.clock())
        after = backoff(troubles, self.world.dice()) if told is None else told
        self.tell(Retrying, provider=route.provider, reason=words, after=after)
        return after

    async def _check(self, route: Route, handle: Handle) -> Pending | Finished | Failed:
        provider, ask = self.world.provider(route.provider), Check(handle)
        try:
            request = self._addressed(provider.encode(ask, route), route)
            reply = await self.world.sender.send(request, credential=self.world.credential(route))
        except UnsentError as error:
            return Failed(kind="unsent", message=str(error))
        except LostError as error:
            return Failed(kind="lost", message=str(error))
        answer = provider.decode(ask, route, reply)
        return answer if not isinstance(answer, Cancelled) else Failed(kind="unreadable", message="not a status")

    # -- keep: the bytes ------------------------------------------------------------------------------------------

    async def _keep(self, route: Route, job: life.Job, outputs: tuple[Output, ...]) -> Made:
        def progress(received: int, total: int | None) -> None:
            now = asyncio.get_running_loop().time()
            if now - self._told >= TELL_EVERY or received == total:
                self._told = now
                self.tell(Downloading, provider=route.provider, received=received, total=total)

        try:
            async with asyncio.timeout(_least(self.timeouts.download or None, self._remaining())):
                kept = await keep_outputs(self.world, job, route, outputs, self.place, progress)
        except TimeoutError:
            raise await self._out_of_time("while its media was on the way here", over=False) from None
        except HfmediaError as error:
            error.job_id, error.provider, error.model = self.job_id, route.provider, route.model
            if isinstance(error, ExpiredError):
                await self._write(life.Broken, kind="gone", message=error.message, status=error.status)
            raise
        await self._write(life.Stored, media={"files": [str(media.path) for media, _ in kept]})
        return kept

    # -- letting go -------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """The job was cancelled here: tell the provider where it can be told, and write down what it said."""
        job = await self.world.ledger.job(self.job_id)
        if job is None or job.ended or job.state in ("sending", "doubt"):
            return
        reached, message = None, "nothing was sent"
        if job.route and job.state == "running" and job.handle:
            reached, message = await self.ask_to_stop(job.route, job.handle)
        elif job.state == "finished":
            reached, message = False, "the provider was already done; it may be billed"
        await self._write(life.Stopped, reached=reached, message=message)

    async def ask_to_stop(self, route: Route, handle: Handle) -> tuple[bool, str]:
        """Whether the provider agreed to stop, and its words. Bounded; never raises for trouble on the way."""
        provider = self.world.provider(route.provider)
        if not provider.cancels:
            return False, f"{route.provider} has no way to cancel; it may still be billed"
        ask = Cancel(handle)
        try:
            request = self._addressed(provider.encode(ask, route), route)
            send = self.world.sender.send(request, credential=self.world.credential(route), timeout=CANCEL_GRACE)
            answer = provider.decode(ask, route, await send)
        except (UnsentError, LostError) as error:
            return False, f"{route.provider} could not be told to stop ({error}); it may still be billed"
        if isinstance(answer, Cancelled):
            return answer.stopped, answer.message or "cancelled"
        words = sentence(answer, route.provider) if isinstance(answer, Failed) else "the job goes on there"
        return False, f"{words}; it may still be billed"

    async def _out_of_time(self, when: str, *, over: bool) -> OutOfTimeError:
        job = await self.world.ledger.job(self.job_id)
        provider, model = (job.route.provider, job.route.model) if job and job.route else (None, None)
        if over:
            await self._write(life.Broken, kind="time", message=f"out of time {when}")
            follow = "Nothing was bought."
        else:
            follow = f"Job {self.job_id} is detached, not lost: it can be resumed without paying again."
        return OutOfTimeError(
            f"the time limit passed {when}. {follow}", provider=provider, model=model, job_id=self.job_id
        )

    # -- small things ----------------------------------------------------------------------------------------------

    def tell(self, event: type[Event], /, **told: Any) -> None:
        """One event of this job."""
        self._tell(event(job_id=self.job_id, index=self.index, **told))

    def _tell_progress(self, route: Route, pending: Pending) -> None:
        progress = pending.progress
        if progress is None:
            self.tell(Running, provider=route.provider)
        elif progress.position is not None and progress.fraction is None:
            self.tell(Queued, provider=route.provider, position=progress.position)
        else:
            message = redact(progress.message) if progress.message else None
            told = {"fraction": progress.fraction, "message": message, "eta": progress.eta}
            self.tell(Running, provider=route.provider, **told)

    async def _made(self, route: Route, done: Finished) -> None:
        self.world.memory.ok(route.provider)
        job = await self._write(
            life.Made,
            outputs=life.links(done.outputs),
            seed=done.seed,
            cost=done.cost,
            timings=done.timings,
            warnings=done.warnings,
        )
        self.world.observe(route, job.updated - (job.sent or job.updated), done.cost)

    async def _write(self, fact: type[life.Fact], /, **told: Any) -> life.Job:
        return await self.world.ledger.append(fact(job=self.job_id, at=self.world.clock(), **told))

    async def _attempts(self) -> int:
        job = await self.world.ledger.job(self.job_id)
        return job.attempts if job else 0

    async def _ended_unsent(self, error: HfmediaError) -> None:
        """The end of a job that no provider ever had, where nobody has written it down yet."""
        job = await self.world.ledger.job(self.job_id)
        if job and job.state in ("new", "ready"):
            await self._write(life.Broken, kind="refused", message=error.message, status=error.status)

    async def _with_bytes(self, wish: Request, provider: Provider) -> Request:
        """The request with its image as bytes, where this provider takes no URL."""
        abilities = provider.tasks.get(wish.task)
        if wish.image is None or abilities is None or abilities.image is None or abilities.image.form != "bytes":
            return wish
        return structs.replace(wish, image=await fetched(wish.image, self.world.fetch))

    async def _take_slot(self, provider: str) -> None:
        """A place at the provider, unless this job has one; held until the provider is done with it."""
        if self._slot is None:
            slot = self.world.slot(provider)
            await slot.__aenter__()
            self._slot = slot

    async def _free_slot(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.__aexit__(None, None, None)

    def _remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def _addressed(self, request: HttpRequest, route: Route) -> HttpRequest:
        """The request with the headers that the router alone is told (who is billed, for one)."""
        if route.via == "direct":
            return request
        return structs.replace(request, headers={**request.headers, **self.world.headers})


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Does this to its end, however often the caller is cancelled meanwhile; the work bounds itself."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


def _least(*limits: float | None) -> float | None:
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None
