"""HTTP server of the sandbox on loopback: the Hub, the router, the providers' own APIs and the CDN on one port.

Every response names the sandbox in its Server header.
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

from . import faults, http_faults, media
from .dispatch import ProviderRegistry
from .faults import Fault
from .hub import SimulatedHub
from .messages import NoEncoderError, SandboxResponse, json_response, text_response
from .state import RecordedRequest, SandboxJob, SandboxState

if TYPE_CHECKING:
    from aiohttp import web

MAX_REQUEST_BYTES = 256 * 2**20
DIRECT_HOSTS = {
    "https://fal.run": "fal.run",
    "https://queue.fal.run": "queue.fal.run",
    "https://api.replicate.com": "api.replicate.com",
    "https://api.together.xyz": "api.together.xyz",
    "https://api.novita.ai": "api.novita.ai",
    "https://inference.api.nscale.com": "inference.api.nscale.com",
    "https://api.wavespeed.ai": "api.wavespeed.ai",
    "https://api.z.ai": "api.z.ai",
}
DESCRIPTION = """hfmedia sandbox: a simulation.

Nothing here is real: neither the Hub, the router and the providers nor the images and videos. Nothing is billed.

  /api/…                the Hub
  /router/PROVIDER/…    the router
  /direct/HOST/…        a provider's own API
  /cdn/…                media files
  /sandbox/help         faults and how to inject them
  /sandbox/faults       pending faults (JSON); POST adds one, DELETE removes all
  /sandbox/state        requests, submissions and jobs so far (JSON)
