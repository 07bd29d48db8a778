"""zai-org, simulated: pictures as asynchronous tasks (docs.z.ai, generate-image-async, get-image-status, api-code).

Sizes are 1024 to 2048 in steps of 32, at most 2^22 pixels; an empty balance is a 429 with code 1113.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .service import Answer, Call, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import World

SIDES = (1024, 2048)
STEP = 32
MOST_PIXELS = 2**22
CODES = {
    "credential": (401, "1002"),
    "forbidden": (403, "1220"),
    "credit": (429, "1113"),
    "busy": (429, "1302"),
    "moderated": (400, "1301"),
    "invalid": (400, "1210"),
    "missing": (400, "1213"),
    "size": (400, "1214"),
    "model": (400, "1211"),
    "lost": (404, "1221"),
    "no-route": (404, "1222"),
    "repeated": (400, "1231"),
    "server": (500, "1234"),
}


class Zai(Service):
    """api.z.ai."""

    name = "zai-org"
    hosts = ("api.z.ai",)
    status_path = ("task_status",)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (
            route("POST", r"/api/paas/v4/async/images/generations", "submit", self.submit),
            route("GET", r"/api/paas/v4/async-result/(?P<id>[\w-]+)", "poll", self.result),
        )
        self._request_ids: set[str] = set()

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """{"error": {code, message}}: the code says what the status does not."""
        own, code = CODES.get(sort, (status, "1234"))
        fixed = sort in ("credit", "moderated", "model")
        return told({"error": {"code": code, "message": text}}, own if fixed else status)

    def wrong(self, error: WrongError) -> Answer:
        """Parameter codes 1210 to 1214."""
        sort = error.sort if error.sort in CODES else {"range": "size", "empty": "missing"}.get(error.sort, "invalid")
        return self.refuse(400, f"{error.field}: {error.message}", sort)

    async def submit(self, call: Call) -> Answer:
        """Take a task on."""
        body = call.fields()
        offer = self.find(body.text("model"))
        prompt = body.text("prompt")
        width, height = _size(body.text("size", "1280x1280"))
        request_id = body.text("request_id", "")
        if request_id and request_id in self._request_ids:
            return self.refuse(400, "The request_id was used before.", "repeated")
        self._request_ids.add(request_id)
        seed = body.whole("seed", None, 0, 2**63 - 1)
        job = self.world.accept(self, offer, Ask(offer[1].task, prompt, width, height, seed, form="png"), call)
        job.notes["request_id"] = request_id or f"sandbox-{job.id[:12]}"
        said = {"model": job.provider_id, "id": job.id, "request_id": job.notes["request_id"]}
        return told(said | {"task_status": "PROCESSING"})

    async def result(self, call: Call) -> Answer:
        """A task as it stands."""
        job = self.job(call.found["id"])
        said: dict[str, Any] = {"model": job.provider_id, "id": job.id, "request_id": job.notes["request_id"]}
        if job.state in ("queued", "running"):
            return told(said | {"task_status": "PROCESSING"})
        if job.state == "done" and job.fate != "nsfw":
            return told(said | {"task_status": "SUCCESS", "image_result": [{"url": self.world.urls(job)[0]}]})
        flagged = job.fate in ("moderated", "nsfw")
        text = "The content may be unsafe or sensitive." if flagged else job.fate_text or "The task failed."
        error = {"code": "1301" if flagged else "1234", "message": text}
        return told(said | {"task_status": "FAIL", "error": error})


def _size(text: str) -> tuple[int, int]:
    """The size, if the model can make it. Wrong otherwise."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise WrongError("size", "size", "size must look like 1280x1280")
    width, height = int(found[1]), int(found[2])
    low, high = SIDES
    if any(not low <= side <= high or side % STEP for side in (width, height)):
        raise WrongError("size", "size", f"each side must be {low} to {high} and a multiple of {STEP}")
    if width * height > MOST_PIXELS:
        raise WrongError("size", "size", f"at most {MOST_PIXELS} pixels")
    return width, height
