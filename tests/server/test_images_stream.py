"""Images as a stream of events: well-formed, and completed even if the client stops reading."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway
from tests.support.gateway_jobs import GENERATE, REPLICATE, TOGETHER, asked, ended, generated, png
from tests.support.models import KONTEXT


async def events(
    http: aiohttp.ClientSession, gateway: RunningGateway, **fields: Any
) -> tuple[bytes, list[dict[str, Any]]]:
    """The stream as it came, and its data."""
    payload = {"prompt": "a fox", "model": TOGETHER, "stream": True, **fields}
    async with http.post(f"{gateway.api}/{GENERATE}", json=payload) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert answer.headers["x-should-retry"] == "false"
        raw = await answer.read()
    return raw, [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]


async def test_a_stream_is_well_formed(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Each event: its name, its data with the same type, an empty line; nothing else, above all no id and no retry."""
    raw, body = await events(http, gateway, n=2, partial_images=2)
    blocks = raw.decode().split("\n\n")
    assert blocks.pop() == ""
    for block, data in zip(blocks, body, strict=True):
        name, line = block.split("\n")
        assert name == f"event: {data['type']}"
        assert line.startswith("data: ")
    assert [data["type"] for data in body] == ["image_generation.completed"] * 2
    for data in body:
        assert Image.open(BytesIO(base64.b64decode(data["b64_json"])))
        assert {"created_at", "size", "quality", "background", "output_format"} <= set(data)
        assert any("partial_images" in words for words in data["warnings"])


async def test_a_failure_in_a_stream_is_an_event_that_sdks_raise(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Nested, as they read it; what is wrong before anything is sent is a plain answer."""
    gateway.fault("replicate", "fail", times=5)
    _, body = await events(http, gateway, model=REPLICATE)
    assert body == [{"type": "error", "error": body[0]["error"]}]
    assert body[0]["error"]["code"] == "provider_failed"
    status, plain = await generated(http, gateway, model="nobody/nothing", stream=True)
    assert (status, plain["error"]["code"]) == (404, "model_not_found")


async def test_a_stream_without_a_reader_completes_all_the_same(
    gateway: RunningGateway, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet one sends comments; a client that disconnects stops nothing."""
    monkeypatch.setattr("hfmedia.server.sse.KEEPALIVE_INTERVAL", 0.1)
    gateway.fault("replicate", "cold", seconds=60)
    payload = {"prompt": "a fox", "model": REPLICATE, "stream": True}
    async with http.post(f"{gateway.api}/{GENERATE}", json=payload) as answer:
        assert (await answer.content.readline()).startswith(b": ")
    _, listed = await asked(http, "GET", f"{gateway.api}/jobs")
    assert (await ended(http, gateway, listed["data"][0]["id"]))["status"] == "completed"
    assert gateway.submissions == 1


async def test_an_edit_streams_under_its_own_name(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A form has ``stream`` as text; ignored fields are reported in the event."""
    form = aiohttp.FormData({"prompt": "autumn", "model": KONTEXT, "stream": "true", "partial_images": "1"})
    form.add_field("image", png(), filename="upload", content_type="application/octet-stream")
    async with http.post(f"{gateway.api}/images/edits", data=form) as answer:
        assert answer.content_type == "text/event-stream"
        raw = await answer.text()
    assert raw.startswith("event: image_edit.completed\n")
    assert "partial_images" in json.loads(raw.split("\n")[1][6:])["warnings"][0]


async def test_one_failure_among_several_spares_the_others(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Each output is an event of its own, whichever way it ended."""
    gateway.fault("replicate", "fail", times=1)
    _, body = await events(http, gateway, model=REPLICATE, n=3)
    assert sorted(data["type"] for data in body) == ["error"] + ["image_generation.completed"] * 2


async def test_a_lost_stream_can_be_requested_again(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """By its idempotency key, without a second purchase."""
    payload = {"prompt": "a fox", "model": TOGETHER, "stream": True}
    body: list[Any] = []
    for _ in range(2):
        async with http.post(f"{gateway.api}/{GENERATE}", json=payload, headers={"Idempotency-Key": "mine"}) as answer:
            body.append(json.loads((await answer.text()).split("\n")[1][6:]))
    assert body[0]["b64_json"] == body[1]["b64_json"]
    assert gateway.submissions == 1
