"""One conformance suite for every provider and each of its tasks, through the router and directly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.protocol import Cancel, Submit
from hfmedia.core.provider import adapt_request
from hfmedia.core.request import Task, build_request
from hfmedia.providers import PROVIDERS, get_provider

from .cases import (
    BY_BYTES,
    BY_URL,
    DATA_URI,
    LORA,
    PAIRS,
    PNG,
    PROMPT,
    ROUTES,
    UNKNOWN_PROVIDER,
    adapted,
    life,
    media_url,
    parameters,
    route,
    sent,
)  # fmt: skip
from .job_lifecycle import encode_submit, run_job

each_route = pytest.mark.parametrize(("name", "task", "via"), ROUTES)
each_pair = pytest.mark.parametrize(("name", "task"), PAIRS)


@each_route
def test_a_job_runs_from_its_submission_to_its_outputs(name: str, task: Task, via: str) -> None:
    """The handles alone lead from the submission to the media, and each step requests something new."""
    requests, pending_results, end = run_job(name, task, via)
    assert len(requests) == len(life(name, task))
    (output,) = end.outputs
    if output.data is None:
        assert output.url == media_url(task)
    else:
        assert output.data == (PNG if name == "hf-inference" else b"the pixels of a picture")
    assert all(pending.poll_after in (None, 0) for pending in pending_results)


@each_route
def test_every_url_is_below_the_route(name: str, task: Task, via: str) -> None:
    """No request leaves the route's base URL, where its credential belongs."""
    provider, endpoint_route = get_provider(name), route(name, task, via)
    requests, pending_results, _ = run_job(name, task, via)
    if provider.can_cancel:
        requests += [provider.encode(Cancel(pending.handle), endpoint_route) for pending in pending_results]
    for request in requests:
        assert request.url.startswith(endpoint_route.base_url + "/")
        assert ".." not in request.url


@each_route
def test_only_the_submission_is_billable(name: str, task: Task, via: str) -> None:
    """The submission is a POST with a body; every later request is a GET without one."""
    first, *later = run_job(name, task, via)[0]
    assert first.method == "POST"
    assert first.body
    assert all(request.method == "GET" and request.body is None for request in later)


@each_route
def test_no_credential_is_encoded(name: str, task: Task, via: str) -> None:
    """The transport adds the credential; a provider module never sees one."""
    for request in run_job(name, task, via)[0]:
        assert not {header.lower() for header in request.headers} & {"authorization", "cookie", "x-key"}


@each_route
def test_the_body_is_json_with_the_prompt_in_it(name: str, task: Task, via: str) -> None:
    """The prompt is where the provider reads it, and the content type is JSON."""
    http_request = encode_submit(name, task, via)
    assert http_request.headers["Content-Type"] == "application/json"
    body = sent(http_request.body)
    fields = body["input"] if name == "replicate" else body
    if name == "hf-inference":
        fields = {"prompt": body["inputs"]} if task == "text-to-image" else body["parameters"]
    assert fields["prompt"] == PROMPT


@each_route
def test_the_same_request_gives_the_same_bytes(name: str, task: Task, via: str) -> None:
    """Encoding is a pure function: no randomness, no state, the request unchanged."""
    request = adapted(name, task, extra={"odd_knob": [1, {"deep": True}]})
    submit, endpoint_route = Submit(request), route(name, task, via, lora=LORA)
    first = get_provider(name).encode(submit, endpoint_route)
    assert get_provider(name).encode(submit, endpoint_route) == first
    assert request == adapted(name, task, extra={"odd_knob": [1, {"deep": True}]})


@each_pair
def test_extra_goes_last_among_the_parameters_and_wins(name: str, task: Task) -> None:
    """``extra`` is merged unchanged into the model's parameters and overrides the encoded ones."""
    usual = parameters(name, encode_submit(name, task, width=1280, height=1024).body)
    overridden = next(iter(usual))
    extra = {"odd_knob": [1, None], overridden: "mine"}
    with_extra = parameters(name, encode_submit(name, task, width=1280, height=1024, extra=extra).body)
    assert with_extra == {**usual, **extra}


