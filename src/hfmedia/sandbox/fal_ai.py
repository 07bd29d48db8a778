"""Simulated fal-ai: fal.run responds synchronously, queue.fal.run has a queue (fal.ai/docs, queue and errors).

URLs in responses contain only the first two segments of the model ID, like those of the real queue.
"""

from __future__ import annotations

import base64
import datetime
from typing import TYPE_CHECKING

from .messages import (
    EarlyResponseError,
    InvalidFieldError,
    RequestFields,
    SandboxRequest,
    SandboxResponse,
    json_response,
    text_response,
)
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

SIZE_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
RATIOS = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4)}
RESOLUTION_LINES = {"360p": 360, "480p": 480, "580p": 580, "720p": 720, "1080p": 1080}
MIME_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
MISLABELED_FORMATS = {"fal-ai/flux/dev": "png", "fal-ai/flux/krea": "png"}  # labeled image/jpeg, but PNG
OCTET_STREAM_MODELS = {"fal-ai/mochi-v1"}  # an mp4 labeled application/octet-stream
INFERENCE_STEPS = 20
INFRASTRUCTURE_ERRORS = {
    "server": "runner_server_error",
    "gateway": "runner_incomplete_response",
    "rate-limit": "concurrency_limit",
    "fail": "runner_server_error",
}


