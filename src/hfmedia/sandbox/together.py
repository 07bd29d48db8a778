"""Simulated together: images synchronously, videos as jobs (docs.together.ai, images and videos overview).

Successful responses carry `retry-after` too, and a job's status may be missing.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from .messages import InvalidFieldError, RequestFields, SandboxRequest, SandboxResponse, json_response
from .openai_images import openai_error
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

MAX_INPUT_IMAGE_CHARS = 61_440  # characters of frame_images[].input_image
COST_USD = 0.2
STATUSES = {
    "queued": "queued",
    "running": "in_progress",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


class Together(Service):
    """api.together.xyz."""

    name = "together"
    hosts = ("api.together.xyz",)
    status_path = ("status",)

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (
            make_route("POST", r"/v1/images/generations", "submit", self.create_images),
            make_route("POST", r"/v2/videos", "submit", self.create_video),
            make_route("GET", r"/v2/videos/(?P<id>[\w-]+)", "poll", self.get_video),
        )

    def headers(self, request: SandboxRequest) -> dict[str, str]:
        """Return the rate-limit headers of every response, including `retry-after`."""
        return {"retry-after": "2", "x-ratelimit-limit": "20", "x-ratelimit-reset": "2"}

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build the error object; rate-limit errors name the limit."""
        if error_kind == "rate-limit":
            payload = {"message": text, "type": "rate_limit", "param": None, "code": None}
            return json_response({"error": payload, "error_type": "dynamic_request_limited"}, status)
        if error_kind == "moderated":
            return openai_error(422, text, "prompt", "content_policy_violation")
        return openai_error(
            status, text, code={"credit": "credit_limit", "model": "model_not_available"}.get(error_kind)
        )

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build a 400 naming the parameter."""
        return openai_error(400, error.message, error.field or None)

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """Build the response for a model that together does not serve."""
        return openai_error(404, f"Unable to access model {provider_id}.", code="model_not_available")

    async def create_images(self, request: SandboxRequest) -> SandboxResponse:
        """Generate images from text or from an image."""
        fields = request.json_fields()
        offer = self.find_offer(fields.string("model"))
        task, model = offer[1].task, offer[1].provider_id
        if task.endswith("video"):
            raise InvalidFieldError("model", "choice", f"{model} generates videos; use /v2/videos")
        if "prompt" in fields.values and fields.values["prompt"] is None:
            raise InvalidFieldError("prompt", "type", "prompt must be a string")
        prompt = fields.string("prompt", None if task == "text-to-image" else "", allow_empty=task != "text-to-image")
        source_image = await self._source_image(fields, model) if task.startswith("image") else None
        width = fields.integer("width", 1024, 64, 2048) or 1024
        height = fields.integer("height", 1024, 64, 2048) or 1024
        fields.integer("steps", 20, 1, 50)
        count = fields.integer("n", 1, 1, 4) or 1
        response_format = fields.choice("response_format", "url", "url", "base64", "b64_json")
        image_format = fields.choice("output_format", "jpeg", "jpeg", "png")
        seed = fields.integer("seed", None, 0, 2**63 - 1)
        draw_request = DrawRequest(
            task, prompt, width, height, seed, format=image_format, count=count, source_image=source_image
        )
        job = self.state.accept_job(self.name, offer, draw_request, request)
        await self.state.wait_until_done(job)
        if job.outcome == "fail":
            return self.reject(500, job.outcome_text or "The model failed to generate.", "fail")
        if job.outcome in ("moderated", "nsfw"):
            return self.reject(422, "NSFW content was detected in the request.", "moderated")
        rows: list[dict[str, Any]] = []
        for index, name in enumerate(job.media_names):
            row: dict[str, Any] = {"timings": {"inference": round(job.run_seconds * 1000)}, "index": index}
            if response_format == "url":
                row |= {"url": self.state.media_url(name), "type": "url"}
            else:
                data = (await self.state.media_cache.fetch(name)).data
                row |= {"b64_json": base64.b64encode(data).decode(), "type": "b64_json"}
            rows.append(row)
        return json_response({"id": job.id, "model": model, "object": "list", "data": rows})

    async def _source_image(self, fields: RequestFields, model: str) -> bytes:
        """Return the input image: image_url for FLUX.1 Kontext, reference_images for all others."""
        is_kontext = "kontext" in model.lower() and "flux.1" in model.lower()
        field = "image_url" if is_kontext else "reference_images"
        value = fields.string("image_url", "") if is_kontext else next(iter(fields.strings("reference_images")), "")
        if not value:
            raise InvalidFieldError(field, "missing", f"{field} is required for {model}")
        return await self.load_image(value, field)

    async def create_video(self, request: SandboxRequest) -> SandboxResponse:
        """Create a video job."""
        fields = request.json_fields()
        offer = self.find_offer(fields.string("model"))
        task, model = offer[1].task, offer[1].provider_id
        if not task.endswith("video"):
            raise InvalidFieldError("model", "choice", f"{model} does not generate videos")
        from_image = task == "image-to-video"
        prompt = fields.string("prompt", "" if from_image else None, allow_empty=from_image)
        source_image = await self._first_frame(fields) if from_image else None
        width = fields.integer("width", 832, 128, 1920) or 832
        height = fields.integer("height", 480, 128, 1920) or 480
        seconds = fields.string("seconds", "3")
        if not seconds.isdigit() or not 1 <= int(seconds) <= 12:
            raise InvalidFieldError("seconds", "range", "seconds must be a string between '1' and '12'")
        fps = fields.integer("fps", 16, 8, 60) or 16
        fields.integer("steps", 20, 1, 50)
        seed = fields.integer("seed", None, 0, 2**63 - 1)
        draw_request = DrawRequest(task, prompt, width, height, seed, float(seconds), fps, source_image=source_image)
        job = self.state.accept_job(self.name, offer, draw_request, request)
        payload: dict[str, Any] = {"id": job.id, "object": "video", "model": model, "status": "queued"}
        if from_image:  # optional in the schema, and sometimes missing
            del payload["status"]
        return json_response(
            payload | {"created_at": int(time.time()), "seconds": seconds, "size": f"{width}x{height}"}
        )

    async def _first_frame(self, fields: RequestFields) -> bytes:
        """Return the first frame: from the top level or from `media`."""
        rows = fields.objects("frame_images") or fields.nested("media").objects("frame_images")
        if not rows:
            raise InvalidFieldError("frame_images", "missing", "frame_images is required for this model")
        value = rows[0].string("input_image")
        rows[0].choice("frame", "first", "first", "last")
        if len(value) > MAX_INPUT_IMAGE_CHARS:
            raise InvalidFieldError(
                "frame_images", "range", f"Range of input length should be [1, {MAX_INPUT_IMAGE_CHARS}]"
            )
        return await self.load_image(value, "frame_images.0.input_image")

    async def get_video(self, request: SandboxRequest) -> SandboxResponse:
        """Return the status of a video job."""
        job = self.job(request.path_params["id"])
        job.polls += 1
        payload: dict[str, Any] = {
            "id": job.id,
            "object": "video",
            "model": job.provider_id,
            "status": self._status_of(job),
            "created_at": int(time.time() - job.age),
            "size": f"{job.width}x{job.height}",
            "seconds": f"{job.seconds:g}",
        }
        if payload["status"] == "completed":
            payload |= {"completed_at": int(time.time() - job.age + job.queue_seconds + job.run_seconds)}
            payload["outputs"] = {"video_url": self.state.media_urls(job)[0], "cost": COST_USD}
        elif payload["status"] == "failed":
            is_flagged = job.outcome in ("moderated", "nsfw")
            text = "The prompt was flagged by moderation" if is_flagged else job.outcome_text or "The model failed"
            payload["error"] = {
                "message": text,
                "code": "content_policy_violation" if is_flagged else "generation_failed",
            }
        elif job.polls % 3 == 0:
            del payload["status"]
        return json_response(payload)

    def _status_of(self, job: SandboxJob) -> str:
        if job.outcome == "nsfw" and job.state == "done":
            return "failed"
        return STATUSES[job.state]
