"""Our requests compared with those of the Hub's own client, huggingface_hub: the same, except for one table.

A difference that the table does not name fails, and so does an entry that no request needs any more.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._common import MimeBytes
from huggingface_hub.inference._providers import PROVIDERS as HUB_PROVIDERS
from huggingface_hub.inference._providers import _common, hf_inference

from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.protocol import Lora, Submit
from hfmedia.core.provider import adapt_request
from hfmedia.core.request import InputImage, Task, build_request
from hfmedia.providers import PROVIDERS

from .cases import MODEL_IDS, PNG, PROMPT, route

MODEL = "acme/kite"
THEIRS: Any = HUB_PROVIDERS  # its keys are literals, ours are not
TASKS: tuple[Task, ...] = ("text-to-image", "text-to-video", "image-to-image", "image-to-video")
SHARED = [(name, task) for name in PROVIDERS for task in TASKS if task in THEIRS.get(name, {})]
SIDES = {"width": 1280, "height": 1024}
COMMON = {"negative_prompt": "rain", "seed": 7, "num_inference_steps": 20, "guidance_scale": 3.5}
# What the Hub's own client takes for each task, in its own words.
FULL: dict[Task, dict[str, Any]] = {
    "text-to-image": {**COMMON, **SIDES, "scheduler": "euler"},
    "text-to-video": {**COMMON, "num_frames": 81},
    "image-to-image": {**COMMON, "target_size": SIDES},
    "image-to-video": {**COMMON, "num_frames": 81, "target_size": SIDES},
}
VARIANTS = ("plain", "full", "lora")

# Every deliberate difference: (provider, task or *, variant or *, what differs) -> why.
ACCEPT = "the Hub's client adds it one layer higher, to every picture task; the helpers alone do not"
MIME = "the image's own media type, where the Hub's helper always writes image/jpeg"
SIZED = "a size becomes this provider's own words; the Hub's client passes target_size, which it does not know"
UNKNOWN = "not a parameter there: dropped with a warning instead of sent along"
HOLD = "the longest hold is asked for by its number; the bare word means the same today"
QUEUE = "the queue, which returns an id within a second; the helper waits on one long exchange and would lose it"
FORGOTTEN = "LoRA weights, which the python helper forgets here"
STEPS = "the queue calls it steps, as the Hub's JavaScript client does"
SEVERAL = "models that edit several images read it, as in the Hub's JavaScript client"
DIFFERENCES: dict[tuple[str, str, str, str], str] = {
    ("fal-ai", "image-to-video", "full", "json.target_size"): SIZED,
    ("fal-ai", "image-to-video", "full", "json.aspect_ratio"): SIZED,
    ("fal-ai", "image-to-video", "full", "json.resolution"): SIZED,
    ("replicate", "*", "*", "headers.prefer"): HOLD,
    ("replicate", "image-to-image", "full", "json.input.target_size"): SIZED,
    ("replicate", "image-to-image", "full", "json.input.width"): SIZED,
    ("replicate", "image-to-image", "full", "json.input.height"): SIZED,
    ("replicate", "text-to-video", "lora", "json.input.lora_weights"): FORGOTTEN,
    ("replicate", "image-to-image", "lora", "json.input.lora_weights"): FORGOTTEN,
    ("together", "text-to-image", "full", "json.scheduler"): UNKNOWN,
    ("together", "image-to-image", "full", "json.target_size"): SIZED,
    ("together", "image-to-image", "full", "json.width"): SIZED,
    ("together", "image-to-image", "full", "json.height"): SIZED,
    ("together", "text-to-video", "full", "json.num_frames"): UNKNOWN,
    ("together", "image-to-video", "full", "json.num_frames"): UNKNOWN,
    ("novita", "text-to-video", "*", "url"): QUEUE,
    ("novita", "text-to-video", "full", "json.num_inference_steps"): STEPS,
    ("novita", "text-to-video", "full", "json.steps"): STEPS,
    ("nscale", "text-to-image", "full", "json.negative_prompt"): UNKNOWN,
    ("nscale", "text-to-image", "full", "json.guidance_scale"): UNKNOWN,
    ("nscale", "text-to-image", "full", "json.scheduler"): UNKNOWN,
    ("wavespeed", "text-to-image", "full", "json.width"): SIZED,
    ("wavespeed", "text-to-image", "full", "json.height"): SIZED,
    ("wavespeed", "text-to-image", "full", "json.size"): SIZED,
    ("wavespeed", "image-to-image", "full", "json.target_size"): SIZED,
    ("wavespeed", "image-to-image", "full", "json.size"): SIZED,
    ("wavespeed", "image-to-video", "full", "json.target_size"): SIZED,
    ("wavespeed", "image-to-video", "full", "json.size"): SIZED,
    ("wavespeed", "image-to-image", "*", "json.image"): MIME,
    ("wavespeed", "image-to-video", "*", "json.image"): MIME,
    ("wavespeed", "image-to-image", "*", "json.images"): SEVERAL,
    ("wavespeed", "*", "lora", "json.loras"): FORGOTTEN,
    ("zai-org", "text-to-image", "full", "json.negative_prompt"): UNKNOWN,
    ("zai-org", "text-to-image", "full", "json.seed"): UNKNOWN,
    ("zai-org", "text-to-image", "full", "json.num_inference_steps"): UNKNOWN,
    ("zai-org", "text-to-image", "full", "json.guidance_scale"): UNKNOWN,
    ("zai-org", "text-to-image", "full", "json.scheduler"): UNKNOWN,
    ("hf-inference", "*", "*", "headers.accept"): ACCEPT,
}  # fmt: skip
WATCHED = ("content-type", "accept", "prefer", "accept-language", "x-source-channel", "authorization")


def mapping(name: str, task: Task, variant: str) -> InferenceProviderMapping:
    """The Hub's mapping of the made-up model, as its own client holds it."""
    weights = {"adapter": "lora", "adapterWeightsPath": "kite.safetensors"} if variant == "lora" else {}
    return InferenceProviderMapping(
        provider=name, hf_model_id=MODEL, providerId=MODEL_IDS[name], status="live", task=task, **weights
    )


