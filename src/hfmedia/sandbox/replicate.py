"""Simulated replicate: predictions, optionally held open with `Prefer: wait` (replicate.com/docs, predictions).

Top-level keys are validated strictly; unknown input keys are ignored.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import TYPE_CHECKING, Any

from .catalog import LIGHTNING_VERSION, SDXL_VERSION
from .messages import InvalidFieldError, RequestFields, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxJob, SandboxState

MAX_WAIT_SECONDS = 60.0  # longest `Prefer: wait`, at speed 1
INFERENCE_STEPS = 20
TOP_LEVEL_FIELDS = ("input", "stream", "webhook", "webhook_events_filter")
RATIOS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "9:16": (768, 1344),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:3": (1152, 896),
    "3:4": (896, 1152),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "21:9": (1536, 640),
    "9:21": (640, 1536),
}
VIDEO_SIDES = {"480p": (832, 480), "720p": (1280, 720)}
SINGLE_OUTPUT_MODELS = re.compile(r"kontext|edit|e1\.1|wan-|ltx|hunyuan|mochi|cogvideo|stable-diffusion-3\.5-medium")
VERSIONS = {SDXL_VERSION, LIGHTNING_VERSION}
STATUSES = {
    "queued": "starting",
    "running": "processing",
    "done": "succeeded",
    "failed": "failed",
    "cancelled": "canceled",
}
ERROR_TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    402: "Insufficient credit",
    403: "Forbidden",
    404: "Not found",
    422: "Input validation failed",
    429: "Too many requests",
}


class Replicate(Service):
    """api.replicate.com."""

    name = "replicate"
    hosts = ("api.replicate.com",)
    status_path = ("status",)

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (
            make_route("POST", r"/v1/models/(?P<model>[^/]+/[^/]+)/predictions", "submit", self.create_for_model),
            make_route("POST", r"/v1/predictions", "submit", self.create_for_version),
            make_route("GET", r"/v1/predictions/(?P<id>\w+)", "poll", self.get_prediction),
            make_route("GET", r"/v1/predictions", "poll", self.list_predictions),
            make_route("POST", r"/v1/predictions/(?P<id>\w+)/cancel", "cancel", self.cancel),
        )

    def headers(self, request: SandboxRequest) -> dict[str, str]:
        """Return the rate-limit headers of every response."""
        return {"ratelimit-remaining": "599", "ratelimit-reset": "1"}

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build a problem+json error."""
        payload: dict[str, Any] = {"title": ERROR_TITLES.get(status, "Server error"), "detail": text, "status": status}
        if error_kind == "rate-limit":
            payload["detail"] = f"Request was throttled. {text} Your rate limit resets in ~30s."
        return json_response(payload, status, media_type="application/problem+json")

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build a problem+json error with the invalid fields."""
        error_types = {"extra": "additional_property_not_allowed", "missing": "required", "type": "invalid_type"}
        payload = {
            "title": "Input validation failed",
            "detail": f"- {error.message}\n",
            "status": 422,
            "invalid_fields": [
                {
                    "type": error_types.get(error.error_kind, "invalid"),
                    "field": error.field,
                    "description": error.message,
                }
            ],
        }
        return json_response(payload, 422, media_type="application/problem+json")

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """Build the response for an unknown or private model."""
        return self.reject(404, "The requested resource could not be found.", "model")

    def unknown_job(self, job_id: str) -> SandboxResponse:
        """Build the response for an unknown or deleted prediction."""
        return self.reject(404, "The requested resource could not be found.", "job-not-found")

    async def create_for_model(self, request: SandboxRequest) -> SandboxResponse:
        """Create a prediction for an official model."""
        fields = request.json_fields()
        fields.require_only(*TOP_LEVEL_FIELDS)
        return await self._create_prediction(request, request.path_params["model"], fields)

    async def create_for_version(self, request: SandboxRequest) -> SandboxResponse:
        """Create a prediction for a version: a hash, or owner/name:hash."""
        fields = request.json_fields()
        fields.require_only(*TOP_LEVEL_FIELDS, "version")
        version = fields.string("version").rpartition(":")[2]
        models = (name for name in self.state.offers[self.name] if name.partition(":")[2] == version)
        model = next(models, None)
        if model is None:
            text = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            return self.reject(422, text, "model")
        return await self._create_prediction(request, model, fields)

    async def _create_prediction(self, request: SandboxRequest, model: str, fields: RequestFields) -> SandboxResponse:
        offer = self.find_offer(model)
        inputs = fields.nested("input")
        if "input" not in fields:
            raise InvalidFieldError("input", "missing", "input is required")
        job = self.state.accept_job(self.name, offer, await self._draw_request(inputs, offer[1].task), request)
        job.extra |= {"input": inputs.values, "array": not SINGLE_OUTPUT_MODELS.search(model)}
        _schedule_cancel(job, request.headers.get("Cancel-After", ""), self.state.speed)
        prefer = re.search(r"wait(?:=(\d+))?", request.headers.get("Prefer", ""))
        headers: dict[str, str] = {}
        is_held = False
        if prefer:
            seconds = min(MAX_WAIT_SECONDS, max(1.0, float(prefer[1] or MAX_WAIT_SECONDS)))
            await self.state.wait_until_done(job, seconds / self.state.speed)
            headers["Preference-Applied"] = f"wait={seconds:.0f}"
            is_held = job.state == "done"
        # A prediction that ends while held open has its output already, but its status lags behind.
        is_early = is_held and bool(job.extra["array"])
        return json_response(self._prediction(job, "processing" if is_early else None), 201, headers)

    async def _draw_request(self, inputs: RequestFields, task: str) -> DrawRequest:
        is_video = task.endswith("video")
        prompt = inputs.string("prompt", "" if task == "image-to-video" else None, allow_empty=task == "image-to-video")
        seed = inputs.integer("seed", None, 0, 2**63 - 1)
        source_image = None
        if task.startswith("image"):
            image_lists = [*inputs.strings("images"), *inputs.strings("input_images")]
            value = inputs.string("image", "") or inputs.string("input_image", "") or next(iter(image_lists), "")
            if not value:
                raise InvalidFieldError("input", "missing", "image is required")
            source_image = await self.load_image(value, "input.image")
        if is_video:
            width, height = VIDEO_SIDES[inputs.choice("resolution", "480p", *VIDEO_SIDES)]
            if inputs.choice("aspect_ratio", "16:9", *RATIOS) == "9:16":
                width, height = height, width
            frames = inputs.integer("num_frames", 33, 5, 241) or 33
            return DrawRequest(task, prompt, width, height, seed, frames / 16, source_image=source_image)
        width, height = RATIOS[inputs.choice("aspect_ratio", "1:1", *RATIOS)]
        width = inputs.integer("width", width, 64, 2048) or width
        height = inputs.integer("height", height, 64, 2048) or height
        image_format = inputs.choice("output_format", "webp", "webp", "jpg", "png").replace("jpg", "jpeg")
        count = inputs.integer("num_outputs", 1, 1, 4) or 1
        return DrawRequest(
            task, prompt, width, height, seed, format=image_format, count=count, source_image=source_image
        )

    async def get_prediction(self, request: SandboxRequest) -> SandboxResponse:
        """Return the status of a prediction."""
        return json_response(self._prediction(self.job(request.path_params["id"])))

    async def list_predictions(self, request: SandboxRequest) -> SandboxResponse:
        """Return the latest 100 predictions, newest first."""
        jobs = [job for job in self.state.jobs.values() if job.service == self.name]
        return json_response(
            {"previous": None, "next": None, "results": [self._prediction(job) for job in jobs[:-101:-1]]}
        )

    async def cancel(self, request: SandboxRequest) -> SandboxResponse:
        """Cancel a prediction."""
        job = self.job(request.path_params["id"])
        job.cancel()
        return json_response(self._prediction(job))

    def _prediction(self, job: SandboxJob, status: str | None = None) -> dict[str, Any]:
        prediction_url = f"https://api.replicate.com/v1/predictions/{job.id}"
        urls = self.state.media_urls(job)
        name, _, version = job.provider_id.partition(":")
        created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=job.age)
        has_ended = job.state in ("done", "failed")
        errors = {
            "fail": job.outcome_text or "Prediction failed: CUDA out of memory",
            "moderated": "NSFW content detected. Try running it again, or try a different prompt.",
        }
        has_failed = job.state == "failed"
        state = "aborted" if job.is_cancelled and job.extra.get("aborted") else STATUSES[job.state]
        if job.outcome == "nsfw" and job.state == "done":
            has_failed, status, errors["nsfw"] = True, None, errors["moderated"]
        return {
            "id": job.id,
            "model": name,
            "version": version or "hidden",
            "input": job.extra["input"],
            "logs": _log_text(job),
            "output": None if has_failed or job.state != "done" else (urls if job.extra["array"] else urls[0]),
            "data_removed": False,
            "error": errors.get(job.outcome or "") if has_failed else None,
            "status": "failed" if has_failed else status or state,
            "created_at": created.isoformat().replace("+00:00", "Z"),
            **({"metrics": {"predict_time": round(job.run_seconds, 4)}} if has_ended else {}),
            "urls": {"get": prediction_url, "cancel": f"{prediction_url}/cancel"},
        }


def _schedule_cancel(job: SandboxJob, text: str, speed: float) -> None:
    """Schedule `Cancel-After: 90s`, `5m`, `1m30s`; a job that has not started by then is `aborted`."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not match or not text.strip():
        return
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    delay = (hours * 3600 + minutes * 60 + seconds) / speed
    job.extra["aborted"] = delay < job.queue_seconds
    asyncio.get_running_loop().call_later(delay, job.cancel)


def _log_text(job: SandboxJob) -> str:
    """Return tqdm-style log lines, one for every completed step."""
    if job.state == "queued":
        return ""
    lines = [f"Using seed: {job.seed}"]
    for step in range(int(job.fraction * INFERENCE_STEPS) + 1):
        percent = step * 100 // INFERENCE_STEPS
        lines.append(f"{percent:3d}%|{'#' * (percent // 10):<10}| {step}/{INFERENCE_STEPS} [00:00<00:01, 9.61it/s]")
    return "\n".join(lines)
