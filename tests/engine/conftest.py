"""A scripted sender and storage in memory, so that each rule of the engine can be tested alone.

The real ones (sockets, files) are used in tests/test_provider_task_matrix.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hfmedia.core import job as life
from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.errors import ResponseLostError
from hfmedia.core.http import HttpRequest, HttpResponse, get, post_json
from hfmedia.core.ports import OutputTarget, StoredFile
from hfmedia.core.protocol import (
    Cancel,
    CancelResult,
    Completed,
    Failure,
    JobHandle,
    Operation,
    OperationResult,
    Output,
    Pending,
    Poll,
    Route,
)
from hfmedia.core.provider import Capabilities, Provider
from hfmedia.core.request import GenerationRequest
from hfmedia.core.sizes import SizeConstraints
from hfmedia.engine import Engine, EngineDependencies, Event, Timeouts
from hfmedia.ledger import Ledger, MemoryLedger

REQUEST = GenerationRequest(task="text-to-image", model="acme/kite", prompt="a red kite")
DONE = Completed(outputs=(Output(url="https://cdn.example/kite.png"),), seed=7)
RUNNING = Pending(handle=JobHandle("p1"), poll_after=0)

Step = OperationResult | Exception | Callable[[], Any]


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


class ScriptedProviders:
    """The providers' side: what each will answer, in order, and everything that happened."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Step]] = {}
        self.log: list[str] = []
        self.cooldowns: dict[str, float] = {}
        self.slept: list[float] = []
        self.storage_steps: list[Step] = []
        self._answers: list[OperationResult] = []

    def script(self, provider: str, *steps: Step) -> None:
        """What this provider will answer, one step for each ask; the last one for ever."""
        self.answers[provider] = list(steps)

    def call_count(self, provider: str, verb: str = "submit") -> int:
        """How often it was asked for this."""
        return self.log.count(f"{verb} {provider}")

    # Sender
    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpResponse:
        provider = request.url.removeprefix("https://").partition(".")[0]
        self.log.append(f"{request.url.rpartition('/')[2]} {provider}")
        steps = self.answers[provider]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        try:
            async with asyncio.timeout(timeout):
                step = await step() if callable(step) else step
        except TimeoutError:
            step = ResponseLostError("no answer in time")
        if isinstance(step, Exception):
            raise step
        self._answers.append(step)
        return HttpResponse(status=200, body=str(len(self._answers) - 1).encode())

    # Provider
    def provider(self, name: str) -> Provider:
        def encode(ask: Operation, to: Route) -> HttpRequest:
            verb = {Poll: "check", Cancel: "cancel"}.get(type(ask), "submit")
            url = f"https://{to.provider}.example/{verb}"
            return get(url) if verb == "check" else post_json(url, {})

        def decode(ask: Operation, to: Route, reply: HttpResponse) -> OperationResult:
            return self._answers[int(reply.body)]

        abilities = Capabilities(size=SizeConstraints(style="pixels"), parameters=frozenset({"seed"}))
        return Provider(name=name, encode=encode, decode=decode, tasks={"text-to-image": abilities}, can_cancel=True)

    # Memory
    def cool_down(self, provider: str, seconds: float) -> None:
        self.cooldowns[provider] = seconds

    def mark_healthy(self, provider: str) -> None:
        self.cooldowns.pop(provider, None)

    # Keeper
    async def save_file(self, output: Output, place: OutputTarget, **_: Any) -> StoredFile:
        self.log.append("keep")
        if self.storage_steps:
            step = self.storage_steps.pop(0)
            if callable(step):
                step = await step()
            if isinstance(step, Exception):
                raise step
        path = place.file or place.folder / f"{place.job_id}.png"
        return StoredFile(path=path, mime="image/png", bytes=3, sha256="0", width=64, height=64)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class _FakeStorage:
    def __init__(self, script: ScriptedProviders) -> None:
        self.script = script

    async def save(self, output: Output, target: OutputTarget, **more: Any) -> StoredFile:
        kept = await self.script.save_file(output, target, **more)
        assert more["build_sidecar"](kept)["path"] == str(kept.path)
        self.script.log.append("describe")
        return kept


class _Ledger(MemoryLedger):
    def __init__(self, script: ScriptedProviders) -> None:
        super().__init__()
        self.script = script

    async def append(self, entry: life.LedgerEntry, *more: life.LedgerEntry) -> life.Job:
        self.script.log += [f"write {life.entry_tag(item)}" for item in (entry, *more)]
        return await super().append(entry, *more)


@asynccontextmanager
async def _no_fetch(url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    raise AssertionError("nothing is fetched here")
    yield


class EngineHarness:
    """An engine in a scripted world."""

    def __init__(self, script: ScriptedProviders, ledger: Ledger | None = None) -> None:
        self.script = script
        numbers = iter(range(1, 10_000))
        self.engine = Engine(
            EngineDependencies(
                sender=script,
                fetch=_no_fetch,
                storage=_FakeStorage(script),
                ledger=ledger or _Ledger(script),
                get_provider=script.provider,
                credential_for=lambda to: Credential(secret=Secret("s"), base_url=to.base_url),
                health=script,
                router_headers={"X-HF-Bill-To": "acme"},
                sleep=script.sleep,
                random_float=lambda: 0.5,
                new_id=lambda: f"job{next(numbers)}",
            )
        )

    async def run(
        self, *routes: Route, n: int = 1, request: GenerationRequest = REQUEST, timeout: Timeouts | float = 0
    ) -> list[Event]:
        """Every event of a run over these routes."""
        place = OutputTarget(folder=Path("/nowhere"))
        events = self.engine.generate(request, routes, target=place, n=n, timeouts=Timeouts.parse(timeout))
        return [event async for event in events]

    async def resume(self, job_id: str) -> list[Event]:
        """Every event of a resumed job."""
        return [event async for event in self.engine.resume(job_id, target=OutputTarget(folder=Path("/nowhere")))]

    async def job(self, number: int = 1) -> life.Job:
        """The job of that number."""
        return await self.engine.get_job(f"job{number}")


@pytest.fixture
def script() -> ScriptedProviders:
    """The providers' side."""
    return ScriptedProviders()


@pytest.fixture
def scene(script: ScriptedProviders) -> EngineHarness:
    """An engine on that script."""
    return EngineHarness(script)


async def until_idle() -> None:
    """Returns once only unanswered work is left: nothing here waits for a thread, a socket or a clock."""
    for _ in range(200):
        await asyncio.sleep(0)


def expect_failed(kind: str, **more: Any) -> Failure:
    """A failure of that kind."""
    return Failure(kind=kind, message="no luck", **more)  # type: ignore[arg-type]


__all__ = [
    "DONE",
    "REQUEST",
    "RUNNING",
    "CancelResult",
    "EngineHarness",
    "ScriptedProviders",
    "expect_failed",
    "route",
    "until_idle",
]
