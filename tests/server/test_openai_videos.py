"""The videos API as the real `openai` package uses it, against a real gateway in front of a simulated world."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway
from tests.support.gateway_jobs import png

from ..support.short_videos import short_videos

# Each method of client.videos says that OpenAI's own videos API has ended; the shape of it is what is served here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The Sora API is scheduled to permanently shut down:DeprecationWarning"),
    pytest.mark.usefixtures("short_videos"),
]
__all__ = ["short_videos"]  # a fixture: pytest finds it by its name here
QUICK = "Wan-AI/Wan2.2-T2V-A14B:fal-ai"


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[Any]:
    """OpenAI's own client, as people have it."""
    async with openai.AsyncOpenAI(api_key="none", base_url=gateway.api, max_retries=2) as made:
        yield made


async def made(client: Any, prompt: str = "a red fox", **options: Any) -> Any:
    """A video, waited for."""
    options = {"model": "sora-2", "seconds": "4", "size": "1280x720"} | options
    return await client.videos.create_and_poll(prompt=prompt, poll_interval_ms=50, **options)


async def test_a_video_is_created_and_downloaded(client: Any, gateway: RunningGateway, tmp_path: Path) -> None:
    """create_and_poll, then the file, its thumbnail, and the file saved by the client."""
    video = await made(client, extra_body={"seed": 7})
    assert (video.status, video.progress, video.seconds) == ("completed", 100, "4")
    assert video.model == "Wan-AI/Wan2.2-T2V-A14B" and video.id == f"video_{video.job_id}"
    assert video.seed == 7 and video.provider and video.error is None
    assert video.expires_at - video.created_at == 30 * 86_400
    content = await client.videos.download_content(video.id)
    assert content.response.headers["content-type"] == "video/mp4"
    assert content.content[4:8] == b"ftyp"
    content.write_to_file(tmp_path / "fox.mp4")
    assert (tmp_path / "fox.mp4").read_bytes() == content.content
    thumbnail = await client.videos.download_content(video.id, variant="thumbnail")
    with Image.open(BytesIO(thumbnail.content)) as picture:
        assert picture.format == "WEBP" and max(picture.size) <= 512
    assert gateway.submissions == 1


async def test_a_video_is_created_from_an_image(client: Any, gateway: RunningGateway) -> None:
    """A file and a data: URL make the task image-to-video."""
    video = await made(client, input_reference=("fox.png", png(), "image/png"))
    assert video.status == "completed" and "I2V" in video.model
    url = "data:image/png;base64," + b64encode(png()).decode()
    video = await made(client, extra_body={"input_reference": {"image_url": url}})
    assert video.status == "completed" and "I2V" in video.model


async def test_a_video_is_created_and_polled(client: Any) -> None:
    """create answers at once with what there is; retrieve goes on from there."""
    raw = await client.videos.with_raw_response.create(prompt="a boat", model=QUICK)
    video = raw.parse()
    assert video.status in ("queued", "in_progress") and video.progress < 100
    assert raw.headers["x-should-retry"] == "false"
    assert 0 < int(raw.headers["openai-poll-after-ms"]) <= 2000
    seen = await client.videos.poll(video.id, poll_interval_ms=50)
    assert (seen.id, seen.status) == (video.id, "completed")
    assert seen.completed_at >= seen.created_at


async def test_a_list_pages_by_itself(client: Any) -> None:
    """25 videos, ten on a page, each exactly once, the newest first; and the other way round."""
    ids = [(await client.videos.create(prompt=f"boat {number}", model=QUICK)).id for number in range(25)]
    assert [video.id async for video in client.videos.list(limit=10)] == ids[::-1]
    assert [video.id async for video in client.videos.list(limit=10, order="asc")] == ids
    page = await client.videos.list(limit=10)
    assert (page.data[0].id, page.last_id, page.has_more) == (ids[-1], ids[15], True)


async def test_a_deleted_video_is_gone(client: Any) -> None:
    """One that is done, and one under way, which is cancelled."""
    video = await made(client)
    started = await client.videos.create(prompt="a boat", model=QUICK)
    for each in (video, started):
        answer = await client.videos.delete(each.id)
        assert (answer.id, answer.deleted, answer.object) == (each.id, True, "video.deleted")
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(each.id)
    assert [video.id async for video in client.videos.list()] == []


async def test_a_remix_is_a_new_video_like_the_old_one(client: Any) -> None:
    """Another prompt; model, size and length stay."""
    video = await made(client, size="832x480", seconds="5")
    remix = await client.videos.remix(video.id, prompt="the same, at night")
    assert remix.remixed_from_video_id == video.id and remix.id != video.id
    assert (remix.prompt, remix.model, remix.seconds) == ("the same, at night", video.model, "5")
    assert (await client.videos.poll(remix.id, poll_interval_ms=50)).status == "completed"


async def test_errors_are_of_the_class_that_people_catch(client: Any, gateway: RunningGateway) -> None:
    """Each with OpenAI's code, and none of them tried again: nothing was bought."""
    with pytest.raises(openai.BadRequestError) as bad:
        await client.videos.create(prompt=" ", model=QUICK)
    assert (bad.value.param, bad.value.code) == ("prompt", "invalid_value")
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.videos.create(prompt="a fox", model="nobody/nothing")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as absent:
        await client.videos.retrieve("video_00000000000000000000")
    assert absent.value.code == "video_not_found"
    with pytest.raises(openai.BadRequestError) as edits:
        await client.videos.extend(prompt="on", seconds="4", video=("fox.mp4", b"x"))
    assert edits.value.code == "not_supported"
    assert gateway.submissions == 0


async def test_what_is_not_ready_is_not_asked_for_again(client: Any, gateway: RunningGateway) -> None:
    """The client tries a 409 three times; this is a 404, and says when."""
    gateway.fault("fal-ai", "cold", seconds=100_000)  # it is not ready, however late it is asked for
    video = await client.videos.create(prompt="a boat", model=QUICK)
    with pytest.raises(openai.NotFoundError, match="not ready") as early:
        await client.videos.download_content(video.id)
    assert early.value.code == "video_not_ready"
    assert early.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.BadRequestError):
        await client.videos.download_content(video.id, variant="spritesheet")


async def test_a_video_that_fails_says_why(client: Any, gateway: RunningGateway) -> None:
    """poll returns as usual, and the error stands in the video."""
    gateway.fault("fal-ai", "fail")
    video = await made(client, model=QUICK)
    assert video.status == "failed" and video.error.code and video.error.message
    with pytest.raises(openai.NotFoundError) as caught:
        await client.videos.download_content(video.id)
    assert caught.value.code == "video_failed"


async def test_the_same_idempotency_key_is_the_same_video(client: Any, gateway: RunningGateway) -> None:
    """Sent twice it is made once; for something else the key is refused."""
    headers = {"Idempotency-Key": "one"}
    first = await client.videos.create(prompt="a boat", model=QUICK, extra_headers=headers)
    second = await client.videos.create(prompt="a boat", model=QUICK, extra_headers=headers)
    assert first.id == second.id and gateway.submissions <= 1
    with pytest.raises(openai.UnprocessableEntityError):
        await client.videos.create(prompt="a ship", model=QUICK, extra_headers=headers)
