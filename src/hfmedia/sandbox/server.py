"""The sandbox as a server on loopback: the Hub, the router, the providers' own addresses and the CDN under one roof.

It is a simulation and says so in every answer.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

import msgspec

from . import faults, media, wire
from .dispatch import Providers
from .faults import Fault
from .hub import Hub
from .service import Answer, NoEncoderError, plain, told
from .world import Job, Seen, World

if TYPE_CHECKING:
    from aiohttp import web

LARGEST_REQUEST = 256 * 2**20
DIRECT = {
    "https://fal.run": "fal.run",
    "https://queue.fal.run": "queue.fal.run",
    "https://api.replicate.com": "api.replicate.com",
    "https://api.together.xyz": "api.together.xyz",
    "https://api.novita.ai": "api.novita.ai",
    "https://inference.api.nscale.com": "inference.api.nscale.com",
    "https://api.wavespeed.ai": "api.wavespeed.ai",
    "https://api.z.ai": "api.z.ai",
}
ABOUT = """hfmedia sandbox: a simulation.

Nothing here is real: not the Hub, not the router, not the providers, not the pictures. Nothing is billed.

  /api/…                the Hub
  /router/PROVIDER/…    the router
  /direct/HOST/…        a provider's own address
  /cdn/…                media
  /sandbox/help         the faults that can be ordered, and how
  /sandbox/state        what has been asked so far (JSON)
