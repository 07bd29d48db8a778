"""wavespeed, simulated: every answer in an envelope with its own code (wavespeed.ai/docs, get-result, error-codes).

The envelope's code may say no inside an HTTP 200.
"""

from __future__ import annotations

import base64
import datetime
from typing import TYPE_CHECKING, Any

from .service import Answer, Call, Fields, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

STATES = {
    "queued": "created",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
CODES = {"moderated": 1200, "invalid": 1400, "missing": 1401, "fetch": 1402, "image": 1402, "range": 1403, "type": 1405}
RATIOS = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1)}
LINES = {"480p": 480, "720p": 720, "1080p": 1080}


class Wavespeed(Service):
    """api.wavespeed.ai."""

    name = "wavespeed"
    hosts = ("api.wavespeed.ai",)
    status_path = ("data", "status")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (
            route("GET", r"/api/v3/predictions/(?P<id>[\w-]+)/result", "poll", self.result),
            route("POST", r"/api/v3/predictions/delete", "cancel", self.delete),
            route("POST", r"/api/v3/(?P<model>.+)", "submit", self.submit),
        )

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """{code, message, data}; moderation is told inside an HTTP 200."""
        if sort == "moderated":
            return told({"code": CODES["moderated"], "message": text, "data": None})
        return told({"code": status, "message": text, "data": None}, status)

    def wrong(self, error: WrongError) -> Answer:
        """400 by HTTP, the finer code in the envelope."""
        code = CODES.get(error.sort, CODES["invalid"])
        return told({"code": code, "message": f"{error.field}: {error.message}", "data": None}, 400)

    async def submit(self, call: Call) -> Answer:
        """Take a job on."""
        offer = self.find(call.found["model"])
        task = offer[1].task
        body = call.fields()
        from_image = task == "image-to-video"
        prompt = body.text("prompt", "" if from_image else None, empty=from_image)
        for index, row in enumerate(body.rows("loras")):
            row.text("path")
            if row.number("scale", 1, 0, 4) < 0:
                raise WrongError(f"loras.{index}.scale", "range", "scale must not be negative")
        source = await self._source(body, task)
        seed = body.whole("seed", None, -1, 2**63 - 1)
        seed = None if seed == -1 else seed
        if task.endswith("video"):
            width, height = self._film_size(body)
            seconds = float(body.whole("duration", 3, 1, 12) or 3)
            ask = Ask(task, prompt, width, height, seed, seconds, source=source)
        else:
            width, height = body.size("size", (1024, 1024), "*", 256, 2048)
            form = body.choice("output_format", "jpeg", "jpeg", "png", "webp")
            ask = Ask(task, prompt, width, height, seed, form=form, source=source)
        job = self.world.accept(self, offer, ask, call)
        job.notes["base64"] = body.flag("enable_base64_output")
        if body.flag("enable_sync_mode"):
            await self.world.until_done(job)
        return told(await self._envelope(job))

    def _film_size(self, body: Fields) -> tuple[int, int]:
        if "size" in body:
            return body.size("size", (832, 480), "*", 256, 1920)
        lines = LINES[body.choice("resolution", "480p", *LINES)]
        across, down = RATIOS[body.choice("aspect_ratio", "16:9", *RATIOS)]
        long = round(lines * max(across, down) / min(across, down) / 2) * 2
        return (long, lines) if across >= down else (lines, long)

    async def _source(self, body: Fields, task: str) -> bytes | None:
        if task.startswith("text-"):
            return None
        value = body.text("image", "") or next(iter(body.texts("images")), "")
        if not value:
            if task.startswith("image-text"):
                return None
            raise WrongError("image", "missing", "property 'image' is missing")
        return await self.image(value, "image")

    async def result(self, call: Call) -> Answer:
        """A prediction as it stands."""
        return told(await self._envelope(self.job(call.found["id"])))

    async def delete(self, call: Call) -> Answer:
        """Forget predictions; wavespeed has no other way to stop one."""
        for job_id in call.fields().texts("ids"):
            job = self.world.jobs.get(job_id)
            if job is not None and job.service == self.name:
                job.cancel()
        return told({"code": 200, "message": "success", "data": {}})

    async def _envelope(self, job: Job) -> dict[str, Any]:
        created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=job.age)
        state = STATES[job.state]
        outputs = self.world.urls(job) if state == "completed" else []
        if outputs and job.notes.get("base64"):
            outputs = [base64.b64encode(data).decode() for data in await self.world.media(job)]
        texts = {"fail": job.fate_text or "The model failed to run", "moderated": "Content flagged as sensitive"}
        data = {
            "id": job.id,
            "model": job.provider_id,
            "outputs": outputs,
            "urls": {"get": f"https://api.wavespeed.ai/api/v3/predictions/{job.id}/result"},
            "has_nsfw_contents": [job.fate == "nsfw"] * len(outputs),
            "status": state,
            "created_at": created.isoformat().replace("+00:00", "Z"),
            "error": texts.get(job.fate or "", "") if state == "failed" else "",
            "timings": {"inference": round(job.run * 1000) if state == "completed" else 0},
        }
        if state == "failed" and job.fate == "moderated":
            return {"code": CODES["moderated"], "message": texts["moderated"], "data": data}
        return {"code": 200, "message": "success", "data": data}
