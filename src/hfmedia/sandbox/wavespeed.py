"""Simulated wavespeed: every response in an envelope with its own code (wavespeed.ai/docs, get-result, error-codes).

The envelope's code can be an error inside an HTTP 200.
"""

from __future__ import annotations

import base64
import datetime
from typing import TYPE_CHECKING, Any

from .messages import InvalidFieldError, RequestFields, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

STATUSES = {
    "queued": "created",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
ERROR_CODES = {
    "moderated": 1200,
    "invalid": 1400,
    "missing": 1401,
    "fetch": 1402,
    "image": 1402,
    "range": 1403,
    "type": 1405,
}
RATIOS = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1)}
RESOLUTION_LINES = {"480p": 480, "720p": 720, "1080p": 1080}


class Wavespeed(Service):
    """api.wavespeed.ai."""

    name = "wavespeed"
    hosts = ("api.wavespeed.ai",)
    status_path = ("data", "status")

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (
            make_route("GET", r"/api/v3/predictions/(?P<id>[\w-]+)/result", "poll", self.result),
            make_route("POST", r"/api/v3/predictions/delete", "cancel", self.delete_predictions),
            make_route("POST", r"/api/v3/(?P<model>.+)", "submit", self.submit),
        )

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build {code, message, data}; moderation errors are an HTTP 200."""
        if error_kind == "moderated":
            return json_response({"code": ERROR_CODES["moderated"], "message": text, "data": None})
        return json_response({"code": status, "message": text, "data": None}, status)

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build an HTTP 400 with the specific code in the envelope."""
        code = ERROR_CODES.get(error.error_kind, ERROR_CODES["invalid"])
        return json_response({"code": code, "message": f"{error.field}: {error.message}", "data": None}, 400)

    async def submit(self, request: SandboxRequest) -> SandboxResponse:
        """Accept a job."""
        offer = self.find_offer(request.path_params["model"])
        task = offer[1].task
        fields = request.json_fields()
        from_image = task == "image-to-video"
        prompt = fields.string("prompt", "" if from_image else None, allow_empty=from_image)
        for index, row in enumerate(fields.objects("loras")):
            row.string("path")
            if row.number("scale", 1, 0, 4) < 0:
                raise InvalidFieldError(f"loras.{index}.scale", "range", "scale must not be negative")
        source_image = await self._source_image(fields, task)
        seed = fields.integer("seed", None, -1, 2**63 - 1)
        seed = None if seed == -1 else seed
        if task.endswith("video"):
            width, height = self._video_size(fields)
            seconds = float(fields.integer("duration", 3, 1, 12) or 3)
            draw_request = DrawRequest(task, prompt, width, height, seed, seconds, source_image=source_image)
        else:
            width, height = fields.size("size", (1024, 1024), "*", 256, 2048)
            image_format = fields.choice("output_format", "jpeg", "jpeg", "png", "webp")
            draw_request = DrawRequest(
                task, prompt, width, height, seed, format=image_format, source_image=source_image
            )
        job = self.state.accept_job(self.name, offer, draw_request, request)
        job.extra["base64"] = fields.boolean("enable_base64_output")
        if fields.boolean("enable_sync_mode"):
            await self.state.wait_until_done(job)
        return json_response(await self._envelope(job))

    def _video_size(self, fields: RequestFields) -> tuple[int, int]:
        if "size" in fields:
            return fields.size("size", (832, 480), "*", 256, 1920)
        lines = RESOLUTION_LINES[fields.choice("resolution", "480p", *RESOLUTION_LINES)]
        ratio_width, ratio_height = RATIOS[fields.choice("aspect_ratio", "16:9", *RATIOS)]
        long_side = round(lines * max(ratio_width, ratio_height) / min(ratio_width, ratio_height) / 2) * 2
        return (long_side, lines) if ratio_width >= ratio_height else (lines, long_side)

    async def _source_image(self, fields: RequestFields, task: str) -> bytes | None:
        if task.startswith("text-"):
            return None
        value = fields.string("image", "") or next(iter(fields.strings("images")), "")
        if not value:
            if task.startswith("image-text"):
                return None
            raise InvalidFieldError("image", "missing", "property 'image' is missing")
        return await self.load_image(value, "image")

    async def result(self, request: SandboxRequest) -> SandboxResponse:
        """Return the status of a prediction."""
        return json_response(await self._envelope(self.job(request.path_params["id"])))

    async def delete_predictions(self, request: SandboxRequest) -> SandboxResponse:
        """Delete predictions, which is the only way to cancel one."""
        for job_id in request.json_fields().strings("ids"):
            job = self.state.jobs.get(job_id)
            if job is not None and job.service == self.name:
                job.cancel()
        return json_response({"code": 200, "message": "success", "data": {}})

    async def _envelope(self, job: SandboxJob) -> dict[str, Any]:
        created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=job.age)
        state = STATUSES[job.state]
        outputs = self.state.media_urls(job) if state == "completed" else []
        if outputs and job.extra.get("base64"):
            outputs = [base64.b64encode(data).decode() for data in await self.state.media_bytes(job)]
        error_messages = {
            "fail": job.outcome_text or "The model failed to run",
            "moderated": "Content flagged as sensitive",
        }
        data = {
            "id": job.id,
            "model": job.provider_id,
            "outputs": outputs,
            "urls": {"get": f"https://api.wavespeed.ai/api/v3/predictions/{job.id}/result"},
            "has_nsfw_contents": [job.outcome == "nsfw"] * len(outputs),
            "status": state,
            "created_at": created.isoformat().replace("+00:00", "Z"),
            "error": error_messages.get(job.outcome or "", "") if state == "failed" else "",
            "timings": {"inference": round(job.run_seconds * 1000) if state == "completed" else 0},
        }
        if state == "failed" and job.outcome == "moderated":
            return {"code": ERROR_CODES["moderated"], "message": error_messages["moderated"], "data": data}
        return {"code": 200, "message": "success", "data": data}
