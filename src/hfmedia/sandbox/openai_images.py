"""OpenAI images dialect, simulated twice: nscale (base64 only) and acme-images, a provider unknown to hfmedia.

Errors are `{"error": {message, type, param, code}}` (docs.nscale.com, create-image; platform.openai.com, images).
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from .messages import InvalidFieldError, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

ERROR_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def openai_error(
    status: int, text: str, param: str | None = None, code: str | None = None, error_type: str | None = None
) -> SandboxResponse:
    """Build the dialect's error object."""
    resolved_type = error_type or ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return json_response({"error": {"message": text, "type": resolved_type, "param": param, "code": code}}, status)


class OpenAIImages(Service):
    """POST /v1/images/generations, synchronous."""

    name = "acme-images"
    hosts = ("api.acme-images.example",)
    formats: tuple[str, ...] = ("url", "b64_json")
    default_size = (1024, 1024)

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (make_route("POST", r"/v1/images/generations", "submit", self.generate),)

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build the dialect's error."""
        codes = {"moderated": "content_policy_violation", "credit": "insufficient_quota", "model": "model_not_found"}
        return openai_error(status, text, code=codes.get(error_kind))

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build the dialect's error, naming the parameter."""
        return openai_error(400, error.message, error.field or None)

    async def accept_job(self, request: SandboxRequest) -> tuple[SandboxJob, str]:
        """Validate a submission and accept the job. Returns the job and the requested response format."""
        fields = request.json_fields()
        offer = self.find_offer(fields.string("model"))
        prompt = fields.string("prompt")
        size = self.default_size if fields.values.get("size") == "auto" else fields.size("size", self.default_size)
        count = fields.integer("n", 1, 1, 10) or 1
        response_format = fields.choice("response_format", self.formats[0], *self.formats)
        image_format = fields.choice("output_format", "png", "png", "jpeg", "webp")
        seed = fields.integer("seed", None, 0, 2**63 - 1)
        draw_request = DrawRequest(offer[1].task, prompt, size[0], size[1], seed, format=image_format, count=count)
        return self.state.accept_job(self.name, offer, draw_request, request), response_format

    async def generate(self, request: SandboxRequest) -> SandboxResponse:
        """Generate images and return them as URLs or base64."""
        job, response_format = await self.accept_job(request)
        await self.state.wait_until_done(job)
        if job.outcome == "fail":
            return self.reject(500, job.outcome_text or "The generation failed.", "fail")
        if job.outcome in ("moderated", "nsfw"):
            return self.reject(400, "Your request was rejected by the safety system.", "moderated")
        rows: list[dict[str, Any]]
        if response_format == "url":
            rows = [{"url": url} for url in self.state.media_urls(job)]
        else:
            rows = [{"b64_json": base64.b64encode(data).decode()} for data in await self.state.media_bytes(job)]
        return json_response({"created": int(time.time()), "data": rows})


class Nscale(OpenAIImages):
    """inference.api.nscale.com: base64 only, and 429 without credit."""

    name = "nscale"
    hosts = ("inference.api.nscale.com",)
    formats = ("b64_json",)
    default_size = (512, 512)

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build the dialect's error; 429 without credit."""
        if error_kind == "credit":
            return openai_error(
                429, f"Insufficient credit. {text}", code="insufficient_credit", error_type="insufficient_quota"
            )
        return super().reject(status, text, error_kind)
