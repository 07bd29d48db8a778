"""Simulated zai-org: images as asynchronous tasks (docs.z.ai, generate-image-async, get-image-status, api-code).

Sizes are 1024 to 2048 in steps of 32, at most 2^22 pixels; an empty balance is a 429 with code 1113.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .messages import InvalidFieldError, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxState

SIDE_RANGE = (1024, 2048)
SIDE_MULTIPLE = 32
MAX_PIXELS = 2**22
ERROR_CODES = {
    "unauthorized": (401, "1002"),
    "forbidden": (403, "1220"),
    "credit": (429, "1113"),
    "rate-limit": (429, "1302"),
    "moderated": (400, "1301"),
    "invalid": (400, "1210"),
    "missing": (400, "1213"),
    "size": (400, "1214"),
    "model": (400, "1211"),
    "job-not-found": (404, "1221"),
    "no-route": (404, "1222"),
    "repeated": (400, "1231"),
    "server": (500, "1234"),
}


class Zai(Service):
    """api.z.ai."""

    name = "zai-org"
    hosts = ("api.z.ai",)
    status_path = ("task_status",)

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (
            make_route("POST", r"/api/paas/v4/async/images/generations", "submit", self.submit),
            make_route("GET", r"/api/paas/v4/async-result/(?P<id>[\w-]+)", "poll", self.result),
        )
        self._request_ids: set[str] = set()

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build {"error": {code, message}}; the code is more specific than the status."""
        own_status, code = ERROR_CODES.get(error_kind, (status, "1234"))
        uses_own_status = error_kind in ("credit", "moderated", "model")
        return json_response({"error": {"code": code, "message": text}}, own_status if uses_own_status else status)

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build an error with a parameter code, 1210 to 1214."""
        error_kind = (
            error.error_kind
            if error.error_kind in ERROR_CODES
            else {"range": "size", "empty": "missing"}.get(error.error_kind, "invalid")
        )
        return self.reject(400, f"{error.field}: {error.message}", error_kind)

    async def submit(self, request: SandboxRequest) -> SandboxResponse:
        """Create a task."""
        fields = request.json_fields()
        offer = self.find_offer(fields.string("model"))
        prompt = fields.string("prompt")
        width, height = _parse_size(fields.string("size", "1280x1280"))
        request_id = fields.string("request_id", "")
        if request_id and request_id in self._request_ids:
            return self.reject(400, "The request_id was used before.", "repeated")
        self._request_ids.add(request_id)
        seed = fields.integer("seed", None, 0, 2**63 - 1)
        job = self.state.accept_job(
            self.name, offer, DrawRequest(offer[1].task, prompt, width, height, seed, format="png"), request
        )
        job.extra["request_id"] = request_id or f"sandbox-{job.id[:12]}"
        payload = {"model": job.provider_id, "id": job.id, "request_id": job.extra["request_id"]}
        return json_response(payload | {"task_status": "PROCESSING"})

    async def result(self, request: SandboxRequest) -> SandboxResponse:
        """Return the status of a task."""
        job = self.job(request.path_params["id"])
        payload: dict[str, Any] = {"model": job.provider_id, "id": job.id, "request_id": job.extra["request_id"]}
        if job.state in ("queued", "running"):
            return json_response(payload | {"task_status": "PROCESSING"})
        if job.state == "done" and job.outcome != "nsfw":
            return json_response(
                payload | {"task_status": "SUCCESS", "image_result": [{"url": self.state.media_urls(job)[0]}]}
            )
        is_flagged = job.outcome in ("moderated", "nsfw")
        text = "The content may be unsafe or sensitive." if is_flagged else job.outcome_text or "The task failed."
        error = {"code": "1301" if is_flagged else "1234", "message": text}
        return json_response(payload | {"task_status": "FAIL", "error": error})


def _parse_size(text: str) -> tuple[int, int]:
    """Parse a size. Raises InvalidFieldError when the model does not support it."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match:
        raise InvalidFieldError("size", "size", "size must look like 1280x1280")
    width, height = int(match[1]), int(match[2])
    minimum, maximum = SIDE_RANGE
    if any(not minimum <= side <= maximum or side % SIDE_MULTIPLE for side in (width, height)):
        raise InvalidFieldError(
            "size", "size", f"each side must be {minimum} to {maximum} and a multiple of {SIDE_MULTIPLE}"
        )
    if width * height > MAX_PIXELS:
        raise InvalidFieldError("size", "size", f"at most {MAX_PIXELS} pixels")
    return width, height
