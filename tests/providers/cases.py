"""What the provider tests share: routes, wishes, and the life of a job at every provider, written by hand.

The shapes are those of the real services; the values are made up.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hfmedia.core.http import HttpResponse
from hfmedia.core.protocol import Lora, Route
from hfmedia.core.provider import adapt_request
from hfmedia.core.request import GenerationRequest, InputImage, Task, build_request
from hfmedia.providers import PROVIDERS, get_provider

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
BY_URL = InputImage(url="https://example.org/in.png?x=1")
BY_BYTES = InputImage(data=PNG, mime="image/png", width=16, height=16)
DATA_URI = "data:image/png;base64," + b64encode(PNG).decode()
LORA = Lora("acme/kite-lora", "kite.safetensors")
UNKNOWN_PROVIDER = "unknown-ai"
PROMPT = "a red kite"

MODEL_IDS = {
    "fal-ai": "fal-ai/kite/v2/turbo",
    "replicate": "acme/kite",
    "together": "acme/kite-1",
    "novita": "kite-video",
    "nscale": "acme/kite-xl",
    "wavespeed": "acme/kite-fast",
    "zai-org": "glm-image",
    "hf-inference": "acme/kite",
    UNKNOWN_PROVIDER: "acme/kite",
}
PAIRS: list[tuple[str, Task]] = [(name, task) for name in MODEL_IDS for task in get_provider(name).tasks]
ROUTES = [(*pair, "router") for pair in PAIRS] + [
    (*pair, "direct") for pair in PAIRS if pair[1] in get_provider(pair[0]).base_urls
]
# Where each provider keeps the model's parameters in its JSON.
PLACES = {"replicate": "input", "hf-inference": "parameters"}


def route(
    name: str, task: Task, via: str = "router", *, lora: Lora | None = None, model_id: str | None = None
) -> Route:
    """A route to the made-up model of this provider."""
    speaker = get_provider(name)
    return Route(
        provider=name,
        provider_id=model_id or MODEL_IDS[name],
        model="acme/Kite",
        task=task,
        base_url=f"https://router.huggingface.co/{name}" if via == "router" else speaker.base_urls[task],
        credential="HF_TOKEN" if via == "router" else speaker.api_key_env_vars[0],
        via="router" if via == "router" else "direct",
        lora=lora,
    )


def adapted(name: str, task: Task, **words: Any) -> GenerationRequest:
    """A request as this provider takes it; an input image in bytes where the task needs one."""
    if task.startswith("image"):
        words.setdefault("image", BY_BYTES)
    return adapt_request(build_request(task, "acme/Kite", **{"prompt": PROMPT, **words}), get_provider(name)).request


def sent(body: bytes | None) -> Any:
    """The JSON of a request's body."""
    return json.loads(body or b"null")


def parameters(name: str, body: bytes | None) -> dict[str, Any]:
    """The model's own parameters in a request's body."""
    whole = sent(body)
    return whole[PLACES[name]] if name in PLACES else whole


def reply(value: Any, status: int = 200, **headers: str) -> HttpResponse:
    """A reply of JSON; header names are written with underscores."""
    named = {key.replace("_", "-"): text for key, text in headers.items()}
    return HttpResponse(
        status=status, headers={"content-type": "application/json", **named}, body=json.dumps(value).encode()
    )


PIXELS = b64encode(b"the pixels of a picture").decode()
IMAGE_URL, VIDEO_URL = "https://cdn.example/kite.png", "https://cdn.example/kite.mp4"


def media_url(task: Task) -> str:
    """What the lives below end with, for this task."""
    return VIDEO_URL if task.endswith("video") else IMAGE_URL


def fal_queued(**more: Any) -> dict[str, Any]:
    """fal's answer to a submission; its address is shorter than the model's id."""
    at = "https://queue.fal.run/fal-ai/kite/requests/r-1"
    links = {"response_url": at, "status_url": f"{at}/status", "cancel_url": f"{at}/cancel"}
    return {"status": "IN_QUEUE", "request_id": "r-1", "queue_position": 3, **links, **more}


