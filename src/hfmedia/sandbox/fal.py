"""fal-ai, simulated: fal.run answers at once, queue.fal.run keeps a queue (fal.ai/docs, queue and errors).

Addresses in replies hold only the first two segments of the model id, as the real queue's do.
"""

from __future__ import annotations

import base64
import datetime
from typing import TYPE_CHECKING, Any

from .service import Answer, Call, Fields, RefusedError, Service, WrongError, plain, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
RATIOS = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4)}
LINES = {"360p": 360, "480p": 480, "580p": 580, "720p": 720, "1080p": 1080}
MIME_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
LYING_TYPES = {"fal-ai/flux/dev": "png", "fal-ai/flux/krea": "png"}  # says image/jpeg, is a PNG
STREAMED_TYPES = {"fal-ai/mochi-v1"}  # an mp4 told as application/octet-stream
STEPS = 20
INFRASTRUCTURE = {
    "server": "runner_server_error",
    "gateway": "runner_incomplete_response",
    "busy": "concurrency_limit",
    "fail": "runner_server_error",
}


class Fal(Service):
    """fal.run and queue.fal.run."""

    name = "fal-ai"
    hosts = ("fal.run", "queue.fal.run")
    scheme = "Key"
    status_path = ("status",)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        job = r"/(?P<app>[\w.-]+/[\w.-]+)/requests/(?P<id>[\w-]+)"
        self.routes = (
            route("GET", job + "/status", "poll", self.status, "queue.fal.run"),
            route("GET", job, "result", self.result, "queue.fal.run"),
            route("PUT", job + "/cancel", "cancel", self.cancel, "queue.fal.run"),
            route("POST", r"/(?P<model>.+)", "submit", self.queue, "queue.fal.run"),
            route("POST", r"/(?P<model>.+)", "submit", self.run, "fal.run"),
        )

    def place(self, call: Call) -> str:
        """Through the router the queue is chosen by `_subdomain=queue`."""
        if call.routed:
            return "queue.fal.run" if call.query.get("_subdomain") == "queue" else "fal.run"
        return call.host

    def absent(self, call: Call) -> Answer:
        """fal answers a strange path in plain text."""
        return plain("404: Not Found", 404)

    def headers(self, call: Call) -> dict[str, str]:
        """Every answer has a request id."""
        return {"x-fal-request-id": f"{self.world.chance.getrandbits(128):032x}"}

    def unknown(self, provider_id: str) -> Answer:
        """An application that does not exist."""
        return told({"detail": f"Application '{provider_id.split('/', 1)[-1]}' not found"}, 404)

    def wrong(self, error: WrongError) -> Answer:
        """FastAPI's list of what is wrong."""
        sorts = {
            "missing": "missing",
            "type": "string_type",
            "image": "image_load_error",
            "fetch": "file_download_error",
        }
        if error.sort == "mime":
            return told({"detail": "Unsupported data URL"}, 400)
        if error.sort == "text":
            return told({"detail": error.message}, 422)
        place: list[str | int] = ["body", *(int(p) if p.isdigit() else p for p in error.field.split(".") if p)]
        return told(
            {"detail": [{"loc": place, "msg": error.message, "type": sorts.get(error.sort, "value_error")}]}, 422
        )

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """An error as fal says it; billing is a 403 here."""
        if sort == "credit":
            return told({"detail": f"User is locked. Reason: Exhausted balance. {text}"}, 403)
        if sort == "moderated":
            detail = {"loc": ["body", "prompt"], "msg": text, "type": "content_policy_violation"}
            return told({"detail": [detail]}, 422, {"X-Fal-Retryable": "false"})
        if sort in INFRASTRUCTURE or status >= 500:
            kind = INFRASTRUCTURE.get(sort, "internal_error") if status != 504 else "request_timeout"
            extra = {"X-Fal-Error-Type": kind, "X-Fal-Retryable": "true" if status in (429, 503, 504) else "false"}
            return told({"detail": text, "error_type": kind}, status, extra)
        return told({"detail": text}, status)

    def forgotten(self, job_id: str) -> Answer:
        """No such request."""
        return told({"detail": f"Request {job_id} not found", "status": "NOT_FOUND"}, 404)

    async def accept(self, call: Call) -> Job:
        """Check a submission and take it on."""
        if call.routed and call.found["model"] not in self.world.served[self.name]:
            # The router knows fal's models by the path alone, and goes no further.
            raise RefusedError(told({"error": f"Model not supported by provider {self.name}"}, 400))
        offer = self.find(call.found["model"])
        task, model = offer[1].task, offer[1].provider_id
        body = call.fields()
        prompt = body.text("prompt", None if task != "image-to-video" else "", empty=task == "image-to-video")
        self._check_loras(body, model, offer[1].adapter)
        source = await self._source(body, task)
        seed = body.whole("seed", None, 0, 2**64 - 1)
        if seed is None:
            seed = 2**63 + self.world.chance.getrandbits(62)  # beyond 2^53, as the real ones are
        if task.endswith("video"):
            width, height = _video_size(body)
            frames = body.whole("num_frames", 33, 9, 241) or 33
            if isinstance(body.values.get("duration"), str):  # text with a number in it is read as one
                body.values["duration"] = _number(body.text("duration"))
            seconds = body.number("duration", frames / 16, 1, 12)
            return self._taken(call, offer, Ask(task, prompt, width, height, seed, seconds, source=source))
        width, height = _image_size(body)
        form = LYING_TYPES.get(model) or body.choice("output_format", "jpeg", "jpeg", "png")
        count = body.whole("num_images", 1, 1, 4) or 1
        suffix = "png" if model in LYING_TYPES else ""
        ask = Ask(task, prompt, width, height, seed, form=form, count=count, source=source, suffix=suffix)
        job = self._taken(call, offer, ask)
        job.notes["inline"] = body.flag("sync_mode")
        return job

    def _taken(self, call: Call, offer: Any, ask: Ask) -> Job:
        return self.world.accept(self, offer, ask, call)

    def _check_loras(self, body: Fields, model: str, adapter: str | None) -> None:
        """LoRA endpoints want a list of {path, scale}; fal-ai/lora wants its base model named too."""
        rows = body.rows("loras")
        for index, row in enumerate(rows):
            if not isinstance(row.values.get("path"), str):
                raise WrongError(f"loras.{index}.path", "type", "str type expected")
            row.number("scale", 1, 0, 4)
        if adapter and model == "fal-ai/lora" and not isinstance(body.values.get("model_name"), str):
            raise WrongError("model_name", "missing", "Field required")

    async def _source(self, body: Fields, task: str) -> bytes | None:
        """The input picture, where the task has one."""
        if task.startswith("text-"):
            return None
        value = body.text("image_url", "") or next(iter(body.texts("image_urls")), "")
        if not value:
            if task.startswith("image-text"):
                return None
            raise WrongError("image_url", "missing", "Field required")
        if value.startswith("data:") and value[5:].partition(",")[0].split(";")[0] not in MIME_TYPES:
            raise WrongError("image_url", "mime", "Unsupported data URL")
        if not value.startswith(("data:", "http://", "https://")):
            raise WrongError("image_url", "image", "image_url must be a URL or a data URI")
        return await self.image(value, "image_url")

    async def run(self, call: Call) -> Answer:
        """The synchronous address: the answer comes when the work is done."""
        job = await self.accept(call)
        await self.world.until_done(job)
        return await self._output(job)

    async def queue(self, call: Call) -> Answer:
        """The queue: a ticket."""
        job = await self.accept(call)
        base = self._address(job)
        ticket = {
            "status": "IN_QUEUE",
            "request_id": job.id,
            "response_url": base,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
            "queue_position": job.position,
        }
        return told(ticket)

    def _address(self, job: Job) -> str:
        parts = job.provider_id.split("/")
        keep = 3 if parts[0] in ("workflows", "comfy") else 2
        return f"https://queue.fal.run/{'/'.join(parts[:keep])}/requests/{job.id}"

    def _found(self, call: Call) -> Job:
        job = self.job(call.found["id"])
        if not self._address(job).endswith(f".run/{call.found['app']}/requests/{job.id}"):
            raise RefusedError(self.forgotten(job.id))
        return job

    async def status(self, call: Call) -> Answer:
        """Where the job is: 202 while it waits or runs, 200 when it is over."""
        job = self._found(call)
        urls = {"request_id": job.id, "response_url": self._address(job), "status_url": f"{self._address(job)}/status"}
        logs = _logs(job) if call.query.get("logs") == "1" else None
        if job.state == "queued":
            return told({"status": "IN_QUEUE", "queue_position": job.position, **urls}, 202)
        if job.state == "running":
            return told({"status": "IN_PROGRESS", "logs": logs, **urls}, 202)
        done = {"status": "COMPLETED", "logs": logs, "metrics": {"inference_time": round(job.run, 3)}, **urls}
        if job.state == "failed" and job.fate == "fail":
            done |= {"error": job.fate_text or "Runner disconnected", "error_type": "runner_disconnected"}
        if job.state == "cancelled":
            done |= {"error": "Request was cancelled", "error_type": "client_cancelled"}
        return told(done)

    async def result(self, call: Call) -> Answer:
        """What the job made."""
        job = self._found(call)
        if job.state in ("queued", "running"):
            return told({"detail": "Request is still in progress"}, 400)
        return await self._output(job)

    async def cancel(self, call: Call) -> Answer:
        """Stop a job: 202 when asked in time, 400 when it is over."""
        job = self._found(call)
        if job.state not in ("queued", "running"):
            return told({"status": "ALREADY_COMPLETED"}, 400)
        job.cancel()
        return told({"status": "CANCELLATION_REQUESTED"}, 202)

    async def _output(self, job: Job) -> Answer:
        if job.state == "cancelled":
            headers = {"X-Fal-Error-Type": "client_cancelled"}
            return told({"detail": "Request was cancelled", "error_type": "client_cancelled"}, 499, headers)
        if job.fate == "moderated":
            return self.refuse(
                422, "The content could not be processed: it was flagged by a content checker.", "moderated"
            )
        if job.fate == "fail":
            return self.refuse(500, job.fate_text or "Runner disconnected", "fail")
        headers = {"x-fal-billable-units": str(len(job.names))}
        if job.video:
            medium = await self.world.shelf.fetch(job.names[0])
            video = {
                "url": self.world.media_url(job.names[0]),
                "content_type": "application/octet-stream" if job.provider_id in STREAMED_TYPES else "video/mp4",
                "file_name": job.names[0],
                "file_size": len(medium.data),
            }
            return told({"video": video, "seed": job.seed, "prompt": job.prompt}, headers=headers)
        urls = self.world.urls(job)
        if job.notes.get("inline"):
            media = [await self.world.shelf.fetch(name) for name in job.names]
            urls = [f"data:{medium.type};base64,{base64.b64encode(medium.data).decode()}" for medium in media]
        images = [{"url": url, "width": job.width, "height": job.height, "content_type": "image/jpeg"} for url in urls]
        said = {
            "images": images,
            "timings": {"inference": round(job.run, 4)},
            "seed": job.seed,
            "has_nsfw_concepts": [job.fate == "nsfw"] * len(images),
            "prompt": job.prompt,
        }
        return told(said, headers=headers)


