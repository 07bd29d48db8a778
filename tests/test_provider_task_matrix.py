"""Every way to a picture or a film, through real sockets: each provider, each of its tasks, by the router and directly.

What arrives is looked at, not believed: the file's own bytes, the sandbox's own count of what it was asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from hfmedia.client import MediaClient
from hfmedia.core import retry
from hfmedia.core.protocol import Cost
from hfmedia.core.request import TASKS, Task
from hfmedia.engine import Event, MediaReady, Started
from hfmedia.options import DEFAULT_MODELS
from hfmedia.sandbox import Sandbox, catalog
from hfmedia.storage import Media

SCHNELL, KONTEXT = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-Kontext-dev"
FILM, MOVING = "Wan-AI/Wan2.2-T2V-A14B", "Wan-AI/Wan2.2-I2V-A14B"
MODELS: dict[str, str] = {
    "text-to-image": SCHNELL,
    "text-to-video": FILM,
    "image-to-image": KONTEXT,
    "image-to-video": MOVING,
}
SERVED: dict[str, set[str]] = {
    "text-to-image": {
        "fal-ai", "replicate", "together", "nscale", "wavespeed", "zai-org", "hf-inference", "acme-images",
    },
    "text-to-video": {"fal-ai", "replicate", "together", "novita", "wavespeed"},
    "image-to-image": {"fal-ai", "replicate", "together", "wavespeed", "hf-inference"},
    "image-to-video": {"fal-ai", "together", "wavespeed"},
}  # fmt: skip
ROUTED_ONLY = {"hf-inference", "acme-images"}
WAYS = [(via, provider, task) for task in TASKS for provider in sorted(SERVED[task])
        for via in ("router", "direct") if via == "router" or provider not in ROUTED_ONLY]  # fmt: skip

# Asked for: 512x384, or 16:9 at 480p. What each provider makes of it, where that is not the same.
PICTURE_SIZES = {"zai-org": (1376, 1024)}  # its smallest side is 1024, its step 32
FILM_SIZES = {"fal-ai": (854, 480), "wavespeed": (854, 480), "replicate": (832, 480)}  # by their own tables
COSTS: dict[tuple[str, str], str] = {  # providers that report a cost, and its unit; no other does
    **{("fal-ai", task): "fal-units" for task in TASKS},
    **{("replicate", task): "predict-seconds" for task in TASKS},
    ("together", "text-to-video"): "USD",
    ("together", "image-to-video"): "USD",
}
SEEDLESS = {"zai-org", "acme-images"}  # they take no seed, and tell none
SEED = 7


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs last milliseconds here, so they are asked for more often."""
    monkeypatch.setattr(retry, "POLL_MIN", 0.05)


def options(task: str) -> dict[str, Any]:
    """What is asked for: small, and the same of everybody."""
    if task.endswith("video"):
        return {"seed": SEED, "aspect_ratio": "16:9", "resolution": "480p", "num_frames": 9, "seconds": 1}
    return {"seed": SEED, "width": 512, "height": 384}


def png(size: tuple[int, int] = (320, 240), colour: str = "teal") -> bytes:
    """A small picture to begin with."""
    made = BytesIO()
    Image.new("RGB", size, colour).save(made, "PNG")
    return made.getvalue()


async def make(client: MediaClient, task: str, model: str, image: Any = None, **more: Any) -> Media:
    """One medium of a task."""
    call = getattr(client, task.replace("-", "_"))
    first = () if task.startswith("text") else (png() if image is None else image,)
    media = await call(*first, "a red fox in the snow", model=model, **{**options(task), **more})
    assert isinstance(media, Media)
    return media


async def events(client: MediaClient, prompt: str, **more: Any) -> list[Event]:
    """All events of a call."""
    return [event async for event in client.generate(prompt, **more)]


def size_seen(media: Media) -> tuple[int, int]:
    """The pixel size that the file's own bytes decode to."""
    if not media.mime.startswith("video/"):
        with Image.open(media.path) as picture:
            picture.load()
            return picture.size
    with av.open(str(media.path)) as film:
        frames = list(film.decode(video=0))
        assert len(frames) >= 5
        return frames[-1].width, frames[-1].height