def fal_result(task: Task, **more: Any) -> dict[str, Any]:
    """fal's result."""
    if task.endswith("video"):
        return {
            "video": {"url": VIDEO_URL, "content_type": "video/mp4", "file_name": "y.mp4", "file_size": 123},
            "seed": 7,
            **more,
        }
    image = {"url": IMAGE_URL, "width": 768, "height": 512, "content_type": "image/jpeg"}
    return {"images": [image], "timings": {"inference": 1.2}, "seed": 7, "has_nsfw_concepts": [False], **more}


def prediction(status: str, output: Any = None, **more: Any) -> dict[str, Any]:
    """A prediction of Replicate's."""
    at = "https://api.replicate.com/v1/predictions/p1"
    fields = {"id": "p1", "model": "acme/kite", "version": "hidden", "input": {"prompt": PROMPT, "seed": 7}, "logs": ""}
    return {
        **fields,
        "output": output,
        "error": None,
        "status": status,
        "urls": {"get": at, "cancel": f"{at}/cancel"},
        **more,
    }


def envelope(status: str, outputs: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """An envelope of WaveSpeed's."""
    at = "https://api.wavespeed.ai/api/v3/predictions/w1/result"
    fields = {"id": "w1", "model": "acme/x", "outputs": outputs or [], "urls": {"get": at}, "has_nsfw_contents": []}
    data = {**fields, "status": status, "error": "", "timings": {"inference": 1500}, **more}
    return {"code": 200, "message": "success", "data": data}


def novita_task(status: str, **more: Any) -> dict[str, Any]:
    """A task result of Novita's."""
    return {
        "task": {"task_id": "t1", "status": f"TASK_STATUS_{status}", "reason": "", **more},
        "images": [],
        "videos": [],
    }


def life(name: str, task: Task) -> list[HttpResponse]:
    """Every reply from the submission to the end of a job that goes well."""
    url = media_url(task)
    match name, task:
        case "fal-ai", "text-to-image":
            return [reply(fal_result(task), x_fal_billable_units="1")]
        case "fal-ai", _:
            said = {"status": "IN_PROGRESS", "logs": [{"message": "step 4/20", "level": "INFO"}]}
            done = {"status": "COMPLETED", "logs": [], "metrics": {"inference_time": 2.3}}
            return [
                reply(fal_queued()),
                reply(said, 202),
                reply(done),
                reply(fal_result(task), x_fal_billable_units="1"),
            ]
        case "replicate", _:
            logs = "Using seed: 7\n 10%|# | 2/20\n 45%|#### | 9/20 [00:01<00:01]"
            end = prediction("succeeded", [url], metrics={"predict_time": 1.5})
            return [reply(prediction("starting"), 201), reply(prediction("processing", logs=logs)), reply(end)]
        case "together", "text-to-video" | "image-to-video":
            end = {"id": "v1", "status": "completed", "outputs": {"video_url": url, "cost": 0.2}}
            return [reply({"id": "v1", "object": "video"}), reply({"id": "v1", "status": "in_progress"}), reply(end)]
        case "novita", _:
            end = {
                **novita_task("SUCCEED", progress_percent=100),
                "videos": [{"video_url": url}],
                "extra": {"seed": "7"},
            }
            processing = novita_task("PROCESSING", eta=12, progress_percent=40)
            return [reply({"task_id": "t1"}), reply(processing), reply(end)]
        case "wavespeed", _:
            return [reply(envelope("created")), reply(envelope("processing")), reply(envelope("completed", [url]))]
        case "zai-org", _:
            finished: Any = {"model": "glm-image", "id": "z1", "task_status": "SUCCESS", "image_result": [{"url": url}]}
            working = {"model": "glm-image", "id": "z1", "request_id": "q1", "task_status": "PROCESSING"}
            return [reply(working), reply(working), reply(finished)]
        case "hf-inference", _:
            return [HttpResponse(status=200, headers={"content-type": "image/png", "x-compute-time": "2.5"}, body=PNG)]
        case _:
            return [reply({"id": "i1", "object": "list", "data": [{"index": 0, "b64_json": PIXELS}]})]


PROVIDER_NAMES = list(PROVIDERS)
