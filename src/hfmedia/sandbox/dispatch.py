"""From an address to the provider that answers it: who is asked, whether it may be, and which fault strikes.

The providers know nothing of this; this knows nothing of what they answer.
"""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from . import faults
from .fal import Fal
from .hf_inference import HfInference
from .novita import Novita
from .openai_images import Nscale, OpenAIImages
from .replicate import Replicate
from .service import TROUBLES, Answer, Call, RefusedError, Route, Service, WrongError, plain, told
from .together import Together
from .wavespeed import Wavespeed
from .zai import Zai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .faults import Fault
    from .world import World

NO_CREDIT = (
    "You have exceeded your monthly included credits for Inference Providers. "
    "Subscribe to PRO or pre-pay credits to go on. (simulated)"
)
WRONG_TOKEN = "Invalid username or password."
IDS = ("id", "task_id")


class Providers:
    """All providers of the simulated world."""

    def __init__(self, world: World) -> None:
        made = (Fal, Replicate, Together, Novita, Nscale, Wavespeed, Zai, HfInference, OpenAIImages)
        self.world = world
        self.by_name: dict[str, Service] = {kind.name: kind(world) for kind in made}
        self.by_host = {host: service for service in self.by_name.values() for host in service.hosts}

    def call(
        self,
        address: str,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        *,
        routed: bool,
    ) -> tuple[Service | None, Call]:
        """The service that an address names (``fal-ai/…`` routed, ``fal.run/…`` direct), and the call to it."""
        first, _, path = address.partition("/")
        service = (self.by_name if routed else self.by_host).get(first)
        return service, Call(method, "/" + path, query, headers, body, "" if routed else first, routed, {})

    def route(self, service: Service, call: Call) -> tuple[Route | None, Call]:
        """The route of a call, and the call with what its path holds."""
        place = service.place(call)
        for route in service.routes:
            found = route.pattern.fullmatch(call.path)
            if found and route.method == call.method and route.host in ("", place):
                return route, msgspec.structs.replace(call, found={**call.query, **found.groupdict()})
        return None, call

    def job_of(self, call: Call) -> str | None:
        """The job that a call asks for, if it names one."""
        return next((call.found[name] for name in IDS if name in call.found), None)

    def steps(self, service: Service, route: Route | None, job: str | None) -> set[str]:
        """The steps that a request is. Where one address tells both, asking for a finished job is its result too."""
        if route is None:
            return set()
        known = self.world.jobs.get(job or "")
        ended = known is not None and known.state not in ("queued", "running")
        apart = any(other.step == "result" for other in service.routes)
        return {route.step, "result"} if route.step == "poll" and ended and not apart else {route.step}

    def may(self, service: Service, call: Call) -> Answer | None:
        """None when the credential is right; else the refusal."""
        shown = call.headers.get("Authorization")
        if call.routed:
            return None if shown == f"Bearer {self.world.token}" else told({"error": WRONG_TOKEN}, 401)
        if shown == f"{service.scheme} {self.world.keys.get(service.name)}":
            return None
        return service.refuse(401, TROUBLES["credential"][1], "credential")

    async def answer(self, service: Service, route: Route | None, call: Call) -> Answer:
        """What the provider answers, with the faults that change what it says."""
        fault = None if call.fault is None or call.fault.later else call.fault
        if fault is not None and fault.kind in faults.REFUSALS:
            if fault.says("accepted") and route is not None:
                await self._plainly(service, route, call)
            return refusal(service, call, fault)
        if route is None:
            return service.absent(call)
        if fault is not None and fault.kind == "lost":
            self.world.jobs.pop(self.job_of(call) or "", None)
        if fault is not None and fault.kind == "moderated" and fault.step != "submit":
            return service.refuse(*TROUBLES["moderated"], "moderated")
        made = await self._plainly(service, route, call)
        if fault is not None and fault.kind in ("unknown-status", "no-status") and made.status < 300:
            return _restated(made, service.status_path, fault)
        return made

    async def _plainly(self, service: Service, route: Route, call: Call) -> Answer:
        try:
            made = await route.answer(call)
        except RefusedError as refused:
            made = refused.answer
        except WrongError as wrong:
            made = service.wrong(wrong)
        passed = self._router_headers() if call.routed else {}
        return msgspec.structs.replace(made, headers={**passed, **service.headers(call), **made.headers})

    def _router_headers(self) -> dict[str, str]:
        """What the router adds to what passes through it."""
        mark = f"{self.world.chance.getrandbits(96):024x}"
        return {"x-request-id": f"Root=1-sandbox-{mark}", "Inference-Id": mark}


def refusal(service: Service, call: Call, fault: Fault) -> Answer:
    """A refusal to order, as this provider (or, for credit, the router) says it."""
    status, text = TROUBLES[fault.kind]
    text = fault.text("text", text)
    if fault.kind == "no-route":
        return plain(f"Cannot {call.method} {call.path}", 404)
    if fault.kind == "credit" and call.routed and fault.text("by") != "provider":
        return told({"error": NO_CREDIT}, 402)
    if fault.kind in ("status", "server", "gateway"):
        status = fault.whole("status", status)
    made = service.refuse(status, text, fault.kind)
    if fault.kind != "busy" or fault.text("retry_after") == "none":
        return made
    seconds = fault.number("retry_after", 1)
    after = email.utils.formatdate(time.time() + seconds, usegmt=True) if fault.says("date") else f"{seconds:g}"
    return msgspec.structs.replace(made, headers={**made.headers, "Retry-After": after})


def _restated(made: Answer, path: tuple[str, ...], fault: Fault) -> Answer:
    """The same answer with its status word replaced, or taken out."""
    said: Any = msgspec.json.decode(made.body)
    place: Any = said
    for name in path[:-1]:
        place = cast("dict[str, Any]", place).get(name, {}) if isinstance(place, dict) else {}
    if path and isinstance(place, dict):
        if fault.kind == "no-status":
            cast("dict[str, Any]", place).pop(path[-1], None)
        else:
            place[path[-1]] = fault.text("word", "pondering")
    return msgspec.structs.replace(made, body=msgspec.json.encode(said))