IMAGE_FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("fal-ai", "image-to-image"): {"image_url": DATA_URI, "image_urls": [DATA_URI]},
    ("fal-ai", "image-to-video"): {"image_url": DATA_URI},
    ("replicate", "image-to-image"): {
        "image": DATA_URI,
        "images": [DATA_URI],
        "input_image": DATA_URI,
        "input_images": [DATA_URI],
    },
    ("together", "image-to-image"): {"reference_images": [DATA_URI]},
    ("together", "image-to-video"): {"frame_images": [{"input_image": DATA_URI, "frame": "first"}]},
    ("wavespeed", "image-to-image"): {"image": DATA_URI, "images": [DATA_URI]},
    ("wavespeed", "image-to-video"): {"image": DATA_URI},
    (UNKNOWN_PROVIDER, "image-to-image"): {"images": [{"image_url": DATA_URI}]},
}


def test_every_task_with_an_input_image_is_in_the_table() -> None:
    """The table of image fields leaves no provider out; hf-inference sends bytes and has its own test."""
    with_image = {pair for pair in PAIRS if pair[1].startswith("image")}
    assert with_image - set(IMAGE_FIELDS) == {("hf-inference", "image-to-image")}


@pytest.mark.parametrize(("pair", "fields"), IMAGE_FIELDS.items(), ids=str)
def test_an_input_image_goes_as_a_data_uri_or_as_its_url(pair: tuple[str, Task], fields: dict[str, Any]) -> None:
    """Bytes travel as a data: URI with their own media type, a URL as it is, in the fields that provider reads."""
    body = parameters(pair[0], encode_submit(*pair).body)
    assert {key: body[key] for key in fields} == fields
    body = parameters(pair[0], encode_submit(*pair, image=BY_URL).body)
    by_url = json.loads(json.dumps(fields).replace(DATA_URI, BY_URL.url or ""))
    assert {key: body[key] for key in fields} == by_url
    assert DATA_URI not in json.dumps(body)


def test_together_gives_flux_kontext_its_one_image_field() -> None:
    """FLUX.1 Kontext reads image_url alone; its successors and the other models read reference_images."""
    for model_id, field in (
        ("black-forest-labs/FLUX.1-kontext-pro", "image_url"),
        ("black-forest-labs/FLUX.2-dev", "reference_images"),
        ("acme/kontext-2", "reference_images"),
    ):
        endpoint_route = route("together", "image-to-image", model_id=model_id)
        body = sent(encode_submit("together", "image-to-image", endpoint_route=endpoint_route).body)
        assert {"image_url", "reference_images"} & set(body) == {field}, model_id


def test_a_first_frame_over_togethers_limit_is_rejected() -> None:
    """The data: URI in input_image is limited to 61,440 characters; one byte more is rejected before it is sent."""
    rule = PROVIDERS["together"].tasks["image-to-video"].image
    assert rule is not None
    largest = BY_BYTES.__class__(data=b"x" * rule.max_bytes, mime="image/jpeg")
    body = sent(encode_submit("together", "image-to-video", image=largest).body)
    assert 61_430 < len(body["frame_images"][0]["input_image"]) <= 61_440
    with pytest.raises(InvalidRequestError, match=r"at most 46,0\d\d"):
        adapted(
            "together", "image-to-video", image=BY_BYTES.__class__(data=b"x" * (rule.max_bytes + 1), mime="image/jpeg")
        )


def test_hf_inference_sends_raw_bytes_unless_there_are_parameters() -> None:
    """Alone an image is the body itself; with a prompt or parameters it is base64 in JSON; a URL is rejected."""
    bare = encode_submit("hf-inference", "image-to-image", prompt=None)
    assert (bare.body, bare.headers["Content-Type"]) == (PNG, "image/png")
    body = sent(encode_submit("hf-inference", "image-to-image", seed=7, width=512, height=256).body)
    assert body["inputs"] == DATA_URI.partition(",")[2]
    assert body["parameters"] == {"prompt": PROMPT, "seed": 7, "target_size": {"width": 512, "height": 256}}
    with pytest.raises(InvalidRequestError, match="bytes of an image"):
        encode_submit("hf-inference", "image-to-image", image=BY_URL)