def _image_size(body: Fields) -> tuple[int, int]:
    """image_size as a preset or {width, height}; top-level width and height mean nothing to fal."""
    value = body.values.get("image_size")
    if value is None:
        return SIZES["landscape_4_3"]
    if isinstance(value, str):
        if value not in SIZES:
            raise WrongError("image_size", "choice", f"Input should be one of {', '.join(SIZES)} or an object")
        return SIZES[value]
    inner = body.inner("image_size")
    width, height = inner.whole("width", 512, 64, 4096), inner.whole("height", 512, 64, 4096)
    return width or 512, height or 512


def _video_size(body: Fields) -> tuple[int, int]:
    """resolution and aspect_ratio, or image_size where a model takes it."""
    if "image_size" in body:
        return _image_size(body)
    lines = LINES[body.choice("resolution", "480p", *LINES)]
    across, down = RATIOS[body.choice("aspect_ratio", "16:9", *RATIOS)]
    if across >= down:
        return round(lines * across / down / 2) * 2, lines
    return lines, round(lines * down / across / 2) * 2


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _logs(job: Job) -> list[dict[str, str]]:
    """A line for every step done."""
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=max(0.0, job.age - job.queue))
    lines: list[dict[str, str]] = []
    for step in range(0, int(job.fraction * STEPS) + 1, 2):
        at = started + datetime.timedelta(seconds=job.run * step / STEPS)
        text = f" {step * 100 // STEPS}%|{'#' * (step // 2):<10}| {step}/{STEPS}"
        lines.append({"message": text, "level": "INFO", "source": "USER", "timestamp": at.isoformat()})
    return lines
