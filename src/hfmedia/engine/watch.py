"""Watching: free, and repeated until the provider says done. Trouble in asking is not trouble with the job."""

from __future__ import annotations

import asyncio

from hfmedia.core import job as life
from hfmedia.core.answers import Cancelled, Check, Failed, Finished, Handle, Output, Pending, Route
from hfmedia.core.complaint import complaint, sentence
from hfmedia.core.errors import LostError, UnsentError
from hfmedia.core.retry import CHECK_RETRIES, backoff, pace, seconds_until
from hfmedia.core.verdict import CHECKED

from .desk import Desk, least
from .events import Retrying

UNREADABLE_CHECKS = 2  # of a status that makes no sense: once may be a hiccup, unknown is an error


class Watcher:
    """Asks for one accepted job until it is done, over, or patience ends."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def to_its_end(self, route: Route, pending: Pending, sent: float | None) -> tuple[Output, ...]:
        """What the provider made of what was ``sent`` then (unix seconds).

        Raises when it failed the job, or when patience ended and the job goes on there.
        """
        try:
            async with asyncio.timeout(least(self.desk.timeouts.run or None, self.desk.remaining())):
                await self.desk.take_slot(route.provider)
                return await self._watch(route, pending, sent)
        except TimeoutError:
            raise await self.desk.out_of_time(f"while {route.provider} was at work", over=False) from None
        finally:
            await self.desk.free_slot()

    async def _watch(self, route: Route, pending: Pending, sent: float | None) -> tuple[Output, ...]:
        clock = self.desk.world.clock
        began = clock() if sent is None else sent
        expected = await self.desk.world.expect(route)
        handle, after, troubles = pending.handle, pending.after, 0
        self.desk.tell_progress(route, pending)
        while True:
            await self.desk.world.sleep(pace(clock() - began, expected) if after is None else after)
            answer = await self._check(route, handle)
            if isinstance(answer, Finished):
                await self.desk.made(route, answer)
                return answer.outputs
            if isinstance(answer, Pending):
                if answer.handle != handle:
                    await self.desk.write(life.Accepted, handle=answer.handle)
                handle, after, troubles = answer.handle, answer.after, 0
                self.desk.tell_progress(route, answer)
                continue
            troubles += 1
            after = await self._bear(route, answer, troubles)

    async def _bear(self, route: Route, failed: Failed, troubles: int) -> float:
        """Seconds to wait after trouble while a job runs; raises when the provider ended it or patience does."""
        what = CHECKED[failed.kind]
        words = sentence(failed, route.provider, asking=True)
        if what == "over":
            await self.desk.write(life.Broken, kind=failed.kind, message=words, status=failed.status)
            raise complaint(failed, route, job_id=self.desk.job_id)
        if what == "detach" or troubles > (UNREADABLE_CHECKS if failed.kind == "unreadable" else CHECK_RETRIES):
            raise complaint(failed, route, job_id=self.desk.job_id, asking=True)
        told = seconds_until(failed.retry_after, failed.retry_at, self.desk.world.clock())
        after = backoff(troubles, self.desk.world.dice()) if told is None else told
        self.desk.tell(Retrying, provider=route.provider, reason=words, after=after)
        return after

    async def _check(self, route: Route, handle: Handle) -> Pending | Finished | Failed:
        provider, ask = self.desk.world.provider(route.provider), Check(handle)
        try:
            request = self.desk.addressed(provider.encode(ask, route), route)
            reply = await self.desk.world.sender.send(request, credential=self.desk.world.credential(route))
        except UnsentError as error:
            return Failed(kind="unsent", message=str(error))
        except LostError as error:
            return Failed(kind="lost", message=str(error))
        answer = provider.decode(ask, route, reply)
        return answer if not isinstance(answer, Cancelled) else Failed(kind="unreadable", message="not a status")
