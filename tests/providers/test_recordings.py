"""Recorded exchanges with the real providers, replayed: our request, and what we make of the answer, to the last byte.

The recordings are not part of the project; without them these tests are skipped.
"""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct

from hfmedia.core.http import HttpRequest, HttpResponse
from hfmedia.core.hub_models import parse_model
from hfmedia.core.protocol import Completed, Cost, Failure, FailureKind, Lora, Output, Route, Submit
from hfmedia.core.provider import adapt_request
from hfmedia.core.request import Task, build_request
from hfmedia.providers import PROVIDERS

FOLDER = Path(__file__).parents[2].parent / "shared" / "recordings"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings are not beside this checkout")

PIXEL_ART = Lora("nerijs/pixel-art-xl", "pixel-art-xl.safetensors")
SYNC = {"sync_mode": True}
BROKEN_LORA = {**SYNC, "loras": [{"path": {}, "scale": 1}]}
OLD_CLIENT = {"inputs": "", "response_format": "base64", "model": "fal-ai/flux/schnell"}


class Replay(Struct, frozen=True, kw_only=True):
    """How one recorded submission is asked for again, and how the answer ends.

    ``differs`` names each part of the recorded request (url, prefer, or a member of the JSON) that we send otherwise,
    and why.
    """

    model_id: str
    kind: FailureKind | None = None
    task: Task = "text-to-image"
    lora: Lora | None = None
    words: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    differs: dict[str, str] = {}
    message: str = ""
    code: str | None = None


SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
LIGHTNING = "bytedance/sdxl-lightning-4step:5599ed30703defd1d160a25a63321b4dec97101d98b4674bcc56e41f62f35637"
HELD = {"prefer": "we ask for the longest hold by its number: wait=60"}
NO_MODEL = {"model": "the recorded client forgot it, which is what the 400 says"}
REPLAYS: dict[str, Replay] = {
    "fal-ai-404": Replay(model_id="fal-ai", extra=BROKEN_LORA, kind="rejected", message="404: Not Found"),
    "fal-ai-image-data-uri": Replay(model_id="fal-ai/flux/schnell", extra=SYNC),
    "fal-ai-image-url": Replay(model_id="fal-ai/flux/schnell", extra=OLD_CLIENT),
    "fal-ai-lora": Replay(
        model_id="fal-ai/lora", lora=PIXEL_ART, words={"negative_prompt": "3d render, realistic"}, extra=SYNC
    ),
    "fal-ai-lora-422-list": Replay(
        model_id="fal-ai/flux-lora",
        extra=BROKEN_LORA,
        kind="rejected",
        message="loras.0.path: str type expected",
        code="type_error.str",
    ),
    "fal-ai-lora-422-string": Replay(
        model_id="fal-ai/lora",
        lora=PIXEL_ART,
        words={"negative_prompt": "3d render, realistic"},
        extra={**SYNC, "model_name": "nerijs/pixel-art-xl"},
        kind="rejected",
        message="Model directory /data/models/hub/models--nerijs--pixel-art-xl/snapshots/"
        "8bf4a4d9ea283e00a51fafda8e0539f8248ea037 does not contain a config.json or model_index.json file.",
    ),
    "fal-ai-video": Replay(
        model_id="fal-ai/mochi-v1",
        task="text-to-video",
        words={"seed": 176, "num_inference_steps": 2, "num_frames": 85, "resolution": "480p"},
        differs={"url": "videos go to the queue, not to the host that keeps the connection open"},
    ),
    "replicate-422": Replay(
        model_id="black-forest-labs/flux-schnell",
        differs={**HELD, "model": "the recorded client sent it beside the input, which is what the 422 says"},
        kind="rejected",
        message="Input validation failed: - Additional property model is not allowed",
    ),
    "replicate-image-processing": Replay(model_id="black-forest-labs/flux-schnell", differs=HELD),
    "replicate-version": Replay(model_id=LIGHTNING, differs=HELD),
    "router-fal-ai": Replay(model_id="fal-ai/flux/dev"),
    "router-hf-inference": Replay(model_id="CompVis/stable-diffusion-v1-4"),
    "router-replicate": Replay(model_id=LIGHTNING),
    "router-together": Replay(model_id=SDXL),
    "together-400": Replay(
        model_id=SDXL,
        extra={"inputs": ""},
        differs=NO_MODEL,
        kind="rejected",
        message="Invalid request",
        code="invalid_request_error",
    ),
    "together-image-b64": Replay(model_id=SDXL),
}
SEEDS = {
    "fal-ai-image-data-uri": 1980397568,
    "fal-ai-image-url": 2868326603,
    "fal-ai-lora": 5818982679236452000,  # beyond 2^53: exact only as a whole number
    "router-fal-ai": 3131504498,
}
each = pytest.mark.parametrize("name", REPLAYS)


