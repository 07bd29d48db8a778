"""A world on strings: a scripted sender and a keeper that keeps in memory, so that each rule can be seen alone.

What they stand in for (sockets, files) is met for real in tests/test_every_way.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hfmedia.core import job as life
from hfmedia.core.answers import Answer, Ask, Cancel, Cancelled, Check, Failed, Finished, Handle, Output, Pending, Route
from hfmedia.core.errors import LostError
from hfmedia.core.ports import Kept, Place
from hfmedia.core.provider import Abilities, Provider
from hfmedia.core.request import Request
from hfmedia.core.sizes import SizeRule
from hfmedia.core.wire import Credential, HttpReply, HttpRequest, Secret, get, post_json
from hfmedia.engine import Engine, Event, Timeouts, World
from hfmedia.ledger import MemoryLedger

WISH = Request(task="text-to-image", model="acme/kite", prompt="a red kite")
DONE = Finished(outputs=(Output(url="https://cdn.example/kite.png"),), seed=7)
RUNNING = Pending(handle=Handle("p1"), after=0)

Step = Answer | Exception | Callable[[], Any]


def route(provider: str, *, via: str = "router", credential: str = "HF_TOKEN") -> Route:
    """A route to a provider on strings."""
    return Route(
        provider=provider,
        provider_id="kite",
        model="acme/kite",
        task="text-to-image",
        base_url=f"https://{provider}.example",
        credential=credential,
        via=via,  # type: ignore[arg-type]
    )


class Script:
    """The providers' side: what each will answer, in order, and everything that happened."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Step]] = {}
        self.log: list[str] = []
        self.rests: dict[str, float] = {}
        self.slept: list[float] = []
        self.keep: list[Step] = []
        self._answers: list[Answer] = []

    def says(self, provider: str, *steps: Step) -> None:
        """What this provider will answer, one step for each ask; the last one for ever."""
        self.answers[provider] = list(steps)

    def asked(self, provider: str, verb: str = "submit") -> int:
        """How often it was asked for this."""
        return self.log.count(f"{verb} {provider}")

    # Sender
    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpReply:
        provider = request.url.removeprefix("https://").partition(".")[0]
        self.log.append(f"{request.url.rpartition('/')[2]} {provider}")
        steps = self.answers[provider]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        try:
            async with asyncio.timeout(timeout):
                step = await step() if callable(step) else step
        except TimeoutError:
            step = LostError("no answer in time")
        if isinstance(step, Exception):
            raise step
        self._answers.append(step)
        return HttpReply(status=200, body=str(len(self._answers) - 1).encode())

    # Provider
    def provider(self, name: str) -> Provider:
        def encode(ask: Ask, to: Route) -> HttpRequest:
            verb = {Check: "check", Cancel: "cancel"}.get(type(ask), "submit")
            url = f"{to.base_url}/{verb}"
            return get(url) if verb == "check" else post_json(url, {})

        def decode(ask: Ask, to: Route, reply: HttpReply) -> Answer:
            return self._answers[int(reply.body)]

        abilities = Abilities(size=SizeRule(form="pixels"), takes=frozenset({"seed"}))
        return Provider(name=name, encode=encode, decode=decode, tasks={"text-to-image": abilities}, cancels=True)

    # Memory
    def rest(self, provider: str, seconds: float) -> None:
        self.rests[provider] = seconds

    def ok(self, provider: str) -> None:
        self.rests.pop(provider, None)

    # Keeper
    async def keep_file(self, output: Output, place: Place, **_: Any) -> Kept:
        self.log.append("keep")
        if self.keep:
            step = self.keep.pop(0)
            if callable(step):
                step = await step()
            if isinstance(step, Exception):
                raise step
        path = place.file or place.folder / f"{place.job_id}.png"
        return Kept(path=path, mime="image/png", bytes=3, sha256="0", width=64, height=64)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class _Keeper:
    def __init__(self, script: Script) -> None:
        self.script = script

    async def keep(self, output: Output, place: Place, **more: Any) -> Kept:
        kept = await self.script.keep_file(output, place, **more)
        assert more["facts"](kept)["path"] == str(kept.path)
        self.script.log.append("describe")
        return kept


class _Ledger(MemoryLedger):
    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    async def append(self, fact: life.Fact, *more: life.Fact) -> life.Job:
        self.script.log += [f"write {type(one).__name__.lower()}" for one in (fact, *more)]
        return await super().append(fact, *more)


@asynccontextmanager
async def _no_fetch(url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    raise AssertionError("nothing is fetched here")
    yield


class Scene:
    """An engine in a scripted world."""

    def __init__(self, script: Script) -> None:
        self.script = script
        numbers = iter(range(1, 10_000))
        self.engine = Engine(
            World(
                sender=script,
                fetch=_no_fetch,
                keeper=_Keeper(script),
                ledger=_Ledger(script),
                provider=script.provider,
                credential=lambda to: Credential(secret=Secret("s"), base_url=to.base_url),
                memory=script,
                headers={"X-HF-Bill-To": "acme"},
                sleep=script.sleep,
                dice=lambda: 0.5,
                new_id=lambda: f"job{next(numbers)}",
            )
        )

    async def run(self, *routes: Route, n: int = 1, wish: Request = WISH, timeout: Timeouts | float = 0) -> list[Event]:
        """Every event of a run over these routes."""
        place = Place(folder=Path("/nowhere"))
        told = self.engine.generate(wish, routes, place=place, n=n, timeouts=Timeouts.of(timeout))
        return [event async for event in told]

    async def job(self, number: int = 1) -> life.Job:
        """The job of that number."""
        return await self.engine.job(f"job{number}")


@pytest.fixture
def script() -> Script:
    """The providers' side."""
    return Script()


@pytest.fixture
def scene(script: Script) -> Scene:
    """An engine on that script."""
    return Scene(script)


def failed(kind: str, **more: Any) -> Failed:
    """A failure of that kind."""
    return Failed(kind=kind, message="no luck", **more)  # type: ignore[arg-type]


__all__ = ["DONE", "RUNNING", "WISH", "Cancelled", "Scene", "Script", "failed", "route"]