def theirs(name: str, task: Task, via: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The request of the Hub's own client, flat."""
    hardcoded: dict[str, Any] = _common.HARDCODED_MODEL_INFERENCE_MAPPING  # type: ignore[assignment]
    known = {**hardcoded.get(name, {}), MODEL: mapping(name, task, variant)}
    monkeypatch.setitem(_common.HARDCODED_MODEL_INFERENCE_MAPPING, name, known)
    monkeypatch.setattr(hf_inference, "_check_supported_task", lambda model, task: None)
    words = json.loads(json.dumps(FULL[task])) if variant == "full" else {}  # the helpers change what they are given
    from_image = task.startswith("image")
    http_request = THEIRS[name][task].prepare_request(
        inputs=MimeBytes(PNG, mime_type="image/png") if from_image else PROMPT,
        parameters={"prompt": PROMPT, **words} if from_image else words,
        headers={},
        model=MODEL,
        api_key="hf_abcdefghij" if via == "router" else "key-abcdefghij",
    )
    body = http_request.json if http_request.json is not None else json.loads(http_request.data or b"null")
    return dict(flat(http_request.url, http_request.headers, body))


def ours(name: str, task: Task, via: str, variant: str) -> dict[str, Any]:
    """Our HTTP request for the same parameters, flat, with the credential that the transport adds."""
    words = dict(FULL[task]) if variant == "full" else {}
    words |= words.pop("target_size", {})
    image: dict[str, Any] = {"image": InputImage(data=PNG, mime="image/png")} if task.startswith("image") else {}
    request = adapt_request(build_request(task, MODEL, prompt=PROMPT, **image, **words), PROVIDERS[name]).request
    way = route(name, task, via, lora=Lora(MODEL, "kite.safetensors") if variant == "lora" else None)
    http_request = PROVIDERS[name].encode(Submit(request), way)
    secret = Secret("hf_abcdefghij" if via == "router" else "key-abcdefghij")
    scheme = "Bearer" if via == "router" else PROVIDERS[name].auth_scheme
    header = Credential(secret=secret, base_url=way.base_url, scheme=scheme).header
    headers = {**{key.lower(): value for key, value in http_request.headers.items()}, "authorization": header}
    return dict(flat(http_request.url, headers, json.loads(http_request.body or b"null")))


def flat(url: str, headers: dict[str, Any], body: Any) -> Iterator[tuple[str, Any]]:
    """URL, headers that matter, and each member of the JSON, by name; one level deeper where parameters live."""
    yield "url", url
    yield from ((f"headers.{key}", headers[key]) for key in WATCHED if key in headers)
    for key, value in body.items():
        if key in ("input", "parameters"):
            yield f"json.{key}", "an object"
            yield from ((f"json.{key}.{inner}", found) for inner, found in value.items())
        else:
            yield f"json.{key}", value


def expected(name: str, task: str, variant: str) -> set[str]:
    """What the table says of this request."""
    return {
        what
        for (provider, known_task, known_variant, what) in DIFFERENCES
        if provider == name and known_task in (task, "*") and known_variant in (variant, "*")
    }


CASES = [
    (name, task, via, variant)
    for name, task in SHARED
    for via in ("router", "direct")
    for variant in VARIANTS
    if via == "router" or PROVIDERS[name].base_urls
]


@pytest.mark.parametrize(("name", "task", "via", "variant"), CASES)
def test_our_request_is_the_hub_clients_but_for_the_table(
    name: str, task: Task, via: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """URL, headers and JSON are the same for the same parameters, or the table says why not."""
    our_fields, their_fields = ours(name, task, via, variant), theirs(name, task, via, variant, monkeypatch)
    absent = object()
    differing = {
        key
        for key in our_fields.keys() | their_fields.keys()
        if our_fields.get(key, absent) != their_fields.get(key, absent)
    }
    allowed = expected(name, task, variant)
    assert differing == allowed, f"unexplained {differing - allowed}, no longer needed {allowed - differing}"


def test_each_entry_of_the_table_belongs_to_a_request() -> None:
    """No entry speaks of a provider, task or variant that is never compared."""
    for name, task, variant, what in DIFFERENCES:
        assert any(
            name == one and task in (other, "*") and variant in (third, "*") for one, other, _, third in CASES
        ), (name, task, variant, what)


def test_the_hub_client_does_no_task_that_we_do_not() -> None:
    """For our eight providers every picture and video task of the Hub's own client is one of ours, by both roads."""
    missing = [(name, task) for name, task in SHARED if task not in PROVIDERS[name].tasks]
    assert missing == []
    assert len(SHARED) >= 18


def test_the_wavespeed_difference_is_the_media_type_alone() -> None:
    """The image field has the same bytes, but a PNG has its own media type."""
    image_field = ours("wavespeed", "image-to-image", "router", "plain")["json.image"]
    assert image_field == "data:image/png;base64," + b64encode(PNG).decode()
