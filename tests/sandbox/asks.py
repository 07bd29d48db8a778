"""How a stranger would ask each provider: addresses and bodies as the providers' public documentation writes them.

Written by hand and used by the sandbox's tests alone, so that it shares no mistake with hfmedia's providers.
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

from .conftest import Asking, Heard

SIDE = 320  # pixels; the smallest that most take, so that drawing stays cheap
ROUTED_ONLY = ("hf-inference", "acme-images")


def picture(size: tuple[int, int] = (64, 48)) -> bytes:
    """A small picture to begin with."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, "PNG")
    return out.getvalue()


URI = "data:image/png;base64," + base64.b64encode(picture()).decode()
SIZE: dict[str, Any] = {"width": SIDE, "height": SIDE}


class Wish(NamedTuple):
    """One way to ask: where, with what, and where the state of a job is told (empty: it is answered at once)."""

    host: str
    path: str
    body: dict[str, Any]
    poll: str = ""
    state: tuple[str, ...] = ()
    done: str = ""


FAL = ("", ("status",), "COMPLETED")  # its reply tells where to ask
REPLICATE = ("/v1/predictions/{id}", ("status",), "succeeded")
TOGETHER = ("/v2/videos/{id}", ("status",), "completed")
NOVITA = ("/v3/async/task-result?task_id={task_id}", ("task", "status"), "TASK_STATUS_SUCCEED")
WAVESPEED = ("/api/v3/predictions/{id}/result", ("data", "status"), "completed")
ZAI = ("/api/paas/v4/async-result/{id}", ("task_status",), "SUCCESS")
OPENAI = "/v1/images/generations"
FLUX = "black-forest-labs/FLUX.1-schnell"
FILM = {"num_frames": 9}

