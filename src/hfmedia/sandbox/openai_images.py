"""The OpenAI images dialect, simulated twice: nscale (base64 only) and acme-images, a provider hfmedia never heard of.

Errors are `{"error": {message, type, param, code}}` (docs.nscale.com, create-image; platform.openai.com, images).
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from .service import Answer, Call, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import Job, World

TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def openai_error(
    status: int, text: str, param: str | None = None, code: str | None = None, sort: str | None = None
) -> Answer:
    """The error object of the dialect."""
    kind = sort or TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return told({"error": {"message": text, "type": kind, "param": param, "code": code}}, status)


class OpenAIImages(Service):
    """POST /v1/images/generations, answered at once."""

    name = "acme-images"
    hosts = ("api.acme-images.example",)
    formats: tuple[str, ...] = ("url", "b64_json")
    default_size = (1024, 1024)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (route("POST", r"/v1/images/generations", "submit", self.generate),)

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """The dialect's error."""
        codes = {"moderated": "content_policy_violation", "credit": "insufficient_quota", "model": "model_not_found"}
        return openai_error(status, text, code=codes.get(sort))

    def wrong(self, error: WrongError) -> Answer:
        """The dialect's error, naming the parameter."""
        return openai_error(400, error.message, error.field or None)

    async def accept(self, call: Call) -> tuple[Job, str]:
        """Check and take on; also the response format asked for."""
        body = call.fields()
        offer = self.find(body.text("model"))
        prompt = body.text("prompt")
        size = self.default_size if body.values.get("size") == "auto" else body.size("size", self.default_size)
        count = body.whole("n", 1, 1, 10) or 1
        given = body.choice("response_format", self.formats[0], *self.formats)
        form = body.choice("output_format", "png", "png", "jpeg", "webp")
        seed = body.whole("seed", None, 0, 2**63 - 1)
        ask = Ask(offer[1].task, prompt, size[0], size[1], seed, form=form, count=count)
        return self.world.accept(self, offer, ask, call), given

    async def generate(self, call: Call) -> Answer:
        """One or more pictures, by URL or in base64."""
        job, given = await self.accept(call)
        await self.world.until_done(job)
        if job.fate == "fail":
            return self.refuse(500, job.fate_text or "The generation failed.", "fail")
        if job.fate in ("moderated", "nsfw"):
            return self.refuse(400, "Your request was rejected by the safety system.", "moderated")
        rows: list[dict[str, Any]]
        if given == "url":
            rows = [{"url": url} for url in self.world.urls(job)]
        else:
            rows = [{"b64_json": base64.b64encode(data).decode()} for data in await self.world.media(job)]
        return told({"created": int(time.time()), "data": rows})


class Nscale(OpenAIImages):
    """inference.api.nscale.com: base64 alone, and 429 when the credit is gone."""

    name = "nscale"
    hosts = ("inference.api.nscale.com",)
    formats = ("b64_json",)
    default_size = (512, 512)

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """Without credit: 429."""
        if sort == "credit":
            return openai_error(
                429, f"Insufficient credit. {text}", code="insufficient_credit", sort="insufficient_quota"
            )
        return super().refuse(status, text, sort)