"""


class Sandbox:
    """Simulated Hub, router, providers and CDN on loopback, running inside an ``async with`` block.

    Args:
        port: port to listen on; 0 for any free one.
        host: address to listen on; loopback, since the sandbox is for this machine only.
        speed: speed-up factor; at 1 an image takes about a second and a video about five.
        faults: faults to inject, as ``PROVIDER:KIND[:TIMES][;detail=value…]`` or created by ``faults.make_fault``.
    """

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", speed: float = 1.0, faults: Iterable[str | Fault] = ()
    ) -> None:
        self._host, self._port, self._speed = host, port, speed
        self._fault_specs = list(faults)
        self._sandbox_state: SandboxState | None = None
        self._runner: web.AppRunner | None = None

    # -- lifecycle ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        from aiohttp import web

        state = self._sandbox_state = SandboxState(self._speed)
        self._providers, self._hub = ProviderRegistry(state), SimulatedHub(state)
        for fault_spec in [*self._fault_specs, *_environment_faults()]:
            state.faults.add(faults.parse_fault(fault_spec) if isinstance(fault_spec, str) else fault_spec)
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=2048)
        await site.start()
        self._port = self._runner.addresses[0][1]
        state.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is None or self._sandbox_state is None:
            return
        self._sandbox_state.closing.set()
        await self._runner.cleanup()
        await self._sandbox_state.media_cache.close()

    # -- inspection and faults ----------------------------------------------------------------------------------

    @property
    def state(self) -> SandboxState:
        """Shared state. Raises RuntimeError before the sandbox is started."""
        if self._sandbox_state is None:
            raise RuntimeError("start the sandbox first: async with Sandbox() as sandbox")
        return self._sandbox_state

    @property
    def url(self) -> str:
        """Base URL."""
        return self.state.url

    @property
    def token(self) -> str:
        """The only Hugging Face token that it accepts."""
        return self.state.token

    @property
    def keys(self) -> dict[str, str]:
        """API key that each provider accepts at its own API."""
        return dict(self.state.keys)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point a client at this sandbox."""
        url = self.url
        return {
            "HF_ENDPOINT": url,
            "HFMEDIA_ROUTER": f"{url}/router",
            "HF_TOKEN": self.token,
            "HFMEDIA_TRUSTED_HOSTS": url.removeprefix("http://"),
            "HFMEDIA_BASE_URLS": ",".join(f"{origin}={url}/direct/{host}" for origin, host in DIRECT_HOSTS.items()),
        }

    @property
    def requests(self) -> list[RecordedRequest]:
        """Recorded requests, oldest first."""
        return self.state.requests

    @property
    def leaks(self) -> list[RecordedRequest]:
        """Requests that sent a credential to the CDN."""
        return self.state.leaks

    @property
    def submissions(self) -> Counter[str]:
        """Number of jobs accepted per provider, each of which would have been billed."""
        return self.state.submissions

    @property
    def jobs(self) -> dict[str, SandboxJob]:
        """Jobs by provider job ID."""
        return self.state.jobs

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
        """Inject a fault; ``faults.help_text()`` lists the kinds. Raises ValueError when it is not valid."""
        self.state.faults.add(faults.make_fault(provider, kind, times=times, after=after, step=step, **details))

    def clear(self) -> None:
        """Reset requests, leaks, counts and faults."""
        self.state.clear()

    # -- request handling -------------------------------------------------------------------------------------------

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        prefix, _, remainder = request.raw_path.partition("?")[0].lstrip("/").partition("/")
        try:
            match prefix:
                case "router" | "direct":
                    return await self._handle_provider(request, remainder, body, routed=prefix == "router")
                case "cdn":
                    return await self._handle_cdn(request, unquote(remainder))
                case "api":
                    return await self._handle_hub(request, body)
                case _:
                    return http_faults.to_web_response(await self._handle_admin(request, body))
        except NoEncoderError as error:
            return http_faults.to_web_response(text_response(str(error), 501))
        except faults.FaultSpecError as error:
            return http_faults.to_web_response(text_response(f"hfmedia sandbox: {error}", 400))
        except ConnectionError:  # closed by a fault or by the client
            from aiohttp import web

            return web.Response(status=500)

    async def _handle_provider(
        self, request: web.Request, address: str, body: bytes, *, routed: bool
    ) -> web.StreamResponse:
        service, provider_request = self._providers.resolve(
            unquote(address), request.method, request.query, request.headers, body, routed=routed
        )
        if service is None:
            self._record_request(request, body, None, "other")
            return http_faults.to_web_response(text_response(f"Cannot {request.method} /{address}", 404))
        route, provider_request = self._providers.match_route(service, provider_request)
        step = route.step if route else "other"
        self._record_request(request, body, service.name, step)
        rejection = self._providers.check_credential(service, provider_request)
        if rejection is not None:
            return http_faults.to_web_response(rejection)
        job_id = self._providers.job_id_of(provider_request)
        fault = self._take_fault(request, service.name, self._providers.steps_of(service, route, job_id), job_id)
        immediate_fault = None if fault is None or fault.is_deferred else fault
        response = await self._providers.respond(service, route, msgspec.structs.replace(provider_request, fault=fault))
        if immediate_fault is not None and immediate_fault.kind in faults.CONNECTION_KINDS:
            return await http_faults.faulty_response(request, response, immediate_fault, self.state)
        return http_faults.to_web_response(response)

    def _take_fault(self, request: web.Request, name: str, steps: set[str], job_id: str | None) -> Fault | None:
        """Return the fault that hits this request: the one in its own header, or the first pending one."""
        header = request.headers.get("x-sandbox-fault")
        if header is None:
            return self.state.faults.take(name, steps, job_id)
        fault = faults.parse_fault_header(header, name, steps)
        if fault.step in steps:
            return fault
        fault.job_id = "new"  # targets a later step of the job that this submission creates
        return fault if "submit" in steps else None

    async def _handle_cdn(self, request: web.Request, name: str) -> web.StreamResponse:
        entry = self.state.media_cache.entries.get(name)
        self._record_request(request, b"", entry.provider if entry else None, "cdn")
        if "Authorization" in request.headers:
            self.state.leaks.append(self.state.requests[-1])
            return http_faults.to_web_response(
                json_response({"error": "media files need no credential, but this request sent one"}, 400)
            )
        fault = self._take_fault(request, entry.provider, {"cdn"}, entry.job_id) if entry else None
        return await media.serve(self.state, request, name, fault)

    async def _handle_hub(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self._record_request(request, body, None, "hub")
        path = request.raw_path.partition("?")[0]
        response = self._hub.respond(request.method, path, list(request.query.items()), request.headers)
        fault = self._take_fault(request, "hub", {"hub"}, None)
        if fault is None:
            return http_faults.to_web_response(response)
        if fault.kind in faults.REJECTION_KINDS:
            status = {"rate-limit": 429, "unauthorized": 401, "forbidden": 403, "gateway": 502}.get(fault.kind, 500)
            extra = {"Retry-After": fault.text("retry_after", "1")} if fault.kind == "rate-limit" else {}
            payload = {"error": fault.text("text", "simulated Hub error")}
            return http_faults.to_web_response(json_response(payload, fault.integer("status", status), extra))
        return await http_faults.faulty_response(request, response, fault, self.state)

    async def _handle_admin(self, request: web.Request, body: bytes) -> SandboxResponse:
        """Serve the sandbox's own pages."""
        match request.method, PurePosixPath(request.path).as_posix():
            case "GET", "/":
                return text_response(DESCRIPTION)
            case "GET", "/sandbox/help":
                return text_response(faults.help_text())
            case "GET", "/sandbox/state":
                return json_response(self._state_json())
            case "GET", "/sandbox/faults":
                return json_response(self.state.faults.pending)
            case "POST", "/sandbox/faults":
                return self._add_fault(body)
            case "DELETE", "/sandbox/faults":
                self.state.faults.clear()
                return json_response({"ok": True})
            case method, path:
                return text_response(f"Cannot {method} {path}; this is the hfmedia sandbox, see / for its paths", 404)

    def _add_fault(self, body: bytes) -> SandboxResponse:
        try:
            fields = msgspec.json.decode(body, type=dict[str, Any])
            self.fault(fields.pop("provider"), fields.pop("kind"), **fields)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            return json_response({"error": f"invalid fault: {error}"}, 400)
        return json_response({"ok": True})

    def _state_json(self) -> dict[str, Any]:
        jobs = [
            {"id": job.id, "provider": job.service, "model": job.model, "state": job.state, "prompt": job.prompt}
            for job in self.jobs.values()
        ]
        request_counts = Counter(recorded.kind for recorded in self.requests)
        return {
            "simulation": True,
            "submissions": self.submissions,
            "requests": request_counts,
            "leaks": len(self.leaks),
            "jobs": jobs,
        }

    def _record_request(self, request: web.Request, body: bytes, provider: str | None, kind: str) -> None:
        path, _, query = request.raw_path.partition("?")
        self.state.record_request(
            RecordedRequest(request.method, path, query, dict(request.headers), body, provider, kind)
        )


def _environment_faults() -> list[str]:
    return [
        fault_spec.strip()
        for fault_spec in os.environ.get("HFMEDIA_SANDBOX_FAULTS", "").split(",")
        if fault_spec.strip()
    ]


async def serve_forever(
    *, host: str = "127.0.0.1", port: int = 0, speed: float = 1.0, fault_specs: Iterable[str] = (), ready: Any = None
) -> None:
    """Serve until cancelled; ``ready`` is called with the Sandbox once it is listening."""
    async with Sandbox(port=port, host=host, speed=speed, faults=fault_specs) as sandbox:
        if ready is not None:
            ready(sandbox)
        await asyncio.Event().wait()
