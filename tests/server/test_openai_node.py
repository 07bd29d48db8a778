"""The gateway as the npm package `openai` uses it on Node; what it saw and what it saved are checked here."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway
from tests.support.models import FLUX, KONTEXT

from ..support.short_videos import short_videos

NODE = shutil.which("node")
HERE = Path(__file__).parent / "node"
INSTALL = "npm ci --prefix tests/server/node --no-audit --no-fund"
LACK = (
    "there is no node"
    if NODE is None
    else f"OpenAI's client for Node is not installed: {INSTALL}"
    if not (HERE / "node_modules" / "openai").is_dir()
    else ""
)
pytestmark = [pytest.mark.skipif(bool(LACK), reason=LACK), pytest.mark.usefixtures("short_videos")]
__all__ = ["short_videos"]  # a fixture: pytest finds it by its name here
WAN = "Wan-AI/Wan2.2-T2V-A14B"

Play = Callable[[str], Awaitable[tuple[Any, list[str]]]]


@pytest.fixture(scope="module")
def node() -> Iterator[subprocess.Popen[str]]:
    """One Node for all tests here, since to start one costs more than most scenarios."""
    assert NODE is not None
    with subprocess.Popen(
        [NODE, str(HERE / "scenarios.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        yield child
        child.kill()


@pytest.fixture
def play(node: subprocess.Popen[str], gateway: RunningGateway, tmp_path: Path) -> Play:
    """Runs one scenario and gives its result, with every request that the client sent."""
    Image.new("RGB", (64, 64), "orange").save(tmp_path / "one.png")
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "two.png")
    pipes = node.stdin, node.stdout

    async def run(name: str) -> tuple[Any, list[str]]:
        into, out = pipes
        assert into is not None and out is not None
        into.write(json.dumps({"name": name, "api": gateway.api, "folder": str(tmp_path)}) + "\n")
        body = json.loads(await asyncio.to_thread(out.readline))
        assert "broken" not in body, body["broken"]
        return body["result"], body["sent"]

    return run


async def answered(gateway: RunningGateway, http: aiohttp.ClientSession, route: str, status: int) -> bool:
    """Whether a GET of this route was answered with this status, as the gateway itself counts."""
    async with http.get(f"{gateway.url}/metrics") as answer:
        counts = [line for line in (await answer.text()).splitlines() if line.startswith("hfmedia_requests_total{")]
    labels = ('method="GET"', f'route="{route}"', f'status="{status}"')
    return any(all(label in line for label in labels) for line in counts)


def picture(path: Path) -> tuple[str | None, tuple[int, int]]:
    """The format and the size of an image file, which must be whole."""
    with Image.open(path) as image:
        image.load()
        return image.format, image.size


async def test_images_come_by_their_addresses(play: Play, gateway: RunningGateway, tmp_path: Path) -> None:
    """Two of them, with the type, the size and the seed that they are said to have."""
    body, sent = await play("image_url")
    answer, items = body["answer"], body["answer"]["data"]
    assert answer["created"] > 1_700_000_000 and answer["size"] == "512x256"
    assert [one["seed"] for one in items] == [7, 8]
    for one, file in zip(items, body["files"], strict=True):
        assert one["url"].startswith(f"{gateway.url}/media/") and "b64_json" not in one
        assert one["model"] == FLUX and one["provider"] and one["job_id"] in answer["job_ids"]
        assert (file["status"], file["type"]) == (200, one["mime"])
        form, size = picture(tmp_path / file["file"])
        assert (f"image/{(form or '').lower()}", size) == (one["mime"], (512, 256))
    assert gateway.submissions == 2
    assert sent == ["POST /v1/images/generations"]


async def test_an_image_comes_inside_the_answer(play: Play, gateway: RunningGateway, tmp_path: Path) -> None:
    """In the format that was asked for, whatever the provider made."""
    body, _ = await play("image_b64")
    (one,) = body["answer"]["data"]
    assert "url" not in one and one["mime"] == "image/webp" and body["answer"]["output_format"] == "webp"
    assert picture(tmp_path / "fox.webp") == ("WEBP", (512, 256))
    assert gateway.submissions == 1


@pytest.mark.parametrize(("scenario", "warned"), [("edit_one", []), ("edit_several", ["2 images"])])
async def test_an_image_is_edited(
    play: Play, gateway: RunningGateway, tmp_path: Path, scenario: str, warned: list[str]
) -> None:
    """A file makes one image; several make one too, and a warning tells that not all were used."""
    body, sent = await play(scenario)
    (one,) = body["answer"]["data"]
    assert one["model"] == KONTEXT
    assert [words[:8] for words in body["answer"]["warnings"]] == warned
    assert body["files"][0]["status"] == 200
    form, size = picture(tmp_path / "edited.png")
    assert f"image/{(form or '').lower()}" == one["mime"] and size == (one["width"], one["height"])
    assert gateway.submissions == 1 and sent == ["POST /v1/images/edits"]


@pytest.mark.parametrize(
    ("scenario", "kind", "count"), [("image_stream", "image_generation", 2), ("edit_stream", "image_edit", 1)]
)
async def test_images_are_streamed(
    play: Play, gateway: RunningGateway, tmp_path: Path, scenario: str, kind: str, count: int
) -> None:
    """One finished event for each image, with the image in it."""
    body, _ = await play(scenario)
    assert [event["type"] for event in body["events"]] == [f"{kind}.completed"] * count
    for event in body["events"]:
        form, size = picture(tmp_path / event["file"])
        assert ((form or "").lower(), f"{size[0]}x{size[1]}") == (event["output_format"], event["size"])
        assert event["created_at"] > 1_700_000_000 and event["provider"]
    assert gateway.submissions == count


async def test_an_error_in_a_stream_is_thrown(play: Play, gateway: RunningGateway) -> None:
    """As an APIError with the code, and the request is not sent again: it was accepted, and may be billed."""
    gateway.fault("wavespeed", "fail", times=10)
    body, sent = await play("stream_error")
    assert body["known"] == ["APIError"] and body["code"] == "provider_failed" and body["message"]
    assert gateway.submissions == 1 and sent == ["POST /v1/images/generations"]


async def test_an_unknown_model_is_not_found(play: Play, gateway: RunningGateway) -> None:
    """NotFoundError with OpenAI's code, for an image, a video and the model itself; nothing is tried twice."""
    body, _ = await play("unknown_model")
    for error in body.values():
        assert error["known"] == ["APIError", "NotFoundError"] and error["status"] == 404
        assert error["code"] == "model_not_found" and "nobody/nothing" in error["message"]
        assert error["requestID"] and error["attempts"] == 1
    assert gateway.submissions == 0


