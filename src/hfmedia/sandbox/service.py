"""Base class of the simulated providers, their routes and default errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from .messages import EarlyResponseError, InvalidFieldError, SandboxRequest, SandboxResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .catalog import ModelOffer, SandboxModel
    from .state import SandboxJob, SandboxState


class SandboxRoute(msgspec.Struct, frozen=True):
    """One endpoint of a provider: method, path pattern, step of a job, and handler."""

    method: str
    pattern: re.Pattern[str]
    step: str
    handler: Callable[[SandboxRequest], Awaitable[SandboxResponse]]
    host: str = ""


def make_route(
    method: str,
    pattern: str,
    step: str,
    handler: Callable[[SandboxRequest], Awaitable[SandboxResponse]],
    host: str = "",
) -> SandboxRoute:
    """Create a route whose pattern must match the full path."""
    return SandboxRoute(method, re.compile(pattern), step, handler, host)


class Service:
    """Base class of a simulated provider. Subclasses define routes and error formats; `state` holds jobs and media."""

    name: str = ""
    hosts: tuple[str, ...] = ()
    scheme = "Bearer"
    status_path: tuple[str, ...] = ()

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self.routes: tuple[SandboxRoute, ...] = ()

    def direct_host(self, request: SandboxRequest) -> str:
        """Return the provider host that a request addresses."""
        return request.host or next(iter(self.hosts), "")

    def not_found(self, request: SandboxRequest) -> SandboxResponse:
        """Build the response for an unknown path."""
        return self.reject(404, f"Not found: {request.method} {request.path}", "no-route")

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build the response for an invalid request."""
        return self.reject(400, error.message, "invalid")

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build an error response in this provider's format; `error_kind` is the kind of error."""
        raise NotImplementedError

    def headers(self, request: SandboxRequest) -> dict[str, str]:
        """Return the headers that this provider sets on every response."""
        return {}

    def find_offer(self, provider_id: str) -> tuple[SandboxModel, ModelOffer]:
        """Return the model and offer with this provider ID. Raises EarlyResponseError when the provider has none."""
        entry = self.state.offers[self.name].get(provider_id)
        if entry is None:
            raise EarlyResponseError(self.unknown_model(provider_id))
        if entry[1].status == "error":
            raise EarlyResponseError(self.reject(500, "This model is not healthy at the moment.", "server"))
        return entry

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """Build the response for an unknown model."""
        return self.reject(404, f"Model {provider_id} does not exist", "model")

    def job(self, job_id: str) -> SandboxJob:
        """Return a job of this provider. Raises EarlyResponseError when there is none."""
        job = self.state.jobs.get(job_id)
        if job is None or job.service != self.name:
            raise EarlyResponseError(self.unknown_job(job_id))
        return job

    def unknown_job(self, job_id: str) -> SandboxResponse:
        """Build the response for an unknown job."""
        return self.reject(404, f"Job {job_id} not found", "job-not-found")

    async def load_image(self, value: str, field: str) -> bytes:
        """Load an input image from a URL, data URI or base64. Raises InvalidFieldError when it is not an image."""
        return await self.state.load_input_image(value, field)


DEFAULT_ERRORS: dict[str, tuple[int, str]] = {
    "unauthorized": (401, "The API key is not valid."),
    "forbidden": (403, "This account may not use this model."),
    "credit": (402, "Insufficient balance: please add credit to your account."),
    "rate-limit": (429, "Too many requests, please slow down."),
    "server": (500, "Something went wrong on our side."),
    "gateway": (502, "Bad gateway"),
    "loading": (503, "The model is being loaded, please retry."),
    "moderated": (400, "The request was flagged by the content filter."),
    "fail": (500, "The generation failed: the worker stopped."),
    "status": (500, "Fault injected into the sandbox."),
    "no-route": (404, "Not found"),
}