class Fal(Service):
    """fal.run and queue.fal.run."""

    name = "fal-ai"
    hosts = ("fal.run", "queue.fal.run")
    scheme = "Key"
    status_path = ("status",)

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        job_path = r"/(?P<app>[\w.-]+/[\w.-]+)/requests/(?P<id>[\w-]+)"
        self.routes = (
            make_route("GET", job_path + "/status", "poll", self.status, "queue.fal.run"),
            make_route("GET", job_path, "result", self.result, "queue.fal.run"),
            make_route("PUT", job_path + "/cancel", "cancel", self.cancel, "queue.fal.run"),
            make_route("POST", r"/(?P<model>.+)", "submit", self.enqueue, "queue.fal.run"),
            make_route("POST", r"/(?P<model>.+)", "submit", self.run_sync, "fal.run"),
        )

    def direct_host(self, request: SandboxRequest) -> str:
        """Return the host; through the router, `_subdomain=queue` selects the queue."""
        if request.is_routed:
            return "queue.fal.run" if request.query.get("_subdomain") == "queue" else "fal.run"
        return request.host

    def not_found(self, request: SandboxRequest) -> SandboxResponse:
        """Build fal's plain-text response for an unknown path."""
        return text_response("404: Not Found", 404)

    def headers(self, request: SandboxRequest) -> dict[str, str]:
        """Return the request ID of every response."""
        return {"x-fal-request-id": f"{self.state.rng.getrandbits(128):032x}"}

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """Build the response for an unknown application."""
        return json_response({"detail": f"Application '{provider_id.split('/', 1)[-1]}' not found"}, 404)

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build FastAPI's list of validation errors."""
        error_types = {
            "missing": "missing",
            "type": "string_type",
            "image": "image_load_error",
            "fetch": "file_download_error",
        }
        if error.error_kind == "mime":
            return json_response({"detail": "Unsupported data URL"}, 400)
        if error.error_kind == "text":
            return json_response({"detail": error.message}, 422)
        location: list[str | int] = [
            "body",
            *(int(part) if part.isdigit() else part for part in error.field.split(".") if part),
        ]
        return json_response(
            {
                "detail": [
                    {"loc": location, "msg": error.message, "type": error_types.get(error.error_kind, "value_error")}
                ]
            },
            422,
        )

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build an error in fal's format; missing credit is a 403 here."""
        if error_kind == "credit":
            return json_response({"detail": f"User is locked. Reason: Exhausted balance. {text}"}, 403)
        if error_kind == "moderated":
            detail = {"loc": ["body", "prompt"], "msg": text, "type": "content_policy_violation"}
            return json_response({"detail": [detail]}, 422, {"X-Fal-Retryable": "false"})
        if error_kind in INFRASTRUCTURE_ERRORS or status >= 500:
            error_type = INFRASTRUCTURE_ERRORS.get(error_kind, "internal_error") if status != 504 else "request_timeout"
            extra = {
                "X-Fal-Error-Type": error_type,
                "X-Fal-Retryable": "true" if status in (429, 503, 504) else "false",
            }
            return json_response({"detail": text, "error_type": error_type}, status, extra)
        return json_response({"detail": text}, status)

    def unknown_job(self, job_id: str) -> SandboxResponse:
        """Build the response for an unknown request ID."""
        return json_response({"detail": f"Request {job_id} not found", "status": "NOT_FOUND"}, 404)

    async def accept_job(self, request: SandboxRequest) -> SandboxJob:
        """Validate a submission and accept the job."""
        if request.is_routed and request.path_params["model"] not in self.state.offers[self.name]:
            # The router matches fal's models by path and rejects unknown ones itself.
            raise EarlyResponseError(json_response({"error": f"Model not supported by provider {self.name}"}, 400))
        offer = self.find_offer(request.path_params["model"])
        task, model = offer[1].task, offer[1].provider_id
        fields = request.json_fields()
        prompt = fields.string("prompt", None if task != "image-to-video" else "", allow_empty=task == "image-to-video")
        self._validate_loras(fields, model, offer[1].adapter)
        source_image = await self._source_image(fields, task)
        seed = fields.integer("seed", None, 0, 2**64 - 1)
        if seed is None:
            seed = 2**63 + self.state.rng.getrandbits(62)  # beyond 2^53, as the real ones are
        if task.endswith("video"):
            width, height = _video_size(fields)
            frames = fields.integer("num_frames", 33, 9, 241) or 33
            if isinstance(fields.values.get("duration"), str):  # fal parses a numeric string as a number
                fields.values["duration"] = _parse_number(fields.string("duration"))
            seconds = fields.number("duration", frames / 16, 1, 12)
            draw_request = DrawRequest(task, prompt, width, height, seed, seconds, source_image=source_image)
            return self.state.accept_job(self.name, offer, draw_request, request)
        width, height = _image_size(fields)
        image_format = MISLABELED_FORMATS.get(model) or fields.choice("output_format", "jpeg", "jpeg", "png")
        count = fields.integer("num_images", 1, 1, 4) or 1
        suffix = "png" if model in MISLABELED_FORMATS else ""
        draw_request = DrawRequest(
            task,
            prompt,
            width,
            height,
            seed,
            format=image_format,
            count=count,
            source_image=source_image,
            suffix=suffix,
        )
        job = self.state.accept_job(self.name, offer, draw_request, request)
        job.extra["inline"] = fields.boolean("sync_mode")
        return job

    def _validate_loras(self, fields: RequestFields, model: str, adapter: str | None) -> None:
        """Validate the list of {path, scale} of LoRA endpoints; fal-ai/lora also requires its base model."""
        rows = fields.objects("loras")
        for index, row in enumerate(rows):
            if not isinstance(row.values.get("path"), str):
                raise InvalidFieldError(f"loras.{index}.path", "type", "str type expected")
            row.number("scale", 1, 0, 4)
        if adapter and model == "fal-ai/lora" and not isinstance(fields.values.get("model_name"), str):
            raise InvalidFieldError("model_name", "missing", "Field required")

    async def _source_image(self, fields: RequestFields, task: str) -> bytes | None:
        """Return the input image, if the task has one."""
        if task.startswith("text-"):
            return None
        value = fields.string("image_url", "") or next(iter(fields.strings("image_urls")), "")
        if not value:
            if task.startswith("image-text"):
                return None
            raise InvalidFieldError("image_url", "missing", "Field required")
        if value.startswith("data:") and value[5:].partition(",")[0].split(";")[0] not in MIME_TYPES:
            raise InvalidFieldError("image_url", "mime", "Unsupported data URL")
        if not value.startswith(("data:", "http://", "https://")):
            raise InvalidFieldError("image_url", "image", "image_url must be a URL or a data URI")
        return await self.load_image(value, "image_url")

    async def run_sync(self, request: SandboxRequest) -> SandboxResponse:
        """Run a job synchronously: respond when it has ended."""
        job = await self.accept_job(request)
        await self.state.wait_until_done(job)
        return await self._output(job)

    async def enqueue(self, request: SandboxRequest) -> SandboxResponse:
        """Add a job to the queue and return its ticket."""
        job = await self.accept_job(request)
        job_url = self._job_url(job)
        ticket = {
            "status": "IN_QUEUE",
            "request_id": job.id,
            "response_url": job_url,
            "status_url": f"{job_url}/status",
            "cancel_url": f"{job_url}/cancel",
            "queue_position": job.position,
        }
        return json_response(ticket)

    def _job_url(self, job: SandboxJob) -> str:
        parts = job.provider_id.split("/")
        segments = 3 if parts[0] in ("workflows", "comfy") else 2
        return f"https://queue.fal.run/{'/'.join(parts[:segments])}/requests/{job.id}"

    def _find_job(self, request: SandboxRequest) -> SandboxJob:
        job = self.job(request.path_params["id"])
        if not self._job_url(job).endswith(f".run/{request.path_params['app']}/requests/{job.id}"):
            raise EarlyResponseError(self.unknown_job(job.id))
        return job

    async def status(self, request: SandboxRequest) -> SandboxResponse:
        """Return the job status: 202 while queued or running, 200 once ended."""
        job = self._find_job(request)
        urls = {"request_id": job.id, "response_url": self._job_url(job), "status_url": f"{self._job_url(job)}/status"}
        logs = _log_entries(job) if request.query.get("logs") == "1" else None
        if job.state == "queued":
            return json_response({"status": "IN_QUEUE", "queue_position": job.position, **urls}, 202)
        if job.state == "running":
            return json_response({"status": "IN_PROGRESS", "logs": logs, **urls}, 202)
        payload = {
            "status": "COMPLETED",
            "logs": logs,
            "metrics": {"inference_time": round(job.run_seconds, 3)},
            **urls,
        }
        if job.state == "failed" and job.outcome == "fail":
            payload |= {"error": job.outcome_text or "Runner disconnected", "error_type": "runner_disconnected"}
        if job.state == "cancelled":
            payload |= {"error": "Request was cancelled", "error_type": "client_cancelled"}
        return json_response(payload)

    async def result(self, request: SandboxRequest) -> SandboxResponse:
        """Return the output of a job."""
        job = self._find_job(request)
        if job.state in ("queued", "running"):
            return json_response({"detail": "Request is still in progress"}, 400)
        return await self._output(job)

    async def cancel(self, request: SandboxRequest) -> SandboxResponse:
        """Cancel a job: 202 while queued or running, 400 once ended."""
        job = self._find_job(request)
        if job.state not in ("queued", "running"):
            return json_response({"status": "ALREADY_COMPLETED"}, 400)
        job.cancel()
        return json_response({"status": "CANCELLATION_REQUESTED"}, 202)

    async def _output(self, job: SandboxJob) -> SandboxResponse:
        if job.state == "cancelled":
            headers = {"X-Fal-Error-Type": "client_cancelled"}
            return json_response({"detail": "Request was cancelled", "error_type": "client_cancelled"}, 499, headers)
        if job.outcome == "moderated":
            return self.reject(
                422, "The content could not be processed: it was flagged by a content checker.", "moderated"
            )
        if job.outcome == "fail":
            return self.reject(500, job.outcome_text or "Runner disconnected", "fail")
        headers = {"x-fal-billable-units": str(len(job.media_names))}
        if job.is_video:
            rendered = await self.state.media_cache.fetch(job.media_names[0])
            video = {
                "url": self.state.media_url(job.media_names[0]),
                "content_type": "application/octet-stream" if job.provider_id in OCTET_STREAM_MODELS else "video/mp4",
                "file_name": job.media_names[0],
                "file_size": len(rendered.data),
            }
            return json_response({"video": video, "seed": job.seed, "prompt": job.prompt}, headers=headers)
        urls = self.state.media_urls(job)
        if job.extra.get("inline"):
            media = [await self.state.media_cache.fetch(name) for name in job.media_names]
            urls = [
                f"data:{rendered.media_type};base64,{base64.b64encode(rendered.data).decode()}" for rendered in media
            ]
        images = [{"url": url, "width": job.width, "height": job.height, "content_type": "image/jpeg"} for url in urls]
        payload = {
            "images": images,
            "timings": {"inference": round(job.run_seconds, 4)},
            "seed": job.seed,
            "has_nsfw_concepts": [job.outcome == "nsfw"] * len(images),
            "prompt": job.prompt,
        }
        return json_response(payload, headers=headers)