async def test_missing_credit_is_reported_and_not_retried(play: Play, gateway: RunningGateway) -> None:
    """An APIError with its status, 402; the client asks once, and so does the gateway."""
    gateway.fault("fal-ai", "credit", times=10)
    body, sent = await play("no_credit")
    assert (body["known"], body["own"], body["status"]) == (["APIError"], "APIError", 402)
    assert (body["code"], body["type"]) == ("insufficient_quota", "insufficient_quota")
    assert sent == ["POST /v1/images/generations"]
    assert gateway.submissions == 0 and gateway.sandbox_thread.request_count("submit") == 1


@pytest.mark.parametrize(("fault", "code"), [("fail", "provider_failed"), ("html", "unreadable_reply")])
async def test_what_was_bought_is_not_bought_again(play: Play, gateway: RunningGateway, fault: str, code: str) -> None:
    """A 502, which the client would retry twice unless a header forbids it."""
    gateway.fault("wavespeed", fault, times=10)
    body, sent = await play("failed_late")
    assert (body["own"], body["status"], body["code"]) == ("InternalServerError", 502, code)
    assert sent == ["POST /v1/images/generations"] and gateway.submissions == 1


async def test_a_video_is_created_and_downloaded(
    play: Play, gateway: RunningGateway, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Begun, looked at as often as the gateway says, then its file and its thumbnail; too early it is not there."""
    gateway.fault("fal-ai", "cold", seconds=100_000)
    playing = asyncio.ensure_future(play("video"))
    for asked, status in (("/v1/videos/{video_id}/content", 404), ("/v1/videos/{video_id}", 200)):
        while not (playing.done() or await answered(gateway, http, asked, status)):  # noqa: ASYNC110 - it rings no bell
            await asyncio.sleep(0.02)
    await gateway.finish_waiting_jobs()
    body, sent = await playing
    started, early, video = body["begun"], body["early"], body["video"]
    assert started["status"] in ("queued", "in_progress") and started["retry"] == "false"
    assert (early["status"], early["code"], early["attempts"]) == (404, "video_not_ready", 1)
    assert body["waits"] and all(0 < wait <= 2000 for wait in body["waits"])
    assert (video["id"], video["object"], video["status"]) == (started["id"], "video", "completed")
    assert (video["progress"], video["seconds"], video["model"], video["seed"]) == (100, "4", WAN, 7)
    assert video["error"] is None and video["completed_at"] >= video["created_at"]
    film, thumbnail = body["files"]
    assert (film["status"], film["type"]) == (200, "video/mp4")
    assert (tmp_path / film["file"]).read_bytes()[4:8] == b"ftyp"
    assert (thumbnail["status"], thumbnail["type"]) == (200, "image/webp")
    assert picture(tmp_path / thumbnail["file"])[0] == "WEBP"
    assert (body["sprites"]["status"], body["sprites"]["param"]) == (400, "variant")
    assert gateway.submissions == 1 and sent.count("POST /v1/videos") == 1


@pytest.mark.parametrize("scenario", ["video_of_file", "video_of_url"])
async def test_a_video_is_created_from_an_image(play: Play, gateway: RunningGateway, scenario: str) -> None:
    """A file, and a data: URL as ``input_reference[image_url]`` of a form, make the task image-to-video."""
    video, _ = await play(scenario)
    assert video["status"] == "completed" and "I2V" in video["model"]
    assert [words for words in video["warnings"] if "default model of image-to-video" not in words] == []
    assert gateway.submissions == 1


async def test_a_video_that_fails_says_why(play: Play, gateway: RunningGateway) -> None:
    """The error stands in the video, and its content is not found."""
    gateway.fault("fal-ai", "fail")
    body, _ = await play("video_failed")
    assert body["video"]["status"] == "failed"
    assert body["video"]["error"]["code"] == "provider_failed" and body["video"]["error"]["message"]
    assert (body["content"]["status"], body["content"]["code"]) == (404, "video_failed")


async def test_a_list_pages_by_itself(play: Play) -> None:
    """12 videos, five on a page, each exactly once, the newest first; and the other way round."""
    body, sent = await play("video_list")
    assert body["newest"] == body["ids"][::-1] and body["oldest"] == body["ids"]
    assert body["page"] == {"count": 5, "last": body["ids"][7], "more": True}
    assert sent.count("GET /v1/videos") == 1 + 3 + 3


async def test_a_remix_is_a_new_video_like_the_old_one(play: Play, gateway: RunningGateway) -> None:
    """Another prompt; model, size and length stay."""
    body, _ = await play("video_remix")
    video, remix = body["video"], body["remix"]
    assert remix["remixed_from_video_id"] == video["id"] != remix["id"]
    assert (remix["status"], remix["prompt"]) == ("completed", "the same, at night")
    assert (remix["model"], remix["seconds"], remix["size"]) == (video["model"], "5", video["size"])
    assert gateway.submissions == 2


async def test_a_deleted_video_is_gone(play: Play) -> None:
    """One that is done, and one under way, which is cancelled."""
    body, _ = await play("video_delete")
    assert len(body["told"]) == 2 and body["left"] == 0
    for one in body["told"]:
        assert one["answer"] == {"id": one["id"], "object": "video.deleted", "deleted": True}
        assert (one["after"]["own"], one["after"]["code"]) == ("NotFoundError", "video_not_found")


async def test_models_are_listed_and_looked_up(play: Play) -> None:
    """The client sends the slash of an id as %2F, and the model is found."""
    body, sent = await play("models")
    assert body["count"] > 10 and body["inList"]["object"] == "model"
    assert body["one"]["id"] == FLUX and body["one"]["owned_by"] == "black-forest-labs"
    assert body["one"]["providers"] == body["inList"]["providers"] != []
    assert sent == ["GET /v1/models", "GET /v1/models/black-forest-labs%2FFLUX.1-schnell"]
