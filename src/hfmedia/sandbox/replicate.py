"""replicate, simulated: predictions that are held while one waits (replicate.com/docs, predictions).

Top-level keys are checked strictly, input keys are not: unknown ones are ignored.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import TYPE_CHECKING, Any

from .catalogue import LIGHTNING_VERSION, SDXL_VERSION
from .service import Answer, Call, Fields, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

HOLD = 60.0  # seconds at most, at speed 1
STEPS = 20
TOP_LEVEL = ("input", "stream", "webhook", "webhook_events_filter")
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
ONE_STRING = re.compile(r"kontext|edit|e1\.1|wan-|ltx|hunyuan|mochi|cogvideo|stable-diffusion-3\.5-medium")
VERSIONS = {SDXL_VERSION, LIGHTNING_VERSION}
STATES = {
    "queued": "starting",
    "running": "processing",
    "done": "succeeded",
    "failed": "failed",
    "cancelled": "canceled",
}
TITLES = {
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

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (
            route("POST", r"/v1/models/(?P<model>[^/]+/[^/]+)/predictions", "submit", self.by_name),
            route("POST", r"/v1/predictions", "submit", self.by_version),
            route("GET", r"/v1/predictions/(?P<id>\w+)", "poll", self.get),
            route("GET", r"/v1/predictions", "poll", self.list),
            route("POST", r"/v1/predictions/(?P<id>\w+)/cancel", "cancel", self.cancel),
        )

    def headers(self, call: Call) -> dict[str, str]:
        """The limits that replicate tells on every answer."""
        return {"ratelimit-remaining": "599", "ratelimit-reset": "1"}

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """problem+json."""
        said: dict[str, Any] = {"title": TITLES.get(status, "Server error"), "detail": text, "status": status}
        if sort == "busy":
            said["detail"] = f"Request was throttled. {text} Your rate limit resets in ~30s."
        return told(said, status, media="application/problem+json")

    def wrong(self, error: WrongError) -> Answer:
        """problem+json with the invalid fields."""
        names = {"extra": "additional_property_not_allowed", "missing": "required", "type": "invalid_type"}
        said = {
            "title": "Input validation failed",
            "detail": f"- {error.message}\n",
            "status": 422,
            "invalid_fields": [
                {"type": names.get(error.sort, "invalid"), "field": error.field, "description": error.message}
            ],
        }
        return told(said, 422, media="application/problem+json")

    def unknown(self, provider_id: str) -> Answer:
        """A model that nobody can see."""
        return self.refuse(404, "The requested resource could not be found.", "model")

    def forgotten(self, job_id: str) -> Answer:
        """Predictions are removed after an hour."""
        return self.refuse(404, "The requested resource could not be found.", "lost")

    async def by_name(self, call: Call) -> Answer:
        """POST to a model that replicate keeps warm."""
        body = call.fields()
        body.only(*TOP_LEVEL)
        return await self._start(call, call.found["model"], body)

    async def by_version(self, call: Call) -> Answer:
        """POST with a version: a hash, or owner/name:hash."""
        body = call.fields()
        body.only(*TOP_LEVEL, "version")
        version = body.text("version").rpartition(":")[2]
        known = (name for name in self.world.served[self.name] if name.partition(":")[2] == version)
        model = next(known, None)
        if model is None:
            text = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            return self.refuse(422, text, "model")
        return await self._start(call, model, body)

    async def _start(self, call: Call, model: str, body: Fields) -> Answer:
        offer = self.find(model)
        given = body.inner("input")
        if "input" not in body:
            raise WrongError("input", "missing", "input is required")
        job = self.world.accept(self, offer, await self._ask(given, offer[1].task), call)
        job.notes |= {"input": given.values, "array": not ONE_STRING.search(model)}
        _deadline(job, call.headers.get("Cancel-After", ""), self.world.speed)
        prefer = re.search(r"wait(?:=(\d+))?", call.headers.get("Prefer", ""))
        headers: dict[str, str] = {}
        held = False
        if prefer:
            seconds = min(HOLD, max(1.0, float(prefer[1] or HOLD)))
            await self.world.until_done(job, seconds / self.world.speed)
            headers["Preference-Applied"] = f"wait={seconds:.0f}"
            held = job.state == "done"
        # A prediction that ends while it is held is told before its status is: the output is there already.
        early = held and bool(job.notes["array"])
        return told(self._told(job, "processing" if early else None), 201, headers)

    async def _ask(self, given: Fields, task: str) -> Ask:
        video = task.endswith("video")
        prompt = given.text("prompt", "" if task == "image-to-video" else None, empty=task == "image-to-video")
        seed = given.whole("seed", None, 0, 2**63 - 1)
        source = None
        if task.startswith("image"):
            lists = [*given.texts("images"), *given.texts("input_images")]
            value = given.text("image", "") or given.text("input_image", "") or next(iter(lists), "")
            if not value:
                raise WrongError("input", "missing", "image is required")
            source = await self.image(value, "input.image")
        if video:
            width, height = VIDEO_SIDES[given.choice("resolution", "480p", *VIDEO_SIDES)]
            if given.choice("aspect_ratio", "16:9", *RATIOS) == "9:16":
                width, height = height, width
            frames = given.whole("num_frames", 33, 5, 241) or 33
            return Ask(task, prompt, width, height, seed, frames / 16, source=source)
        width, height = RATIOS[given.choice("aspect_ratio", "1:1", *RATIOS)]
        width = given.whole("width", width, 64, 2048) or width
        height = given.whole("height", height, 64, 2048) or height
        form = given.choice("output_format", "webp", "webp", "jpg", "png").replace("jpg", "jpeg")
        count = given.whole("num_outputs", 1, 1, 4) or 1
        return Ask(task, prompt, width, height, seed, form=form, count=count, source=source)

    async def get(self, call: Call) -> Answer:
        """A prediction as it stands."""
        return told(self._told(self.job(call.found["id"])))

    async def list(self, call: Call) -> Answer:
        """The latest hundred predictions, newest first."""
        mine = [job for job in self.world.jobs.values() if job.service == self.name]
        return told({"previous": None, "next": None, "results": [self._told(job) for job in mine[:-101:-1]]})

    async def cancel(self, call: Call) -> Answer:
        """Stop a prediction."""
        job = self.job(call.found["id"])
        job.cancel()
        return told(self._told(job))

    def _told(self, job: Job, status: str | None = None) -> dict[str, Any]:
        base = f"https://api.replicate.com/v1/predictions/{job.id}"
        urls = self.world.urls(job)
        name, _, version = job.provider_id.partition(":")
        created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=job.age)
        ended = job.state in ("done", "failed")
        errors = {
            "fail": job.fate_text or "Prediction failed: CUDA out of memory",
            "moderated": "NSFW content detected. Try running it again, or try a different prompt.",
        }
        failed = job.state == "failed"
        state = "aborted" if job.cancelled and job.notes.get("aborted") else STATES[job.state]
        if job.fate == "nsfw" and job.state == "done":
            failed, status, errors["nsfw"] = True, None, errors["moderated"]
        return {
            "id": job.id,
            "model": name,
            "version": version or "hidden",
            "input": job.notes["input"],
            "logs": _logs(job),
            "output": None if failed or job.state != "done" else (urls if job.notes["array"] else urls[0]),
            "data_removed": False,
            "error": errors.get(job.fate or "") if failed else None,
            "status": "failed" if failed else status or state,
            "created_at": created.isoformat().replace("+00:00", "Z"),
            **({"metrics": {"predict_time": round(job.run, 4)}} if ended else {}),
            "urls": {"get": base, "cancel": f"{base}/cancel"},
        }


def _deadline(job: Job, text: str, speed: float) -> None:
    """`Cancel-After: 90s`, `5m`, `1m30s`: the job is stopped then; aborted, where it had not begun."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not found or not text.strip():
        return
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    wait = (hours * 3600 + minutes * 60 + seconds) / speed
    job.notes["aborted"] = wait < job.queue
    asyncio.get_running_loop().call_later(wait, job.cancel)


def _logs(job: Job) -> str:
    """The lines that tqdm writes, one for every step done."""
    if job.state == "queued":
        return ""
    lines = [f"Using seed: {job.seed}"]
    for step in range(int(job.fraction * STEPS) + 1):
        share = step * 100 // STEPS
        lines.append(f"{share:3d}%|{'#' * (share // 10):<10}| {step}/{STEPS} [00:00<00:01, 9.61it/s]")
    return "\n".join(lines)