def read(name: str) -> dict[str, Any]:
    """One recording."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def bought(name: str) -> tuple[str, dict[str, Any]]:
    """The provider, and the one exchange that buys."""
    recording = read(name)
    (exchange,) = (one for one in recording["exchanges"] if one["request"]["method"] == "POST")
    return recording["provider"], exchange


def answered(response: dict[str, Any]) -> HttpResponse:
    """A recorded response as the transport would hand it over."""
    headers = {key.lower(): value for key, value in response["headers"].items()}
    if "body_file" in response:
        body = (FOLDER / response["body_file"]).read_bytes()
        assert sha256(body).hexdigest() == response["body_sha256"]
    else:
        body = response["text"].encode() if "text" in response else json.dumps(response["json"]).encode()
    return HttpResponse(status=response["status"], headers=headers, body=body)


def asked(name: str) -> tuple[Submit, Route]:
    """Our own request and route for a recorded submission."""
    replay, (provider, exchange) = REPLAYS[name], bought(name)
    recorded = exchange["request"]["json"]
    prompt = recorded.get("prompt") or recorded.get("input", {}).get("prompt") or recorded["inputs"]
    request = build_request(replay.task, "acme/kite", prompt=prompt, extra=replay.extra, **replay.words)
    via: Literal["router", "direct"] = "router" if name.startswith("router-") else "direct"
    speaker = PROVIDERS[provider]
    way = Route(
        provider=provider,
        provider_id=replay.model_id,
        model="acme/kite",
        task=replay.task,
        base_url=f"https://router.huggingface.co/{provider}" if via == "router" else speaker.base_urls[replay.task],
        credential="HF_TOKEN",
        via=via,
        lora=replay.lora,
    )
    return Submit(adapt_request(request, speaker).request), way


def test_every_recording_is_replayed() -> None:
    """A recording that is added is replayed or fails here."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(REPLAYS)


@each
def test_our_request_is_the_recorded_one_but_for_what_is_named(name: str) -> None:
    """URL, Prefer and each member of the JSON are what the real provider was sent, or the table says why not."""
    ask, way = asked(name)
    recorded = bought(name)[1]["request"]
    made: HttpRequest = PROVIDERS[way.provider].encode(ask, way)
    us = {"url": made.url, **json.loads(made.body or b"null")}
    them = {"url": recorded["url"], **recorded["json"]}
    if "headers" in recorded:
        us["prefer"], them["prefer"] = made.headers.get("Prefer"), recorded["headers"].get("Prefer")
    differing = {key for key in us.keys() | them.keys() if us.get(key) != them.get(key)}
    assert differing == set(REPLAYS[name].differs)


@each
def test_the_recorded_answer_is_read_exactly(name: str) -> None:
    """The outcome is the recorded one: the same addresses, bytes, seed and cost, or the same complaint."""
    ask, way = asked(name)
    response = bought(name)[1]["response"]
    answer = PROVIDERS[way.provider].decode(ask, way, answered(response))
    replay = REPLAYS[name]
    if replay.kind:
        assert answer == Failure(kind=replay.kind, message=replay.message, status=response["status"], code=replay.code)
        return
    assert isinstance(answer, Completed)
    assert answer.outputs == told_outputs(response)
    assert answer.seed == SEEDS.get(name)
    assert answer.cost == (Cost(1.0, "fal-units") if name == "router-fal-ai" else None)
    assert answer.warnings == ()


def told_outputs(response: dict[str, Any]) -> tuple[Output, ...]:
    """The outputs of a recorded success, read by other means than ours."""
    if "body_file" in response:
        return (Output(data=(FOLDER / response["body_file"]).read_bytes(), mime=response["headers"]["Content-Type"]),)
    body = response["json"]
    if "data" in body:
        return tuple(Output(data=b64decode(one["b64_json"])) for one in body["data"])
    if "output" in body:
        return tuple(Output(url=url) for url in body["output"])
    return tuple(
        Output(url=one["url"], mime=one["content_type"], width=one.get("width"), height=one.get("height"))
        for one in [*body.get("images", ()), *([body["video"]] if "video" in body else ())]
    )


def test_a_whole_base64_image_arrives_to_the_last_byte() -> None:
    """Together's picture through the router starts and ends as a JPEG does."""
    ask, way = asked("router-together")
    answer = PROVIDERS["together"].decode(ask, way, answered(bought("router-together")[1]["response"]))
    assert isinstance(answer, Completed)
    data = answer.outputs[0].data or b""
    assert (data[:3], data[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")


def test_an_inline_image_is_handed_on_whole() -> None:
    """fal's data: URI is passed on unchanged, and what it holds is a whole JPEG."""
    ask, way = asked("fal-ai-image-data-uri")
    answer = PROVIDERS["fal-ai"].decode(ask, way, answered(bought("fal-ai-image-data-uri")[1]["response"]))
    assert isinstance(answer, Completed)
    head, _, body = (answer.outputs[0].url or "").partition(",")
    data = b64decode(body, validate=True)
    assert (head, data[:3], data[-2:]) == ("data:image/jpeg;base64", b"\xff\xd8\xff", b"\xff\xd9")


@pytest.mark.parametrize("name", ["router-fal-ai", "router-replicate", "router-together"])
def test_the_recorded_mapping_leads_to_the_recorded_model(name: str) -> None:
    """What the Hub said of the model names the provider and the very id that was asked for."""
    exchange = read(name)["exchanges"][0]
    model = parse_model(json.dumps(exchange["response"]["json"]).encode())
    ours = {one.provider: one.provider_id for one in model.live_mappings("text-to-image")}
    assert ours[read(name)["provider"]] == REPLAYS[name].model_id


@pytest.mark.parametrize("name", ["router-fal-ai", "router-replicate"])
def test_the_output_is_what_was_downloaded_next(name: str) -> None:
    """The address that we read is the one from which the recorded client fetched the picture."""
    ask, way = asked(name)
    answer = PROVIDERS[way.provider].decode(ask, way, answered(bought(name)[1]["response"]))
    assert isinstance(answer, Completed)
    assert answer.outputs[0].url == read(name)["exchanges"][2]["request"]["url"]