WISHES: dict[tuple[str, str], Wish] = {
    ("fal-ai", "text-to-image"): Wish("fal.run", "/fal-ai/flux/schnell", {"prompt": "a fox", "image_size": SIZE}),
    ("fal-ai", "text-to-image, queued"): Wish(
        "queue.fal.run", "/fal-ai/flux/schnell", {"prompt": "a fox", "image_size": SIZE}, *FAL
    ),
    ("fal-ai", "image-to-image"): Wish(
        "queue.fal.run", "/fal-ai/flux-kontext/dev", {"prompt": "redder", "image_url": URI, "image_size": SIZE}, *FAL
    ),
    ("fal-ai", "text-to-video"): Wish(
        "queue.fal.run", "/fal-ai/wan/v2.2-a14b/text-to-video", {"prompt": "a fox", "resolution": "360p", **FILM}, *FAL
    ),
    ("fal-ai", "image-to-video"): Wish(
        "queue.fal.run", "/fal-ai/wan/v2.2-a14b/image-to-video", {"prompt": "it runs", "image_url": URI, **FILM}, *FAL
    ),
    ("replicate", "text-to-image"): Wish(
        "api.replicate.com",
        "/v1/models/black-forest-labs/flux-schnell/predictions",
        {"input": {"prompt": "a fox", **SIZE}},
        *REPLICATE,
    ),
    ("replicate", "text-to-image, by version"): Wish(
        "api.replicate.com",
        "/v1/predictions",
        {
            "version": "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc",
            "input": {"prompt": "a fox", **SIZE},
        },
        *REPLICATE,
    ),
    ("replicate", "image-to-image"): Wish(
        "api.replicate.com",
        "/v1/models/black-forest-labs/flux-kontext-dev/predictions",
        {"input": {"prompt": "redder", "input_image": URI, **SIZE}},
        *REPLICATE,
    ),
    ("replicate", "text-to-video"): Wish(
        "api.replicate.com",
        "/v1/models/wan-video/wan-2.2-t2v-fast/predictions",
        {"input": {"prompt": "a fox", **FILM}},
        *REPLICATE,
    ),
    ("together", "text-to-image"): Wish("api.together.xyz", OPENAI, {"model": FLUX, "prompt": "a fox", **SIZE}),
    ("together", "image-to-image"): Wish(
        "api.together.xyz",
        OPENAI,
        {"model": "black-forest-labs/FLUX.1-kontext-dev", "prompt": "redder", "image_url": URI, **SIZE},
    ),
    ("together", "text-to-video"): Wish(
        "api.together.xyz",
        "/v2/videos",
        {"model": "Wan-AI/Wan2.2-T2V-A14B", "prompt": "a fox", "seconds": "1", "fps": 8, **SIZE},
        *TOGETHER,
    ),
    ("together", "image-to-video"): Wish(
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
    ("novita", "text-to-video"): Wish(
        "api.novita.ai", "/v3/async/wan-2.2-t2v", {"prompt": "a fox", **SIZE, **FILM}, *NOVITA
    ),
    ("novita", "text-to-video, at once"): Wish(
        "api.novita.ai", "/v3/hf/wan-2.2-t2v", {"prompt": "a fox", **SIZE, **FILM}
    ),
    ("nscale", "text-to-image"): Wish(
        "inference.api.nscale.com",
        OPENAI,
        {"model": FLUX, "prompt": "a fox", "size": "320x320", "response_format": "b64_json"},
    ),
    ("acme-images", "text-to-image"): Wish("", OPENAI, {"model": "flux-schnell", "prompt": "a fox", "size": "320x320"}),
    ("wavespeed", "text-to-image"): Wish(
        "api.wavespeed.ai", "/api/v3/wavespeed-ai/flux-schnell", {"prompt": "a fox", "size": "320*320"}, *WAVESPEED
    ),
    ("wavespeed", "image-to-image"): Wish(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/flux-kontext-dev",
        {"prompt": "redder", "image": URI, "size": "320*320"},
        *WAVESPEED,
    ),
    ("wavespeed", "text-to-video"): Wish(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/wan-2.2/t2v-480p",
        {"prompt": "a fox", "size": "320*320", "duration": 1},
        *WAVESPEED,
    ),
    ("wavespeed", "image-to-video"): Wish(
        "api.wavespeed.ai",
        "/api/v3/wavespeed-ai/wan-2.2/i2v-480p",
        {"image": URI, "size": "320*320", "duration": 1},
        *WAVESPEED,
    ),
    ("zai-org", "text-to-image"): Wish(
        "api.z.ai",
        "/api/paas/v4/async/images/generations",
        {"model": "glm-image", "prompt": "a fox", "size": "1024x1024"},
        *ZAI,
    ),
    ("hf-inference", "text-to-image"): Wish("", f"/models/{FLUX}", {"inputs": "a fox", "parameters": SIZE}),
    ("hf-inference", "image-to-image"): Wish(
        "",
        "/models/black-forest-labs/FLUX.1-Kontext-dev",
        {"inputs": URI.partition(",")[2], "parameters": {"prompt": "redder", "target_size": SIZE}},
    ),
}
DOORS = [
    (via, *names)
    for names, wish in WISHES.items()
    for via in (("router", "direct") if wish.host else ("router",))
]  # fmt: skip


def door(world: Sandbox, provider: str, wish: Wish, via: str) -> tuple[str, dict[str, str]]:
    """Where a wish is sent, and the headers that open that door."""
    if via == "router":
        return f"{world.url}/router/{provider}", {"Authorization": f"Bearer {world.token}"}
    scheme = "Key" if provider == "fal-ai" else "Bearer"
    return f"{world.url}/direct/{wish.host}", {"Authorization": f"{scheme} {world.keys[provider]}"}


async def submit(
    ask: Asking,
    world: Sandbox,
    provider: str,
    task: str,
    via: str = "router",
    *,
    more: Mapping[str, str] = {},
    **asked: Any,
) -> Heard:
    """A submission. ``more`` are more headers, ``asked`` replaces fields of the body."""
    wish = WISHES[provider, task]
    base, headers = door(world, provider, wish, via)
    query = "?_subdomain=queue" if wish.host == "queue.fal.run" and via == "router" else ""
    body = {**wish.body, **asked}
    return await ask("POST", f"{base}{wish.path}{query}", json=body, headers={**headers, **more})


async def look(
    ask: Asking, world: Sandbox, provider: str, task: str, said: Any, via: str = "router", more: Mapping[str, str] = {}
) -> Heard:
    """One question after a job that a submission's answer names."""
    wish = WISHES[provider, task]
    base, headers = door(world, provider, wish, via)
    named = said.get("data") if isinstance(said.get("data"), dict) else said
    path = wish.poll.format(**named) if wish.poll else urlsplit(named["status_url"]).path
    path += "?_subdomain=queue" if not wish.poll and via == "router" else ""
    return await ask("GET", base + path, headers={**headers, **more})


async def walk(ask: Asking, world: Sandbox, provider: str, task: str, via: str = "router", **asked: Any) -> list[bytes]:
    """All the way from a wish to the bytes of its media."""
    wish = WISHES[provider, task]
    heard = await submit(ask, world, provider, task, via, **asked)
    assert heard.status in (200, 201), heard
    if heard.type.startswith("image/"):
        return [heard.body]
    said = first = heard.json
    for _ in range(400):
        if not wish.done or inside(said, wish.state) == wish.done:
            break
        await asyncio.sleep(0.01)
        said = (await look(ask, world, provider, task, first, via)).json
    else:
        raise AssertionError(f"{provider} never ended: {said}")
    if wish.done == "COMPLETED":  # fal tells the output at an address of its own
        base, headers = door(world, provider, wish, via)
        query = "?_subdomain=queue" if via == "router" else ""
        said = (await ask("GET", base + urlsplit(first["response_url"]).path + query, headers=headers)).json
    return [await media(ask, text) for text in texts(said) if is_media(world, text)]


async def media(ask: Asking, text: str) -> bytes:
    """The bytes of one medium, by URL or from base64."""
    if text.startswith("http"):
        heard = await ask("GET", text)
        assert heard.status == 200, heard
        return heard.body
    return base64.b64decode(text)


def is_media(world: Sandbox, text: str) -> bool:
    """Whether a text of a reply is a medium: an address of the CDN, or long base64."""
    return text.startswith(f"{world.url}/cdn/") or (len(text) > 2000 and not text.startswith("data:"))


def inside(said: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path in some JSON; None where there is nothing."""
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def texts(said: Any) -> list[str]:
    """Every text in some JSON, but for what was asked."""
    if isinstance(said, str):
        return [said]
    if isinstance(said, dict):
        return [text for name, item in said.items() if name != "input" for text in texts(item)]
    return [text for item in said for text in texts(item)] if isinstance(said, list) else []