SIZES: list[tuple[str, Task, dict[str, Any], dict[str, Any]]] = [
    ("fal-ai", "text-to-image", {"width": 768, "height": 512}, {"image_size": {"width": 768, "height": 512}}),
    ("fal-ai", "image-to-image", {"width": 768, "height": 512}, {"image_size": {"width": 768, "height": 512}}),
    ("fal-ai", "text-to-image", {"aspect_ratio": "1:1"}, {"image_size": {"width": 1024, "height": 1024}}),
    (
        "fal-ai",
        "text-to-video",
        {"aspect_ratio": "16:9", "resolution": "480P"},
        {"aspect_ratio": "16:9", "resolution": "480p"},
    ),
    ("fal-ai", "text-to-video", {"width": 1280, "height": 720}, {"aspect_ratio": "16:9", "resolution": "720p"}),
    ("replicate", "text-to-image", {"width": 700, "height": 500}, {"width": 700, "height": 500}),
    ("replicate", "text-to-image", {"aspect_ratio": "16:9"}, {"aspect_ratio": "16:9"}),
    ("replicate", "text-to-video", {"resolution": "480p"}, {"resolution": "480p"}),
    ("together", "text-to-image", {"width": 700, "height": 500}, {"width": 700, "height": 500}),
    ("together", "text-to-video", {"aspect_ratio": "16:9"}, {"width": 1280, "height": 720}),
    ("novita", "text-to-video", {"aspect_ratio": "9:16"}, {"width": 720, "height": 1280}),
    ("nscale", "text-to-image", {"width": 768, "height": 512}, {"size": "768x512"}),
    (UNKNOWN_PROVIDER, "text-to-image", {"width": 768, "height": 512}, {"size": "768x512"}),
    ("wavespeed", "text-to-image", {"width": 768, "height": 512}, {"size": "768*512"}),
    ("wavespeed", "text-to-video", {"width": 832, "height": 480}, {"size": "832*480"}),
    (
        "wavespeed",
        "text-to-video",
        {"aspect_ratio": "16:9", "resolution": "720p"},
        {"aspect_ratio": "16:9", "resolution": "720p"},
    ),
    ("zai-org", "text-to-image", {"width": 1280, "height": 1280}, {"size": "1280x1280"}),
    ("zai-org", "text-to-image", {"width": 512, "height": 512}, {"size": "1024x1024"}),
    ("zai-org", "text-to-image", {"width": 4096, "height": 4096}, {"size": "2048x2048"}),
    ("hf-inference", "text-to-image", {"width": 512, "height": 256}, {"width": 512, "height": 256}),
]
SIZE_FIELDS = {"width", "height", "size", "image_size", "aspect_ratio", "resolution", "target_size"}


