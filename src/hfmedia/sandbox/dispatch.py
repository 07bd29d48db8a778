"""Dispatch of a request to its provider: routing, authentication and faults.

Providers do not depend on this module, and it does not depend on the content of their responses.
"""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from . import faults
from .fal_ai import Fal
from .hf_inference import HfInference
from .messages import (
    EarlyResponseError,
    InvalidFieldError,
    SandboxRequest,
    SandboxResponse,
    json_response,
    text_response,
)
from .novita import Novita
from .openai_images import Nscale, OpenAIImages
from .replicate import Replicate
from .service import DEFAULT_ERRORS, SandboxRoute, Service
from .together import Together
from .wavespeed import Wavespeed
from .zai_org import Zai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .faults import Fault
    from .state import SandboxState

NO_CREDIT_MESSAGE = (
    "You have exceeded your monthly included credits for Inference Providers. "
    "Subscribe to PRO or buy pre-paid credits to continue. (simulated)"
)
WRONG_TOKEN_MESSAGE = "Invalid username or password."
JOB_ID_PARAMS = ("id", "task_id")


class ProviderRegistry:
    """All simulated providers, by name and by host."""

    def __init__(self, state: SandboxState) -> None:
        service_classes = (Fal, Replicate, Together, Novita, Nscale, Wavespeed, Zai, HfInference, OpenAIImages)
        self.state = state
        self.by_name: dict[str, Service] = {
            service_class.name: service_class(state) for service_class in service_classes
        }
        self.by_host = {host: service for service in self.by_name.values() for host in service.hosts}

    def resolve(
        self,
        address: str,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        *,
        routed: bool,
    ) -> tuple[Service | None, SandboxRequest]:
        """Return the service for an address (``fal-ai/…`` routed, ``fal.run/…`` direct) and the request to it."""
        service_key, _, path = address.partition("/")
        service = (self.by_name if routed else self.by_host).get(service_key)
        return service, SandboxRequest(
            method, "/" + path, query, headers, body, "" if routed else service_key, routed, {}
        )

    def match_route(self, service: Service, request: SandboxRequest) -> tuple[SandboxRoute | None, SandboxRequest]:
        """Return the route of a request, and the request with its path parameters."""
        host = service.direct_host(request)
        for route in service.routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == request.method and route.host in ("", host):
                return route, msgspec.structs.replace(request, path_params={**request.query, **match.groupdict()})
        return None, request

    def job_id_of(self, request: SandboxRequest) -> str | None:
        """Return the job ID that a request names, if any."""
        return next((request.path_params[name] for name in JOB_ID_PARAMS if name in request.path_params), None)

    def steps_of(self, service: Service, route: SandboxRoute | None, job_id: str | None) -> set[str]:
        """Return the steps of a request. Without a result route, polling an ended job is a result request too."""
        if route is None:
            return set()
        job = self.state.jobs.get(job_id or "")
        has_ended = job is not None and job.state not in ("queued", "running")
        has_result_route = any(service_route.step == "result" for service_route in service.routes)
        return {route.step, "result"} if route.step == "poll" and has_ended and not has_result_route else {route.step}

    def check_credential(self, service: Service, request: SandboxRequest) -> SandboxResponse | None:
        """Return None when the credential is valid, otherwise the error response."""
        authorization = request.headers.get("Authorization")
        if request.is_routed:
            return (
                None
                if authorization == f"Bearer {self.state.token}"
                else json_response({"error": WRONG_TOKEN_MESSAGE}, 401)
            )
        if authorization == f"{service.scheme} {self.state.keys.get(service.name)}":
            return None
        return service.reject(401, DEFAULT_ERRORS["unauthorized"][1], "unauthorized")

    async def respond(self, service: Service, route: SandboxRoute | None, request: SandboxRequest) -> SandboxResponse:
        """Return the provider's response, with the faults that change its content."""
        fault = None if request.fault is None or request.fault.is_deferred else request.fault
        if fault is not None and fault.kind in faults.REJECTION_KINDS:
            if fault.flag("accepted") and route is not None:
                await self._respond_normally(service, route, request)
            return rejection_response(service, request, fault)
        if route is None:
            return service.not_found(request)
        if fault is not None and fault.kind == "job-not-found":
            self.state.jobs.pop(self.job_id_of(request) or "", None)
        if fault is not None and fault.kind == "moderated" and fault.step != "submit":
            return service.reject(*DEFAULT_ERRORS["moderated"], "moderated")
        response = await self._respond_normally(service, route, request)
        if fault is not None and fault.kind in ("unknown-status", "no-status") and response.status < 300:
            return _with_status(response, service.status_path, fault)
        return response

    async def _respond_normally(
        self, service: Service, route: SandboxRoute, request: SandboxRequest
    ) -> SandboxResponse:
        try:
            response = await route.handler(request)
        except EarlyResponseError as early:
            response = early.response
        except InvalidFieldError as invalid:
            response = service.invalid_field(invalid)
        router_headers = self._router_headers() if request.is_routed else {}
        return msgspec.structs.replace(
            response, headers={**router_headers, **service.headers(request), **response.headers}
        )

    def _router_headers(self) -> dict[str, str]:
        """Return the headers that the router adds to every response."""
        request_id = f"{self.state.rng.getrandbits(96):024x}"
        return {"x-request-id": f"Root=1-sandbox-{request_id}", "Inference-Id": request_id}


def rejection_response(service: Service, request: SandboxRequest, fault: Fault) -> SandboxResponse:
    """Build the error response of a fault in the format of this provider (or, for credit, of the router)."""
    status, text = DEFAULT_ERRORS[fault.kind]
    text = fault.text("text", text)
    if fault.kind == "no-route":
        return text_response(f"Cannot {request.method} {request.path}", 404)
    if fault.kind == "credit" and request.is_routed and fault.text("by") != "provider":
        return json_response({"error": NO_CREDIT_MESSAGE}, 402)
    if fault.kind in ("status", "server", "gateway"):
        status = fault.integer("status", status)
    response = service.reject(status, text, fault.kind)
    if fault.kind != "rate-limit" or fault.text("retry_after") == "none":
        return response
    seconds = fault.number("retry_after", 1)
    retry_after = email.utils.formatdate(time.time() + seconds, usegmt=True) if fault.flag("date") else f"{seconds:g}"
    return msgspec.structs.replace(response, headers={**response.headers, "Retry-After": retry_after})


def _with_status(response: SandboxResponse, status_path: tuple[str, ...], fault: Fault) -> SandboxResponse:
    """Return the response with its status field replaced or removed."""
    payload: Any = msgspec.json.decode(response.body)
    target: Any = payload
    for name in status_path[:-1]:
        target = cast("dict[str, Any]", target).get(name, {}) if isinstance(target, dict) else {}
    if status_path and isinstance(target, dict):
        if fault.kind == "no-status":
            cast("dict[str, Any]", target).pop(status_path[-1], None)
        else:
            target[status_path[-1]] = fault.text("value", "pondering")
    return msgspec.structs.replace(response, body=msgspec.json.encode(payload))
