"""Requests to each provider, with URLs and bodies as in the providers' public documentation.

Written by hand and used by the sandbox tests only, so that they share no mistake with hfmedia's providers.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL import Image

from hfmedia.sandbox import Sandbox

from .conftest import PlainHttp, ReceivedResponse

SIDE = 320  # pixels; the smallest size that most accept, so that rendering stays cheap
ROUTED_ONLY = ("hf-inference", "acme-images")


def input_image(size: tuple[int, int] = (64, 48)) -> bytes:
    """Create a small input image."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, "PNG")
    return out.getvalue()


URI = "data:image/png;base64," + base64.b64encode(input_image()).decode()
SIZE: dict[str, Any] = {"width": SIDE, "height": SIDE}


class ProviderRequest(NamedTuple):
    """One kind of request: host, path, body, and where to poll its job (empty: the response is synchronous)."""

    host: str
    path: str
    body: dict[str, Any]
    poll: str = ""
    status_path: tuple[str, ...] = ()
    done_status: str = ""


FAL = ("", ("status",), "COMPLETED")  # its response contains the polling URL
REPLICATE = ("/v1/predictions/{id}", ("status",), "succeeded")
TOGETHER = ("/v2/videos/{id}", ("status",), "completed")
NOVITA = ("/v3/async/task-result?task_id={task_id}", ("task", "status"), "TASK_STATUS_SUCCEED")
WAVESPEED = ("/api/v3/predictions/{id}/result", ("data", "status"), "completed")
ZAI = ("/api/paas/v4/async-result/{id}", ("task_status",), "SUCCESS")
OPENAI = "/v1/images/generations"
FLUX = "black-forest-labs/FLUX.1-schnell"
VIDEO_FIELDS = {"num_frames": 9}