@pytest.mark.parametrize(("name", "task", "requested", "expected"), SIZES)
def test_a_size_is_sent_in_the_providers_fields(
    name: str, task: Task, requested: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Pixels, a ratio or a resolution become what that provider reads, and nothing else of a size is sent."""
    body = parameters(name, encode_submit(name, task, **requested).body)
    assert {key: value for key, value in body.items() if key in SIZE_FIELDS} == expected


EVERYTHING: dict[str, Any] = {
    "negative_prompt": "rain", "seed": 7, "num_inference_steps": 20, "guidance_scale": 3.5, "scheduler": "euler",
    "num_frames": 81, "seconds": 5.0, "fps": 24, "quality": "high",
}  # fmt: skip
SAME = {key: value for key, value in EVERYTHING.items() if key != "seconds"}
FEW = {"negative_prompt": "rain", "seed": 7, "guidance_scale": 3.5}
ACCEPTED: dict[tuple[str, str], dict[str, Any]] = {
    ("fal-ai", "text-to-video"): {**SAME, "duration": "5"},
    ("replicate", "text-to-video"): {**SAME, "duration": 5},
    ("wavespeed", "text-to-video"): {**SAME, "duration": 5},
    ("together", "text-to-image"): {**FEW, "steps": 20},
    ("together", "image-to-video"): {**FEW, "steps": 20, "fps": 24, "seconds": "5"},
    ("novita", "text-to-video"): {**FEW, "steps": 20, "num_frames": 81},
    ("nscale", "text-to-image"): {"seed": 7},
    ("zai-org", "text-to-image"): {},
    (UNKNOWN_PROVIDER, "text-to-image"): {"quality": "high"},
    ("hf-inference", "text-to-image"): {**FEW, "num_inference_steps": 20, "scheduler": "euler"},
}


@pytest.mark.parametrize(("pair", "expected"), ACCEPTED.items(), ids=str)
def test_parameters_are_named_as_the_provider_reads_them(pair: tuple[str, Task], expected: dict[str, Any]) -> None:
    """Each supported parameter has the provider's own name, and the others are dropped with a warning."""
    name, task = pair
    before, after = (parameters(name, encode_submit(name, task, **options).body) for options in ({}, EVERYTHING))
    assert {key: value for key, value in after.items() if key not in before} == expected
    image: dict[str, Any] = {"image": BY_BYTES} if task.startswith("image") else {}
    adapted_request = adapt_request(
        build_request(task, "acme/Kite", prompt=PROMPT, **image, **EVERYTHING), get_provider(name)
    )
    assert len(adapted_request.warnings) == len(EVERYTHING) - len(expected)


STRENGTH_FIELDS: dict[str, dict[str, float]] = {
    "fal-ai": {"strength": 0.6},
    "replicate": {"strength": 0.6, "prompt_strength": 0.6},
    "wavespeed": {"strength": 0.6},
}


@each_pair
def test_strength_goes_with_an_input_image_where_models_take_it(name: str, task: Task) -> None:
    """Elsewhere it is dropped with a warning that says why."""
    before, after = (parameters(name, encode_submit(name, task, **options).body) for options in ({}, {"strength": 0.6}))
    image: dict[str, Any] = {"image": BY_BYTES} if task.startswith("image") else {}
    request = build_request(task, "acme/Kite", prompt=PROMPT, **image, strength=0.6)
    warnings = adapt_request(request, get_provider(name)).warnings
    expected = STRENGTH_FIELDS.get(name, {}) if image else {}
    assert after == {**before, **expected}
    assert len(warnings) == (0 if expected else 1)
    assert all("strength" in warning for warning in warnings)


LORA_FIELDS: dict[str, dict[str, Any]] = {
    "fal-ai": {"loras": [{"path": "https://huggingface.co/acme/kite-lora/resolve/main/kite.safetensors", "scale": 1}]},
    "replicate": {"lora_weights": "https://huggingface.co/acme/kite-lora"},
    "wavespeed": {"loras": [{"path": "acme/kite-lora", "scale": 1}]},
}


@each_pair
def test_lora_weights_are_added_where_the_provider_takes_them(name: str, task: Task) -> None:
    """A mapping with weights adds the provider's own LoRA field and changes nothing else."""
    bare = parameters(name, encode_submit(name, task).body)
    body = parameters(name, encode_submit(name, task, endpoint_route=route(name, task, lora=LORA)).body)
    assert body == {**bare, **LORA_FIELDS.get(name, {})}


def test_fals_lora_app_gets_its_base_model() -> None:
    """The app fal-ai/lora requires the name of the base model, for text-to-image only."""
    lora_route = route("fal-ai", "text-to-image", lora=LORA, model_id="fal-ai/lora")
    body = sent(encode_submit("fal-ai", "text-to-image", endpoint_route=lora_route).body)
    assert body["model_name"] == "stabilityai/stable-diffusion-xl-base-1.0"
