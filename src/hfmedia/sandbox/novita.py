"""Simulated novita: videos synchronously (/v3/hf) or as tasks (/v3/async); novita.ai/docs, error codes, task result.

It reports an exact percentage and the remaining time; without credit it responds with 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .messages import InvalidFieldError, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

TASK_STATUSES = {
    "queued": "QUEUED",
    "running": "PROCESSING",
    "done": "SUCCEED",
    "failed": "FAILED",
    "cancelled": "FAILED",
}
ERROR_REASONS = {
    "unauthorized": (403, "INVALID_API_KEY"),
    "forbidden": (403, "API_NOT_ALLOWED"),
    "credit": (400, "BILLING_BALANCE_NOT_ENOUGH"),
    "rate-limit": (429, "RATE_LIMIT_EXCEEDED"),
    "moderated": (400, "ILLEGAL_PROMPT"),
    "invalid": (400, "INVALID_REQUEST_BODY"),
    "image": (400, "INVALID_REQUEST_BODY"),
    "model": (404, "API_NOT_FOUND"),
    "no-route": (404, "API_NOT_FOUND"),
    "job-not-found": (404, "TASK_NOT_FOUND"),
    "fail": (500, "TASK_FAILED"),
    "server": (500, "CREATE_TASK_FAILED"),
}


class Novita(Service):
    """api.novita.ai."""

    name = "novita"
    hosts = ("api.novita.ai",)
    status_path = ("task", "status")

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (
            make_route("POST", r"/v3/hf/(?P<model>.+)", "submit", self.run_sync),
            make_route("POST", r"/v3/async/(?P<model>.+)", "submit", self.create_task),
            make_route("GET", r"/v3/async/task-result", "poll", self.task_result),
        )

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build {code, reason, message, metadata}; some error kinds always have novita's own status."""
        own_status, reason = ERROR_REASONS.get(error_kind, (status, "INTERNAL_ERROR"))
        sent_status = own_status if error_kind in ("unauthorized", "credit", "moderated") else status
        return json_response({"code": sent_status, "reason": reason, "message": text, "metadata": {}}, sent_status)

    async def accept_job(self, request: SandboxRequest) -> SandboxJob:
        """Validate a submission and accept the job."""
        offer = self.find_offer(request.path_params["model"])
        fields = request.json_fields()
        prompt = fields.string("prompt")
        width = fields.integer("width", 832, 256, 1920) or 832
        height = fields.integer("height", 480, 256, 1920) or 480
        frames = fields.integer("num_frames", 33, 9, 241) or 33
        fields.integer("steps", 20, 1, 60)
        seed = fields.integer("seed", None, -1, 2**63 - 1)
        seed = None if seed == -1 else seed
        return self.state.accept_job(
            self.name, offer, DrawRequest(offer[1].task, prompt, width, height, seed, frames / 16), request
        )

    async def run_sync(self, request: SandboxRequest) -> SandboxResponse:
        """Run a job synchronously: respond when the video is ready."""
        job = await self.accept_job(request)
        await self.state.wait_until_done(job)
        if job.outcome in ("moderated", "nsfw"):
            return self.reject(400, "The prompt is not allowed.", "moderated")
        if job.outcome == "fail":
            return self.reject(500, job.outcome_text or "The task failed.", "fail")
        return json_response(
            {"video": {"video_url": self.state.media_urls(job)[0], "video_url_ttl": "3600", "video_type": "mp4"}}
        )

    async def create_task(self, request: SandboxRequest) -> SandboxResponse:
        """Create a task and return its ID."""
        return json_response({"task_id": (await self.accept_job(request)).id})

    async def task_result(self, request: SandboxRequest) -> SandboxResponse:
        """Return the status of a task."""
        task_id = request.query.get("task_id")
        if not task_id:
            raise InvalidFieldError("task_id", "missing", "task_id is required")
        job = self.job(task_id)
        task_status = "FAILED" if job.outcome == "nsfw" and job.state == "done" else TASK_STATUSES[job.state]
        reasons = {"moderated": "ILLEGAL_PROMPT", "nsfw": "ILLEGAL_PROMPT", "fail": job.outcome_text or "TASK_FAILED"}
        payload: dict[str, Any] = {
            "task": {
                "task_id": job.id,
                "status": f"TASK_STATUS_{task_status}",
                "reason": reasons.get(job.outcome or "", "") if task_status == "FAILED" else "",
                "task_type": "WAN_TXT_TO_VIDEO",
                "eta": round(job.remaining),
                "progress_percent": round(job.fraction * 100),
            },
            "extra": {"seed": str(job.seed)},
            "images": [],
            "videos": [],
        }
        if task_status == "SUCCEED":
            url = self.state.media_urls(job)[0]
            payload["videos"] = [{"video_url": url, "video_url_ttl": "3600", "video_type": "mp4"}]
        return json_response(payload)