PROVIDER_REQUESTS: dict[tuple[str, str], ProviderRequest] = {
    ("fal-ai", "text-to-image"): ProviderRequest(
        "fal.run", "/fal-ai/flux/schnell", {"prompt": "a fox", "image_size": SIZE}
    ),
    ("fal-ai", "text-to-image, queued"): ProviderRequest(
        "queue.fal.run", "/fal-ai/flux/schnell", {"prompt": "a fox", "image_size": SIZE}, *FAL
    ),
    ("fal-ai", "image-to-image"): ProviderRequest(
        "queue.fal.run", "/fal-ai/flux-kontext/dev", {"prompt": "redder", "image_url": URI, "image_size": SIZE}, *FAL
    ),
    ("fal-ai", "text-to-video"): ProviderRequest(
        "queue.fal.run",
        "/fal-ai/wan/v2.2-a14b/text-to-video",
        {"prompt": "a fox", "resolution": "360p", **VIDEO_FIELDS},
        *FAL,
    ),
    ("fal-ai", "image-to-video"): ProviderRequest(
        "queue.fal.run",
        "/fal-ai/wan/v2.2-a14b/image-to-video",
        {"prompt": "it runs", "image_url": URI, **VIDEO_FIELDS},
        *FAL,
    ),
    ("replicate", "text-to-image"): ProviderRequest(
        "api.replicate.com",
        "/v1/models/black-forest-labs/flux-schnell/predictions",
        {"input": {"prompt": "a fox", **SIZE}},
        *REPLICATE,
    ),
    ("replicate", "text-to-image, by version"): ProviderRequest(
        "api.replicate.com",
        "/v1/predictions",
        {
            "version": "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc",
            "input": {"prompt": "a fox", **SIZE},
        },
        *REPLICATE,
    ),
    ("replicate", "image-to-image"): ProviderRequest(
        "api.replicate.com",
        "/v1/models/black-forest-labs/flux-kontext-dev/predictions",
        {"input": {"prompt": "redder", "input_image": URI, **SIZE}},
        *REPLICATE,
    ),
    ("replicate", "text-to-video"): ProviderRequest(
        "api.replicate.com",
        "/v1/models/wan-video/wan-2.2-t2v-fast/predictions",
        {"input": {"prompt": "a fox", **VIDEO_FIELDS}},
        *REPLICATE,
    ),
    ("together", "text-to-image"): ProviderRequest(
        "api.together.xyz", OPENAI, {"model": FLUX, "prompt": "a fox", **SIZE}
    ),
    ("together", "image-to-image"): ProviderRequest(
        "api.together.xyz",
        OPENAI,
        {"model": "black-forest-labs/FLUX.1-kontext-dev", "prompt": "redder", "image_url": URI, **SIZE},
    ),
    ("together", "text-to-video"): ProviderRequest(
        "api.together.xyz",
        "/v2/videos",
        {"model": "Wan-AI/Wan2.2-T2V-A14B", "prompt": "a fox", "seconds": "1", "fps": 8, **SIZE},
        *TOGETHER,
    ),
    ("together", "image-to-video"): ProviderRequest(
        "api.together.xyz",
        "/v2/videos",
        {
            "model": "Wan-AI/Wan2.2-I2V-A14B",
            "frame_images": [{"input_image": URI, "frame": "first"}],
            "seconds": "1",
            "fps": 8,
            **SIZE,
        },
        *TOGETHER,
    ),
    ("novita", "text-to-video"): ProviderRequest(
        "api.novita.ai", "/v3/async/wan-2.2-t2v", {"prompt": "a fox", **SIZE, **VIDEO_FIELDS}, *NOVITA
    ),
    ("novita", "text-to-video, at once"): ProviderRequest(
        "api.novita.ai", "/v3/hf/wan-2.2-t2v", {"prompt": "a fox", **SIZE, **VIDEO_FIELDS}
    ),
    ("nscale", "text-to-image"): ProviderRequest(
        "inference.api.nscale.com",
        OPENAI,
        {"model": FLUX, "prompt": "a fox", "size": "320x320", "response_format": "b64_json"},
    ),
    ("acme-images", "text-to-image"): ProviderRequest(
        "", OPENAI, {"model": "flux-schnell", "prompt": "a fox", "size": "320x320"}
    ),
    ("wavespeed", "text-to-image"): ProviderRequest(
        "api.wavespeed.ai", "/api/v3/wavespeed-ai/flux-schnell", {"prompt": "a fox", "size": "320*320"}, *WAVESPEED
    ),
    ("wavespeed", "image-to-image"): ProviderRequest(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/flux-kontext-dev",
        {"prompt": "redder", "image": URI, "size": "320*320"},
        *WAVESPEED,
    ),
    ("wavespeed", "text-to-video"): ProviderRequest(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/wan-2.2/t2v-480p",
        {"prompt": "a fox", "size": "320*320", "duration": 1},
        *WAVESPEED,
    ),
    ("wavespeed", "image-to-video"): ProviderRequest(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/wan-2.2/i2v-480p",
        {"image": URI, "size": "320*320", "duration": 1},
        *WAVESPEED,
    ),
    ("zai-org", "text-to-image"): ProviderRequest(
        "api.z.ai",
        "/api/paas/v4/async/images/generations",
        {"model": "glm-image", "prompt": "a fox", "size": "1024x1024"},
        *ZAI,
    ),
    ("hf-inference", "text-to-image"): ProviderRequest("", f"/models/{FLUX}", {"inputs": "a fox", "parameters": SIZE}),
    ("hf-inference", "image-to-image"): ProviderRequest(
        "",
        "/models/black-forest-labs/FLUX.1-Kontext-dev",
        {"inputs": URI.partition(",")[2], "parameters": {"prompt": "redder", "target_size": SIZE}},
    ),
}
ACCESS_PATHS = [
    (via, *names)
    for names, provider_request in PROVIDER_REQUESTS.items()
    for via in (("router", "direct") if provider_request.host else ("router",))
]  # fmt: skip