def asked(world: Sandbox, kind: str = "submit") -> list[Any]:
    """The requests of one kind, as the sandbox saw them."""
    return [seen for seen in world.requests if seen.kind == kind]


def check_file(media: Media) -> None:
    """The file, its facts beside it and the Media tell the same story."""
    data = media.path.read_bytes()
    assert (media.bytes, media.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert size_seen(media) == (media.width, media.height)
    facts = json.loads(media.path.with_name(media.path.name + ".json").read_text("utf-8"))
    for name in ("prompt", "provider", "model", "seed", "width", "height", "sha256", "job_id", "task"):
        assert facts[name] == getattr(media, name), name
    cost = media.cost and {"amount": media.cost.amount, "unit": media.cost.unit}
    assert facts.get("cost") == cost
    assert sorted(path.name for path in media.path.parent.iterdir()) == sorted(
        [media.path.name, media.path.name + ".json"]
    )


def test_the_table_of_ways_leaves_nothing_out_that_the_simulated_hub_serves() -> None:
    """A provider or a task that is added to the sandbox must be added here."""
    live: dict[str, set[str]] = {task: set() for task in TASKS}
    for model in catalog.MODELS:
        for offer in model.offers:
            if offer.status == "live" and offer.task in live:
                live[offer.task].add(offer.provider)
    assert live == SERVED


@pytest.mark.parametrize(("via", "provider", "task"), WAYS)
async def test_every_provider_makes_every_task_by_every_way(
    world: Sandbox, environ: dict[str, str], via: str, provider: str, task: Task
) -> None:
    """One call, one submission, one file that is what it says, and every fact of it true."""
    keys = {provider: world.keys[provider]} if via == "direct" else {}
    async with MediaClient(environ=environ, provider_keys=keys) as client:
        media = await make(client, task, f"{served_model(provider, task)}:{provider}")
        (job,) = await client.jobs()
    assert (media.provider, media.task, media.job_id) == (provider, task, job.id)
    assert (job.state, job.attempts, job.route and job.route.via) == ("stored", 1, via)
    assert media.model == served_model(provider, task)
    assert media.mime == "video/mp4" if task.endswith("video") else media.mime.startswith("image/")
    check_file(media)
    wanted = FILM_SIZES.get(provider, (848, 480)) if task.endswith("video") else PICTURE_SIZES.get(provider, (512, 384))
    assert (media.width, media.height) == wanted
    (theirs,) = world.jobs.values()
    assert media.seed == (None if provider in SEEDLESS else theirs.seed)
    assert theirs.seed == SEED or (provider in SEEDLESS and any("seed" in words for words in media.warnings))
    unit = COSTS.get((provider, task))
    assert media.cost is None if unit is None else media.cost is not None and media.cost.unit == unit
    assert media.cost is None or media.cost.amount > 0
    assert media.attempts == ()
    check_requests(world, via, provider)


def served_model(provider: str, task: str) -> str:
    """The usual model of a task where this provider has it, else another."""
    usual = catalog.MODELS_BY_ID[MODELS[task]]
    assert provider in {offer.provider for offer in usual.offers if offer.status == "live"}
    return usual.id


def check_requests(world: Sandbox, via: str, provider: str) -> None:
    """One submission, at the right place, with the right credential there and none anywhere else."""
    assert dict(world.submissions) == {provider: 1}
    assert len(asked(world)) == 1
    assert world.leaks == []
    key = world.keys.get(provider)
    for seen in world.requests:
        shown = seen.headers.get("Authorization", "")
        if seen.kind == "cdn":
            assert not shown
        elif seen.kind == "hub":
            assert shown in ("", f"Bearer {world.token}")
        else:
            assert seen.path.startswith(f"/router/{provider}/" if via == "router" else "/direct/")
            assert shown.endswith(f" {key}" if via == "direct" else f" {world.token}")
        written = seen.path + seen.query + seen.body.decode("latin-1")
        assert not any(secret in written for secret in (world.token, *world.keys.values()))


@pytest.mark.parametrize("task", TASKS)
async def test_every_live_offer_of_the_hub_can_be_bought(world: Sandbox, environ: dict[str, str], task: Task) -> None:
    """LoRA weights, versions, deep paths, types that lie: whatever the Hub maps, a file comes of it."""
    offers = [(model.id, offer.provider) for model in catalog.MODELS for offer in model.offers
              if offer.status == "live" and offer.task == task]  # fmt: skip
    async with MediaClient(environ=environ) as client:
        made = await asyncio.gather(*(make(client, task, f"{model}:{provider}") for model, provider in offers))
    assert [(media.model, media.provider) for media in made] == offers
    assert all(size_seen(media) == (media.width, media.height) for media in made)
    assert sum(world.submissions.values()) == len(offers) == len(asked(world))
    assert world.leaks == []


# -- input images -----------------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Path, str], Any]] = {
    "path": lambda path, url: path,
    "text of a path": lambda path, url: str(path),
    "URL": lambda path, url: url,
    "data URI": lambda path, url: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
    "bytes": lambda path, url: path.read_bytes(),
    "Pillow image": lambda path, url: Image.open(BytesIO(path.read_bytes())),
    "open file": lambda path, url: path.open("rb"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("provider", "task"), [
    ("fal-ai", "image-to-image"), ("replicate", "image-to-image"), ("hf-inference", "image-to-image"),
    ("together", "image-to-video"),
])  # fmt: skip
async def test_an_input_image_may_be_whatever_one_has_in_hand(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, form: str, provider: str, task: str
) -> None:
    """Every form reaches the provider as the same picture: by its URL where it takes one, else as bytes."""
    async with MediaClient(environ=environ) as client:
        received = await events(client, "a field", model=f"{SCHNELL}:fal-ai", width=128, height=96,
                            extra_body={"output_format": "png"})  # fmt: skip
        (ready,) = [event for event in received if isinstance(event, MediaReady)]
        path, url = ready.media.path, ready.url or ""
        world.clear()
        given = FORMS[form](path, url)
        media = await make(client, task, f"{MODELS[task]}:{provider}", given)
        if hasattr(given, "close"):
            given.close()
    assert size_seen(media) == (media.width, media.height)
    (sent,) = asked(world)
    if form == "URL" and provider != "hf-inference":
        assert url in sent.body.decode()
        assert not [seen for seen in asked(world, "cdn") if url.endswith(seen.path)]  # the provider's to fetch
    else:
        inside = max(_strings(sent.json()), key=len) if sent.body[:1] == b"{" else ""
        data = base64.b64decode(inside.rpartition(",")[2]) if inside else sent.body
        with Image.open(BytesIO(data)) as there, Image.open(path) as here:
            assert there.convert("RGB").tobytes() == here.convert("RGB").tobytes()
    assert world.leaks == []


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ["", *(text for item in inside for text in _strings(item))]


# -- LoRA, policies, defaults, billing --------------------------------------------------------------------------------

LORAS = [
    ("fal-ai", "nerijs/pixel-art-xl", "text-to-image",
     "https://huggingface.co/nerijs/pixel-art-xl/resolve/main/pixel-art-xl.safetensors"),
    ("replicate", "nerijs/pixel-art-xl", "text-to-image", "https://huggingface.co/nerijs/pixel-art-xl"),
    ("wavespeed", "strangerzonehf/Flux-Midjourney-Mix2-LoRA", "text-to-image",
     "strangerzonehf/Flux-Midjourney-Mix2-LoRA"),
    ("fal-ai", "Remade-AI/Squish", "image-to-video",
     "https://huggingface.co/Remade-AI/Squish/resolve/main/squish_18.safetensors"),
    ("wavespeed", "Remade-AI/Squish", "image-to-video", "Remade-AI/Squish"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "task", "weights"), LORAS)
async def test_lora_weights_go_along_in_each_providers_own_way(
    world: Sandbox, environ: dict[str, str], provider: str, model: str, task: str, weights: str
) -> None:
    """The base model is the provider's, the weights are the Hub's, and the result bears the LoRA's name."""
    async with MediaClient(environ=environ) as client:
        media = await make(client, task, f"{model}:{provider}")
    assert media.model == model
    (sent,) = asked(world)
    assert weights in _strings(sent.json())


async def test_preferred_takes_the_hubs_first_provider(world: Sandbox, environ: dict[str, str]) -> None:
    """The Hub's order is the user's own."""
    async with MediaClient(environ=environ) as client:
        media = await make(client, "text-to-image", f"{SCHNELL}:preferred")
    assert media.provider == "fal-ai"


@pytest.mark.parametrize(("policy", "task", "seen"), [
    ("fastest", "text-to-image", "wavespeed"), ("cheapest", "text-to-video", "together"),
])  # fmt: skip
async def test_a_policy_goes_by_what_is_known_and_says_when_nothing_is(
    world: Sandbox, environ: dict[str, str], policy: str, task: str, seen: str
) -> None:
    """At first the Hub's order stands, and it says so; then what was seen decides, in later processes too."""
    model = MODELS[task]
    world.fault("fal-ai", "cold", seconds=30)  # its first job takes longer than any other
    async with MediaClient(environ=environ) as client:
        received = await events(client, "a kite", model=f"{model}:{policy}", **options(task))
        (started,) = [event for event in received if isinstance(event, Started)]
        (first,) = [event.media for event in received if isinstance(event, MediaReady)]
        assert first.provider == "fal-ai"
        assert any(policy in note and "data yet; using the Hub's order" in note for note in started.warnings)
    async with MediaClient(environ=environ) as client:
        known = await make(client, task, f"{model}:{seen}")
        assert known.provider == seen
        assert (await make(client, task, f"{model}:{policy}")).provider == seen
    async with MediaClient(environ=environ) as client:
        assert (await make(client, task, f"{model}:{policy}")).provider == seen


@pytest.mark.parametrize("task", TASKS)
async def test_without_a_model_a_well_known_one_that_is_live_is_taken(
    world: Sandbox, environ: dict[str, str], task: Task
) -> None:
    """A newcomer need not know a single model's name."""
    async with MediaClient(environ=environ) as client:
        call = getattr(client, task.replace("-", "_"))
        media = await call(*(() if task.startswith("text") else (png(),)), "a lighthouse", **options(task))
    assert media.model == DEFAULT_MODELS[task][0]
    assert size_seen(media) == (media.width, media.height)


async def test_without_a_task_it_is_what_the_model_does(world: Sandbox, environ: dict[str, str]) -> None:
    """``generate`` asks the Hub what the model is for."""
    async with MediaClient(environ=environ) as client:
        for task, image in (("text-to-video", None), ("image-to-image", png())):
            received = await events(client, "waves", model=MODELS[task], image=image, **options(task))
            assert [event.media.task for event in received if isinstance(event, MediaReady)] == [task]


async def test_who_is_billed_is_told_to_the_router_alone(world: Sandbox, environ: dict[str, str]) -> None:
    """The organisation's name goes along with every request through the router, and nowhere else."""
    for keys in ({}, {"replicate": world.keys["replicate"]}):
        world.clear()
        async with MediaClient(environ=environ, bill_to="acme-corp", provider_keys=keys) as client:
            await make(client, "text-to-image", f"{SCHNELL}:replicate")
        received = {seen.kind for seen in world.requests if "X-HF-Bill-To" in seen.headers}
        assert received == (set() if keys else {"submit"} | {s.kind for s in world.requests if s.kind == "poll"})
        assert {seen.kind for seen in world.requests} >= {"submit", "cdn"}
    assert [job.bill_to for job in world.jobs.values()] == ["acme-corp", None]


async def test_a_job_that_is_polled_tells_every_question_who_is_billed(world: Sandbox, environ: dict[str, str]) -> None:
    """A status asked on another account would not be found."""
    async with MediaClient(environ=environ, bill_to="acme-corp") as client:
        await make(client, "text-to-video", f"{FILM}:fal-ai")
    for kind in ("submit", "poll", "result"):
        assert {seen.headers.get("X-HF-Bill-To") for seen in asked(world, kind)} == {"acme-corp"}


async def test_a_reported_cost_is_the_providers_own_number(world: Sandbox, environ: dict[str, str]) -> None:
    """Amount and unit as reported."""
    async with MediaClient(environ=environ) as client:
        assert (await make(client, "text-to-image", f"{SCHNELL}:fal-ai")).cost == Cost(1, "fal-units")
        assert (await make(client, "text-to-video", f"{FILM}:together")).cost == Cost(0.2, "USD")
