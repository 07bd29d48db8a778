"""Buying: the only step that costs money. Whoever may have accepted is the last one asked.

Written down before the first byte is sent, and again when it is known what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.answers import Cancelled, Failed, Finished, Pending, Route, Submit
from hfmedia.core.complaint import complaint, sentence
from hfmedia.core.errors import HfmediaError, InvalidRequestError, LostError, UnsentError
from hfmedia.core.provider import Fitted, Provider, fit
from hfmedia.core.request import Request
from hfmedia.core.retry import SUBMIT_RETRIES, backoff, seconds_until
from hfmedia.core.verdict import Verdict, judge
from hfmedia.core.wire import HttpReply, HttpRequest

from .desk import Desk, least, whole
from .events import Accepted, Moved, Retrying, Submitting
from .images import fetched

CANCEL_GRACE = 5.0  # seconds that a cancelled job may still take to learn what became of its submission
LARGE_IMAGE = 1024 * 1024  # bytes; spelling a larger one as base64 would be felt by everybody else on the loop


class NextRouteError(Exception):
    """Inside the engine: this route certainly did not accept the job, and another may be asked."""

    def __init__(self, failed: Failed, verdict: Verdict, *, unsendable: InvalidRequestError | None = None) -> None:
        super().__init__(failed.message)
        self.failed, self.verdict, self.unsendable = failed, verdict, unsendable


class Buyer:
    """Gets one job accepted by one provider, or says why nobody took it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.finished: Finished | None = None  # what was bought, even when nobody waits for it any more

    async def somewhere(self, wish: Request, routes: Sequence[Route]) -> tuple[Route, Pending | Finished]:
        """The first route that accepts, and its answer. Goes on only while nobody can have accepted."""
        refusals: list[tuple[Route, Failed]] = []
        unsendable: list[InvalidRequestError] = []
        refused_credentials: set[str] = set()
        for number, route in enumerate(routes):
            if route.credential in refused_credentials:
                continue
            if refusals:
                before, failed = refusals[-1]
                self.desk.tell(
                    Moved, provider=route.provider, before=before.provider, reason=sentence(failed, before.provider)
                )
            onward = any(later.credential not in refused_credentials for later in routes[number + 1 :])
            try:
                return route, await self._at(wish, route, onward=onward)
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
        await self.desk.write(
            life.Broken, kind=failed.kind, message=sentence(failed, route.provider), status=failed.status
        )
        raise complaint(failed, route, job_id=self.desk.job_id, attempts=earlier)

    async def _at(self, wish: Request, route: Route, *, onward: bool) -> Pending | Finished:
        """This route's answer when it accepts; NextRouteError when it certainly did not."""
        provider = self.desk.world.provider(route.provider)
        try:
            async with asyncio.timeout(self.desk.remaining()):
                wish = await self._with_bytes(wish, provider)
                fitted = fit(wish, provider)
                request = self.desk.addressed(await self._spelled(provider, fitted.request, route), route)
                await self.desk.take_slot(route.provider)
        except InvalidRequestError as error:  # this provider cannot take it; nothing was sent, the next one may
            failed = Failed(kind="refused", message=error.message)
            raise NextRouteError(failed, Verdict("refused", onward="yes"), unsendable=error) from None
        except TimeoutError:
            raise await self.desk.out_of_time("before anything was sent", over=True) from None
        try:
            return await self._submit(route, fitted, request, onward=onward)
        except NextRouteError:
            await self.desk.free_slot()
            raise

    async def _submit(self, route: Route, fitted: Fitted, request: HttpRequest, *, onward: bool) -> Pending | Finished:
        for attempt in range(1, SUBMIT_RETRIES + 2):
            answer = await self._send_once(route, fitted, request, attempt)
            if not isinstance(answer, Failed):
                return answer
            verdict = judge(answer.kind, via=route.via)
            wait = seconds_until(answer.retry_after, answer.retry_at, self.desk.world.clock())
            if verdict.rest:
                self.desk.world.memory.rest(route.provider, verdict.rest if wait is None else wait)
            again = {"no": 0, "once": 1, "bounded": SUBMIT_RETRIES}[verdict.again]
            hurry = answer.kind == "busy" and onward  # another provider is free now: why wait here
            if attempt > again or hurry:
                raise NextRouteError(answer, verdict)
            after = backoff(attempt, self.desk.world.dice()) if wait is None else wait
            if self.desk.remaining() is not None and after >= (self.desk.remaining() or 0):
                raise NextRouteError(answer, verdict)  # it would only be ready after the deadline
            self.desk.tell(Retrying, provider=route.provider, reason=sentence(answer, route.provider), after=after)
            await self.desk.world.sleep(after)
        raise AssertionError("the loop above ends by returning or raising")

    async def _send_once(
        self, route: Route, fitted: Fitted, request: HttpRequest, attempt: int
    ) -> Pending | Finished | Failed:
        """One POST that buys, written down before and after. A doubt or a loss is raised, a refusal returned."""
        limit = least(self.desk.timeouts.submit or None, self.desk.remaining())
        if limit is not None and limit <= 0:
            raise await self.desk.out_of_time("before anything was sent", over=True)
        credential = self.desk.world.credential(route)
        self.desk.tell(Submitting, provider=route.provider, attempt=attempt)
        try:
            facts = [self.desk.fact(life.Sending, attempt=(await self.desk.known()).attempts + 1)]
            if attempt == 1:
                written = life.without_media(fitted.request)
                facts.insert(0, self.desk.fact(life.Routed, route=route, request=written, warnings=fitted.warnings))
            await self.desk.append(*facts)
        except asyncio.CancelledError:  # it may be written all the same, but nothing was sent yet
            await whole(self._taken_back(route))
            raise
        send = asyncio.ensure_future(self.desk.world.sender.send(request, credential=credential, timeout=limit))
        try:
            await asyncio.wait({send})  # which leaves it running when this is cancelled
        except asyncio.CancelledError:  # the request is out: learn what became of it before letting go
            await whole(self._last_words(send, route, fitted))
            raise
        answer = self._understood(send, route, fitted)
        await self._written(answer, route)
        return answer

    async def _taken_back(self, route: Route) -> None:
        """A submission that was announced and is not begun: no doubt about that one."""
        if (await self.desk.job()).state == "sending":
            words = f"cancelled before anything was sent to {route.provider}"
            await self.desk.write(life.Refused, kind="unsent", message=words)

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
        if error is not None:  # a defect of ours: nobody knows how far it came
            return Failed(kind="lost", message=f"unexpected: {type(error).__name__}: {error}")
        reply = send.result()
        answer = self.desk.world.provider(route.provider).decode(Submit(fitted.request), route, reply)
        if isinstance(answer, Cancelled):
            return Failed(kind="unreadable", message="a submission was answered as if it were a cancel", raw=reply.body)
        return answer

    async def _written(self, answer: Pending | Finished | Failed, route: Route) -> None:
        """The answer to a submission, in the ledger; raised here when it ends the job."""
        if isinstance(answer, Pending):
            await self.desk.write(life.Accepted, handle=answer.handle)
            self.desk.world.memory.ok(route.provider)
            self.desk.tell(Accepted, provider=route.provider, provider_job=answer.handle.id)
            return
        if isinstance(answer, Finished):
            self.finished = answer
            await self.desk.made(route, answer)
            return
        fate = judge(answer.kind, via=route.via).fate
        words = sentence(answer, route.provider)
        if fate == "doubt":
            await self.desk.write(life.Doubted, message=words)
            doubt = Failed(kind="lost", message=answer.message, status=answer.status, code=answer.code)
            raise complaint(doubt, route, job_id=self.desk.job_id)
        if fate == "failed":
            await self.desk.write(life.Broken, kind=answer.kind, message=words, status=answer.status)
            raise complaint(answer, route, job_id=self.desk.job_id)
        await self.desk.write(life.Refused, kind=answer.kind, message=words, status=answer.status)

    async def _spelled(self, provider: Provider, wish: Request, route: Route) -> HttpRequest:
        """The request in the provider's own words; a large image is spelled beside the loop."""
        ask = Submit(wish)
        if wish.image and wish.image.data and len(wish.image.data) > LARGE_IMAGE:
            return await asyncio.to_thread(provider.encode, ask, route)
        return provider.encode(ask, route)

    async def _with_bytes(self, wish: Request, provider: Provider) -> Request:
        """The request with its image as bytes, where this provider takes no URL."""
        abilities = provider.tasks.get(wish.task)
        if wish.image is None or abilities is None or abilities.image is None or abilities.image.form != "bytes":
            return wish
        return structs.replace(wish, image=await fetched(wish.image, self.desk.world.fetch))
