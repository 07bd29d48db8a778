"""hf-inference, simulated: the picture itself is the answer (huggingface.co/docs, inference-providers, hf-inference).

It exists behind the router only; a body that is not JSON is the input picture itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .service import Answer, Call, Fields, Service, WrongError, route, told
from .world import Ask

if TYPE_CHECKING:
    from .world import World

WAIT = 20.0


class HfInference(Service):
    """router.huggingface.co/hf-inference."""

    name = "hf-inference"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.routes = (route("POST", r"/models/(?P<model>.+)", "submit", self.generate),)

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """{"error": text}, with how long a model takes to load."""
        if sort == "loading":
            return told({"error": text, "estimated_time": WAIT}, 503)
        return told({"error": text}, status)

    def wrong(self, error: WrongError) -> Answer:
        """422 with a type for what cannot be read, 400 for the rest."""
        if error.sort in ("image", "type", "range", "empty", "missing"):
            return told({"error": f"{error.field}: {error.message}", "error_type": "ValidationError"}, 422)
        return told({"error": error.message}, 400)

    def unknown(self, provider_id: str) -> Answer:
        """A model that is not deployed."""
        return told({"error": f"Model {provider_id} does not exist or is not supported by hf-inference"}, 404)

    async def generate(self, call: Call) -> Answer:
        """The picture as bytes."""
        offer = self.find(call.found["model"])
        task = offer[1].task
        source = None
        if _is_json(call):
            body = call.fields()
            inputs = body.text("inputs")
            wish = body.inner("parameters")
            prompt = inputs
            if task == "image-to-image":
                source = await self.image(inputs, "inputs")
                prompt = wish.text("prompt", "", empty=True)
        else:
            if task != "image-to-image":
                raise WrongError("inputs", "type", "this model wants text")
            wish, prompt = Fields({}), ""
            source = await self.world.checked_image(call.body, "inputs")
        target = wish.inner("target_size") if "target_size" in wish else wish
        width = target.whole("width", 1024 if source is None else None, 64, 2048)
        height = target.whole("height", 1024 if source is None else None, 64, 2048)
        if width is None or height is None:
            width, height = self._like(source or b"")
        accepted = call.headers.get("Accept", "")
        form = "png" if "image/png" in accepted else "jpeg"
        seed = wish.whole("seed", None, 0, 2**63 - 1)
        ask = Ask(task, prompt, width, height, seed, form=form, source=source)
        job = self.world.accept(self, offer, ask, call)
        await self.world.until_done(job)
        if job.fate == "fail":
            return self.refuse(500, job.fate_text or "Internal Server Error", "fail")
        if job.fate in ("moderated", "nsfw"):
            return told({"error": "The content was flagged as unsafe.", "error_type": "ContentPolicy"}, 422)
        medium = await self.world.shelf.fetch(job.names[0])
        seconds = {"x-compute-type": "sandbox", "x-compute-time": f"{job.run:.3f}"}
        return Answer(200, medium.data, medium.type, seconds)

    def _like(self, source: bytes) -> tuple[int, int]:
        from . import pictures

        return pictures.size_of(source)


def _is_json(call: Call) -> bool:
    """Whether the body is JSON: by its type, or by its first letter where no type is told."""
    said = call.headers.get("Content-Type")
    return said.startswith("application/json") if said else call.body.lstrip()[:1] == b"{"
