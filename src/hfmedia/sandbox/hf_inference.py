"""Simulated hf-inference: the response body is the image (huggingface.co/docs, inference-providers, hf-inference).

Available through the router only; a body that is not JSON is the raw input image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import InvalidFieldError, RequestFields, SandboxRequest, SandboxResponse, json_response
from .service import Service, make_route
from .state import DrawRequest

if TYPE_CHECKING:
    from .state import SandboxState

LOADING_SECONDS = 20.0


class HfInference(Service):
    """router.huggingface.co/hf-inference."""

    name = "hf-inference"

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self.routes = (make_route("POST", r"/models/(?P<model>.+)", "submit", self.generate),)

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """Build {"error": text}, with the estimated loading time of a model."""
        if error_kind == "loading":
            return json_response({"error": text, "estimated_time": LOADING_SECONDS}, 503)
        return json_response({"error": text}, status)

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """Build a 422 with an error type for invalid values, a 400 for everything else."""
        if error.error_kind in ("image", "type", "range", "empty", "missing"):
            return json_response({"error": f"{error.field}: {error.message}", "error_type": "ValidationError"}, 422)
        return json_response({"error": error.message}, 400)

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """Build the response for a model that is not deployed."""
        return json_response({"error": f"Model {provider_id} does not exist or is not supported by hf-inference"}, 404)

    async def generate(self, request: SandboxRequest) -> SandboxResponse:
        """Generate an image and return its bytes."""
        offer = self.find_offer(request.path_params["model"])
        task = offer[1].task
        source_image = None
        if _is_json(request):
            fields = request.json_fields()
            inputs = fields.string("inputs")
            parameters = fields.nested("parameters")
            prompt = inputs
            if task == "image-to-image":
                source_image = await self.load_image(inputs, "inputs")
                prompt = parameters.string("prompt", "", allow_empty=True)
        else:
            if task != "image-to-image":
                raise InvalidFieldError("inputs", "type", "this model requires text input")
            parameters, prompt = RequestFields({}), ""
            source_image = await self.state.validate_image(request.body, "inputs")
        size_fields = parameters.nested("target_size") if "target_size" in parameters else parameters
        width = size_fields.integer("width", 1024 if source_image is None else None, 64, 2048)
        height = size_fields.integer("height", 1024 if source_image is None else None, 64, 2048)
        if width is None or height is None:
            width, height = self._size_like(source_image or b"")
        accept_header = request.headers.get("Accept", "")
        image_format = "png" if "image/png" in accept_header else "jpeg"
        seed = parameters.integer("seed", None, 0, 2**63 - 1)
        draw_request = DrawRequest(task, prompt, width, height, seed, format=image_format, source_image=source_image)
        job = self.state.accept_job(self.name, offer, draw_request, request)
        await self.state.wait_until_done(job)
        if job.outcome == "fail":
            return self.reject(500, job.outcome_text or "Internal Server Error", "fail")
        if job.outcome in ("moderated", "nsfw"):
            return json_response({"error": "The content was flagged as unsafe.", "error_type": "ContentPolicy"}, 422)
        rendered = await self.state.media_cache.fetch(job.media_names[0])
        headers = {"x-compute-type": "sandbox", "x-compute-time": f"{job.run_seconds:.3f}"}
        return SandboxResponse(200, rendered.data, rendered.media_type, headers)

    def _size_like(self, source: bytes) -> tuple[int, int]:
        from .art import image

        return image.image_size(source)


def _is_json(request: SandboxRequest) -> bool:
    """Return True for a JSON body: by Content-Type, or by its first character without one."""
    content_type = request.headers.get("Content-Type")
    return content_type.startswith("application/json") if content_type else request.body.lstrip()[:1] == b"{"
