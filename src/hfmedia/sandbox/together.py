"""together, simulated: pictures at once, videos as jobs (docs.together.ai, images and videos overview).

A `retry-after` stands on good answers too, and a job's status may be missing.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from .openai_images import openai_error
from .service import Answer, Call, Fields, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

MAX_INPUT_IMAGE = 61_440  # characters of frame_images[].input_image
COST = 0.2
STATES = {
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

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (
            route("POST", r"/v1/images/generations", "submit", self.images),
            route("POST", r"/v2/videos", "submit", self.videos),
            route("GET", r"/v2/videos/(?P<id>[\w-]+)", "poll", self.video),
        )

    def headers(self, call: Call) -> dict[str, str]:
        """Rate limits on every answer, `retry-after` among them."""
        return {"retry-after": "2", "x-ratelimit-limit": "20", "x-ratelimit-reset": "2"}

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """The error object; busy ones say which limit."""
        if sort == "busy":
            said = {"message": text, "type": "rate_limit", "param": None, "code": None}
            return told({"error": said, "error_type": "dynamic_request_limited"}, status)
        if sort == "moderated":
            return openai_error(422, text, "prompt", "content_policy_violation")
        return openai_error(status, text, code={"credit": "credit_limit", "model": "model_not_available"}.get(sort))

    def wrong(self, error: WrongError) -> Answer:
        """400, naming the parameter."""
        return openai_error(400, error.message, error.field or None)

    def unknown(self, provider_id: str) -> Answer:
        """A model that together does not serve."""
        return openai_error(404, f"Unable to access model {provider_id}.", code="model_not_available")

    async def images(self, call: Call) -> Answer:
        """Pictures, from text or from a picture."""
        body = call.fields()
        offer = self.find(body.text("model"))
        task, model = offer[1].task, offer[1].provider_id
        if task.endswith("video"):
            raise WrongError("model", "choice", f"{model} makes videos; use /v2/videos")
        if "prompt" in body.values and body.values["prompt"] is None:
            raise WrongError("prompt", "type", "prompt must be a string")
        prompt = body.text("prompt", None if task == "text-to-image" else "", empty=task != "text-to-image")
        source = await self._source(body, model) if task.startswith("image") else None
        width = body.whole("width", 1024, 64, 2048) or 1024
        height = body.whole("height", 1024, 64, 2048) or 1024
        body.whole("steps", 20, 1, 50)
        count = body.whole("n", 1, 1, 4) or 1
        given = body.choice("response_format", "url", "url", "base64", "b64_json")
        form = body.choice("output_format", "jpeg", "jpeg", "png")
        seed = body.whole("seed", None, 0, 2**63 - 1)
        ask = Ask(task, prompt, width, height, seed, form=form, count=count, source=source)
        job = self.world.accept(self, offer, ask, call)
        await self.world.until_done(job)
        if job.fate == "fail":
            return self.refuse(500, job.fate_text or "The model failed to generate.", "fail")
        if job.fate in ("moderated", "nsfw"):
            return self.refuse(422, "NSFW content was detected in the request.", "moderated")
        rows: list[dict[str, Any]] = []
        for index, name in enumerate(job.names):
            row: dict[str, Any] = {"timings": {"inference": round(job.run * 1000)}, "index": index}
            if given == "url":
                row |= {"url": self.world.media_url(name), "type": "url"}
            else:
                data = (await self.world.shelf.fetch(name)).data
                row |= {"b64_json": base64.b64encode(data).decode(), "type": "b64_json"}
            rows.append(row)
        return told({"id": job.id, "model": model, "object": "list", "data": rows})

    async def _source(self, body: Fields, model: str) -> bytes:
        """FLUX.1 Kontext reads image_url, all others reference_images."""
        kontext = "kontext" in model.lower() and "flux.1" in model.lower()
        field = "image_url" if kontext else "reference_images"
        value = body.text("image_url", "") if kontext else next(iter(body.texts("reference_images")), "")
        if not value:
            raise WrongError(field, "missing", f"{field} is required for {model}")
        return await self.image(value, field)

    async def videos(self, call: Call) -> Answer:
        """Start a video."""
        body = call.fields()
        offer = self.find(body.text("model"))
        task, model = offer[1].task, offer[1].provider_id
        if not task.endswith("video"):
            raise WrongError("model", "choice", f"{model} does not make videos")
        from_image = task == "image-to-video"
        prompt = body.text("prompt", "" if from_image else None, empty=from_image)
        source = await self._frame(body) if from_image else None
        width = body.whole("width", 832, 128, 1920) or 832
        height = body.whole("height", 480, 128, 1920) or 480
        seconds = body.text("seconds", "3")
        if not seconds.isdigit() or not 1 <= int(seconds) <= 12:
            raise WrongError("seconds", "range", "seconds must be a string between '1' and '12'")
        fps = body.whole("fps", 16, 8, 60) or 16
        body.whole("steps", 20, 1, 50)
        seed = body.whole("seed", None, 0, 2**63 - 1)
        ask = Ask(task, prompt, width, height, seed, float(seconds), fps, source=source)
        job = self.world.accept(self, offer, ask, call)
        said: dict[str, Any] = {"id": job.id, "object": "video", "model": model, "status": "queued"}
        if from_image:  # the status of a new job is optional in the schema, and sometimes not there
            del said["status"]
        return told(said | {"created_at": int(time.time()), "seconds": seconds, "size": f"{width}x{height}"})

    async def _frame(self, body: Fields) -> bytes:
        """The first key frame: top level, or within `media`."""
        rows = body.rows("frame_images") or body.inner("media").rows("frame_images")
        if not rows:
            raise WrongError("frame_images", "missing", "frame_images is required for this model")
        value = rows[0].text("input_image")
        rows[0].choice("frame", "first", "first", "last")
        if len(value) > MAX_INPUT_IMAGE:
            raise WrongError("frame_images", "range", f"Range of input length should be [1, {MAX_INPUT_IMAGE}]")
        return await self.image(value, "frame_images.0.input_image")

    async def video(self, call: Call) -> Answer:
        """A video job as it stands."""
        job = self.job(call.found["id"])
        job.polls += 1
        said: dict[str, Any] = {
            "id": job.id,
            "object": "video",
            "model": job.provider_id,
            "status": self._state(job),
            "created_at": int(time.time() - job.age),
            "size": f"{job.width}x{job.height}",
            "seconds": f"{job.seconds:g}",
        }
        if said["status"] == "completed":
            said |= {"completed_at": int(time.time() - job.age + job.queue + job.run)}
            said["outputs"] = {"video_url": self.world.urls(job)[0], "cost": COST}
        elif said["status"] == "failed":
            flagged = job.fate in ("moderated", "nsfw")
            text = "The prompt was flagged by moderation" if flagged else job.fate_text or "The model failed"
            said["error"] = {"message": text, "code": "content_policy_violation" if flagged else "generation_failed"}
        elif job.polls % 3 == 0:
            del said["status"]
        return told(said)

    def _state(self, job: Job) -> str:
        if job.fate == "nsfw" and job.state == "done":
            return "failed"
        return STATES[job.state]