def endpoint_of(
    sandbox: Sandbox, provider: str, provider_request: ProviderRequest, via: str
) -> tuple[str, dict[str, str]]:
    """Return the base URL of a request and its authentication headers."""
    if via == "router":
        return f"{sandbox.url}/router/{provider}", {"Authorization": f"Bearer {sandbox.token}"}
    scheme = "Key" if provider == "fal-ai" else "Bearer"
    return f"{sandbox.url}/direct/{provider_request.host}", {"Authorization": f"{scheme} {sandbox.keys[provider]}"}


async def submit(
    http: PlainHttp,
    sandbox: Sandbox,
    provider: str,
    task: str,
    via: str = "router",
    *,
    extra_headers: Mapping[str, str] = {},
    **overrides: Any,
) -> ReceivedResponse:
    """Submit a request, with extra headers and overridden body fields."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, headers = endpoint_of(sandbox, provider, provider_request, via)
    query = "?_subdomain=queue" if provider_request.host == "queue.fal.run" and via == "router" else ""
    body = {**provider_request.body, **overrides}
    return await http("POST", f"{base}{provider_request.path}{query}", json=body, headers={**headers, **extra_headers})


async def poll(
    http: PlainHttp,
    sandbox: Sandbox,
    provider: str,
    task: str,
    submitted: Any,
    via: str = "router",
    extra_headers: Mapping[str, str] = {},
) -> ReceivedResponse:
    """Poll the job named in the response to a submission."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, headers = endpoint_of(sandbox, provider, provider_request, via)
    handle = submitted.get("data") if isinstance(submitted.get("data"), dict) else submitted
    path = provider_request.poll.format(**handle) if provider_request.poll else urlsplit(handle["status_url"]).path
    path += "?_subdomain=queue" if not provider_request.poll and via == "router" else ""
    return await http("GET", base + path, headers={**headers, **extra_headers})


async def run_to_end(
    http: PlainHttp, sandbox: Sandbox, provider: str, task: str, via: str = "router", **overrides: Any
) -> list[bytes]:
    """Submit a request, poll until it is done and return the bytes of its media files."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    response = await submit(http, sandbox, provider, task, via, **overrides)
    assert response.status in (200, 201), response
    if response.type.startswith("image/"):
        return [response.body]
    payload = first = response.json
    for _ in range(400):
        if (
            not provider_request.done_status
            or value_at(payload, provider_request.status_path) == provider_request.done_status
        ):
            break
        await asyncio.sleep(0.01)
        payload = (await poll(http, sandbox, provider, task, first, via)).json
    else:
        raise AssertionError(f"{provider}: the job did not end: {payload}")
    if provider_request.done_status == "COMPLETED":  # fal has a separate URL for the output
        base, headers = endpoint_of(sandbox, provider, provider_request, via)
        query = "?_subdomain=queue" if via == "router" else ""
        payload = (await http("GET", base + urlsplit(first["response_url"]).path + query, headers=headers)).json
    return [await fetch_media(http, text) for text in all_strings(payload) if is_media(sandbox, text)]


async def fetch_media(http: PlainHttp, text: str) -> bytes:
    """Return the bytes of a media file, by URL or from base64."""
    if text.startswith("http"):
        response = await http("GET", text)
        assert response.status == 200, response
        return response.body
    return base64.b64decode(text)


def is_media(sandbox: Sandbox, text: str) -> bool:
    """Return True for a media file: a CDN URL or long base64."""
    return text.startswith(f"{sandbox.url}/cdn/") or (len(text) > 2000 and not text.startswith("data:"))


def value_at(payload: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path in JSON, or None."""
    for name in path:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload


def all_strings(payload: Any) -> list[str]:
    """Return every string in JSON, except in the echoed input."""
    if isinstance(payload, str):
        return [payload]
    if isinstance(payload, dict):
        return [text for name, item in payload.items() if name != "input" for text in all_strings(item)]
    return [text for item in payload for text in all_strings(item)] if isinstance(payload, list) else []