def _image_size(fields: RequestFields) -> tuple[int, int]:
    """Parse image_size, a preset or {width, height}; fal ignores top-level width and height."""
    value = fields.values.get("image_size")
    if value is None:
        return SIZE_PRESETS["landscape_4_3"]
    if isinstance(value, str):
        if value not in SIZE_PRESETS:
            raise InvalidFieldError(
                "image_size", "choice", f"Input should be one of {', '.join(SIZE_PRESETS)} or an object"
            )
        return SIZE_PRESETS[value]
    inner = fields.nested("image_size")
    width, height = inner.integer("width", 512, 64, 4096), inner.integer("height", 512, 64, 4096)
    return width or 512, height or 512


def _video_size(fields: RequestFields) -> tuple[int, int]:
    """Parse resolution and aspect_ratio, or image_size when present."""
    if "image_size" in fields:
        return _image_size(fields)
    lines = RESOLUTION_LINES[fields.choice("resolution", "480p", *RESOLUTION_LINES)]
    ratio_width, ratio_height = RATIOS[fields.choice("aspect_ratio", "16:9", *RATIOS)]
    if ratio_width >= ratio_height:
        return round(lines * ratio_width / ratio_height / 2) * 2, lines
    return lines, round(lines * ratio_height / ratio_width / 2) * 2


def _parse_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _log_entries(job: SandboxJob) -> list[dict[str, str]]:
    """Return a log line for every completed step."""
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=max(0.0, job.age - job.queue_seconds))
    lines: list[dict[str, str]] = []
    for step in range(0, int(job.fraction * INFERENCE_STEPS) + 1, 2):
        timestamp = started + datetime.timedelta(seconds=job.run_seconds * step / INFERENCE_STEPS)
        text = f" {step * 100 // INFERENCE_STEPS}%|{'#' * (step // 2):<10}| {step}/{INFERENCE_STEPS}"
        lines.append({"message": text, "level": "INFO", "source": "USER", "timestamp": timestamp.isoformat()})
    return lines
