"""novita, simulated: videos at once (/v3/hf) or as tasks (/v3/async) (novita.ai/docs, basic error codes, task result).

It tells a real percentage and how long is left; without credit it answers 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .service import Answer, Call, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

STATES = {"queued": "QUEUED", "running": "PROCESSING", "done": "SUCCEED", "failed": "FAILED", "cancelled": "FAILED"}
REASONS = {
    "credential": (403, "INVALID_API_KEY"),
    "forbidden": (403, "API_NOT_ALLOWED"),
    "credit": (400, "BILLING_BALANCE_NOT_ENOUGH"),
    "busy": (429, "RATE_LIMIT_EXCEEDED"),
    "moderated": (400, "ILLEGAL_PROMPT"),
    "invalid": (400, "INVALID_REQUEST_BODY"),
    "image": (400, "INVALID_REQUEST_BODY"),
    "model": (404, "API_NOT_FOUND"),
    "no-route": (404, "API_NOT_FOUND"),
    "lost": (404, "TASK_NOT_FOUND"),
    "fail": (500, "TASK_FAILED"),
    "server": (500, "CREATE_TASK_FAILED"),
}


class Novita(Service):
    """api.novita.ai."""

    name = "novita"
    hosts = ("api.novita.ai",)
    status_path = ("task", "status")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (
            route("POST", r"/v3/hf/(?P<model>.+)", "submit", self.at_once),
            route("POST", r"/v3/async/(?P<model>.+)", "submit", self.task),
            route("GET", r"/v3/async/task-result", "poll", self.result),
        )

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """{code, reason, message, metadata}; a status of one's own stays, unless the trouble has its own."""
        own, reason = REASONS.get(sort, (status, "INTERNAL_ERROR"))
        told_status = own if sort in ("credential", "credit", "moderated") else status
        return told({"code": told_status, "reason": reason, "message": text, "metadata": {}}, told_status)

    async def accept(self, call: Call) -> Job:
        """Check and take on."""
        offer = self.find(call.found["model"])
        body = call.fields()
        prompt = body.text("prompt")
        width = body.whole("width", 832, 256, 1920) or 832
        height = body.whole("height", 480, 256, 1920) or 480
        frames = body.whole("num_frames", 33, 9, 241) or 33
        body.whole("steps", 20, 1, 60)
        seed = body.whole("seed", None, -1, 2**63 - 1)
        seed = None if seed == -1 else seed
        return self.world.accept(self, offer, Ask(offer[1].task, prompt, width, height, seed, frames / 16), call)

    async def at_once(self, call: Call) -> Answer:
        """The address that answers when the video is there."""
        job = await self.accept(call)
        await self.world.until_done(job)
        if job.fate in ("moderated", "nsfw"):
            return self.refuse(400, "The prompt is not allowed.", "moderated")
        if job.fate == "fail":
            return self.refuse(500, job.fate_text or "The task failed.", "fail")
        return told({"video": {"video_url": self.world.urls(job)[0], "video_url_ttl": "3600", "video_type": "mp4"}})

    async def task(self, call: Call) -> Answer:
        """The address that answers with a task."""
        return told({"task_id": (await self.accept(call)).id})

    async def result(self, call: Call) -> Answer:
        """A task as it stands."""
        task_id = call.query.get("task_id")
        if not task_id:
            raise WrongError("task_id", "missing", "task_id is required")
        job = self.job(task_id)
        state = "FAILED" if job.fate == "nsfw" and job.state == "done" else STATES[job.state]
        reasons = {"moderated": "ILLEGAL_PROMPT", "nsfw": "ILLEGAL_PROMPT", "fail": job.fate_text or "TASK_FAILED"}
        said: dict[str, Any] = {
            "task": {
                "task_id": job.id,
                "status": f"TASK_STATUS_{state}",
                "reason": reasons.get(job.fate or "", "") if state == "FAILED" else "",
                "task_type": "WAN_TXT_TO_VIDEO",
                "eta": round(job.left),
                "progress_percent": round(job.fraction * 100),
            },
            "extra": {"seed": str(job.seed)},
            "images": [],
            "videos": [],
        }
        if state == "SUCCEED":
            url = self.world.urls(job)[0]
            said["videos"] = [{"video_url": url, "video_url_ttl": "3600", "video_type": "mp4"}]
        return told(said)