"""


class Sandbox:
    """A simulated world on loopback, for as long as the ``async with`` block lasts.

    Args:
        port: 0 for any free one.
        host: where to listen; loopback, since it is for this machine alone.
        speed: how many times faster than the demo's pace things happen.
        faults: orders, each written as ``PROVIDER:KIND[:TIMES][;detail=value…]`` or made by ``faults.order``.
    """

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", speed: float = 1.0, faults: Iterable[str | Fault] = ()
    ) -> None:
        self._host, self._port, self._speed = host, port, speed
        self._orders = list(faults)
        self._world: World | None = None
        self._runner: web.AppRunner | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        from aiohttp import web

        world = self._world = World(self._speed)
        self._providers, self._hub = Providers(world), Hub(world)
        for order in [*self._orders, *_from_environment()]:
            world.faults.add(faults.read(order) if isinstance(order, str) else order)
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=2048)
        await site.start()
        self._port = self._runner.addresses[0][1]
        world.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is None or self._world is None:
            return
        self._world.closing.set()
        await self._runner.cleanup()
        await self._world.shelf.close()

    # -- what can be seen and ordered ---------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """The state of it all; RuntimeError before the sandbox was started."""
        if self._world is None:
            raise RuntimeError("start the sandbox first: async with Sandbox() as world")
        return self._world

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.world.url

    @property
    def token(self) -> str:
        """The one HF token it accepts."""
        return self.world.token

    @property
    def keys(self) -> dict[str, str]:
        """The key that each provider accepts at its own address."""
        return dict(self.world.keys)

    @property
    def environment(self) -> dict[str, str]:
        """What to export so that a client lives in this world."""
        url = self.url
        return {
            "HF_ENDPOINT": url,
            "HFMEDIA_ROUTER": f"{url}/router",
            "HF_TOKEN": self.token,
            "HFMEDIA_TRUSTED_HOSTS": url.removeprefix("http://"),
            "HFMEDIA_BASE_URLS": ",".join(f"{origin}={url}/direct/{host}" for origin, host in DIRECT.items()),
        }

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in order."""
        return self.world.requests

    @property
    def leaks(self) -> list[Seen]:
        """Every request that showed the CDN a credential."""
        return self.world.leaks

    @property
    def submissions(self) -> Counter[str]:
        """How many jobs each provider accepted, and would have billed."""
        return self.world.submissions

    @property
    def jobs(self) -> dict[str, Job]:
        """Its jobs by their ids at the providers."""
        return self.world.jobs

    def fault(
        self,
        provider: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        step: str | None = None,
        **details: Any,
    ) -> None:
        """Orders a fault; ``faults.help_text()`` lists the kinds. ValueError when it cannot be made."""
        self.world.faults.add(faults.order(provider, kind, times=times, after=after, step=step, **details))

    def clear(self) -> None:
        """Forgets requests, counts and faults."""
        self.world.clear()

    # -- answering --------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        first, _, rest = request.raw_path.partition("?")[0].lstrip("/").partition("/")
        try:
            match first:
                case "router" | "direct":
                    return await self._provider(request, rest, body, routed=first == "router")
                case "cdn":
                    return await self._cdn(request, unquote(rest))
                case "api":
                    return await self._api(request, body)
                case _:
                    return wire.reply(await self._desk(request, body))
        except NoEncoderError as error:
            return wire.reply(plain(str(error), 501))
        except faults.OrderError as error:
            return wire.reply(plain(f"hfmedia sandbox: {error}", 400))
        except ConnectionError:  # a fault hung up, or the client did
            from aiohttp import web

            return web.Response(status=500)

    async def _provider(self, request: web.Request, address: str, body: bytes, *, routed: bool) -> web.StreamResponse:
        service, call = self._providers.call(
            unquote(address), request.method, request.query, request.headers, body, routed=routed
        )
        if service is None:
            self._see(request, body, None, "other")
            return wire.reply(plain(f"Cannot {request.method} /{address}", 404))
        route, call = self._providers.route(service, call)
        step = route.step if route else "other"
        self._see(request, body, service.name, step)
        refused = self._providers.may(service, call)
        if refused is not None:
            return wire.reply(refused)
        job = self._providers.job_of(call)
        fault = self._ordered(request, service.name, self._providers.steps(service, route, job), job)
        now = None if fault is None or fault.later else fault
        made = await self._providers.answer(service, route, msgspec.structs.replace(call, fault=fault))
        if now is not None and now.kind in faults.WIRE:
            return await wire.broken(request, made, now, self.world)
        return wire.reply(made)

    def _ordered(self, request: web.Request, name: str, steps: set[str], job: str | None) -> Fault | None:
        """The fault that strikes this request: its own header's, or the first that was ordered."""
        text = request.headers.get("x-sandbox-fault")
        if text is None:
            return self.world.faults.take(name, steps, job)
        fault = faults.read_header(text, name, steps)
        if fault.step in steps:
            return fault
        fault.job = "new"  # for a later step of the job that this submission makes
        return fault if "submit" in steps else None

    async def _cdn(self, request: web.Request, name: str) -> web.StreamResponse:
        entry = self.world.shelf.entries.get(name)
        self._see(request, b"", entry.provider if entry else None, "cdn")
        if "Authorization" in request.headers:
            self.world.leaks.append(self.world.requests[-1])
            return wire.reply(told({"error": "media needs no credential, and this request carried one"}, 400))
        fault = self._ordered(request, entry.provider, {"cdn"}, entry.job) if entry else None
        return await media.serve(self.world, request, name, fault)

    async def _api(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self._see(request, body, None, "hub")
        path = request.raw_path.partition("?")[0]
        made = self._hub.answer(request.method, path, list(request.query.items()), request.headers)
        fault = self._ordered(request, "hub", {"hub"}, None)
        if fault is None:
            return wire.reply(made)
        if fault.kind in faults.REFUSALS:
            status = {"busy": 429, "credential": 401, "forbidden": 403, "gateway": 502}.get(fault.kind, 500)
            extra = {"Retry-After": fault.text("retry_after", "1")} if fault.kind == "busy" else {}
            said = {"error": fault.text("text", "simulated trouble at the Hub")}
            return wire.reply(told(said, fault.whole("status", status), extra))
        return await wire.broken(request, made, fault, self.world)

    async def _desk(self, request: web.Request, body: bytes) -> Answer:
        """The sandbox's own pages."""
        match request.method, PurePosixPath(request.path).as_posix():
            case "GET", "/":
                return plain(ABOUT)
            case "GET", "/sandbox/help":
                return plain(faults.help_text())
            case "GET", "/sandbox/state":
                return told(self._state())
            case "GET", "/sandbox/faults":
                return told(self.world.faults.orders)
            case "POST", "/sandbox/faults":
                return self._order(body)
            case "DELETE", "/sandbox/faults":
                self.world.faults.clear()
                return told({"ok": True})
            case method, path:
                return plain(f"Cannot {method} {path}; this is the hfmedia sandbox, see /", 404)

    def _order(self, body: bytes) -> Answer:
        try:
            given = msgspec.json.decode(body, type=dict[str, Any])
            self.fault(given.pop("provider"), given.pop("kind"), **given)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            return told({"error": f"no order: {error}"}, 400)
        return told({"ok": True})

    def _state(self) -> dict[str, Any]:
        jobs = [
            {"id": job.id, "provider": job.service, "model": job.model, "state": job.state, "prompt": job.prompt}
            for job in self.jobs.values()
        ]
        kinds = Counter(seen.kind for seen in self.requests)
        return {
            "simulation": True,
            "submissions": self.submissions,
            "requests": kinds,
            "leaks": len(self.leaks),
            "jobs": jobs,
        }

    def _see(self, request: web.Request, body: bytes, provider: str | None, kind: str) -> None:
        path, _, query = request.raw_path.partition("?")
        self.world.see(Seen(request.method, path, query, dict(request.headers), body, provider, kind))


def _from_environment() -> list[str]:
    return [order.strip() for order in os.environ.get("HFMEDIA_SANDBOX_FAULTS", "").split(",") if order.strip()]


async def serve_forever(
    *, host: str = "127.0.0.1", port: int = 0, speed: float = 1.0, orders: Iterable[str] = (), ready: Any = None
) -> None:
    """Serves until it is cancelled; ``ready`` is called with the Sandbox once it listens."""
    async with Sandbox(port=port, host=host, speed=speed, faults=orders) as sandbox:
        if ready is not None:
            ready(sandbox)
        await asyncio.Event().wait()
