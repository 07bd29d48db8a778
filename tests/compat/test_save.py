"""save_response_media: whatever is handed in becomes a whole file, or nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from hfmedia import DownloadError, ImageResponse, InvalidRequestError, StreamSession, VideoResponse, save_response_media
from hfmedia.sandbox import Sandbox


def png(side: int = 32) -> bytes:
    """A picture."""
    buffer = BytesIO()
    Image.new("RGB", (side, side), "orange").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()

INLINE: list[tuple[str, Any, str | None]] = [
    ("bytes", PICTURE, "image/png"),
    ("bytes without a type", PICTURE, None),
    ("bytes under a wrong type", PICTURE, "video/mp4"),
    ("base64", TEXT, "image/png"),
    ("data: URI", f"data:image/png;base64,{TEXT}", None),
    ("dict", {"data": TEXT, "mimeType": "image/png"}, None),
]

NO_MEDIA: list[tuple[str, Any, str]] = [
    ("nothing", b"", "empty"),
    ("a page", b"<html>sorry</html>", "not an image"),
    ("an error", b'{"error": "no"}', "not an image"),
    ("half a picture", PICTURE[:60], "PNG image, but broken"),
    ("no base64", "*" * 40, "base64"),
]


async def saved(response: Any, prompt: str = "a red fox", **arguments: Any) -> ImageResponse | VideoResponse:
    """The one response."""
    (response,) = [one async for one in save_response_media(response, prompt, **arguments)]
    assert isinstance(response, ImageResponse | VideoResponse)
    return response


def files(folder: Path) -> list[Path]:
    """All files there, whatever their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server of pictures: whole, packed, broken off, missing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/packed":
                reply = web.Response(body=PICTURE, content_type="image/png")
                reply.enable_compression(web.ContentCoding.gzip)
                return reply
            case "/cut":
                broken = web.StreamResponse(headers={"Content-Length": str(len(PICTURE))})
                await broken.prepare(request)
                await broken.write(PICTURE[:60])
                if request.transport:
                    request.transport.close()
                return broken
            case "/missing":
                return web.Response(status=404, text="no")
        return web.Response(body=PICTURE, content_type="image/png")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(("given", "content_type"), [case[1:] for case in INLINE], ids=[case[0] for case in INLINE])
async def test_inline_media_becomes_a_file(given: Any, content_type: str | None, tmp_path: Path) -> None:
    """The bytes decide, and the file's name tells of the prompt and the tags."""
    response = await saved(given, tags=["1:1", ""], content_type=content_type)
    assert isinstance(response, ImageResponse)
    path = Path(response.get("path"))
    assert response.get_list() == [str(path)]
    assert (response.alt, response.get("mime"), response.get("width")) == ("a red fox", "image/png", 32)
    assert await asyncio.to_thread(path.read_bytes) == PICTURE
    assert path.name.endswith("-1-1-a-red-fox.png")
    assert path.is_relative_to(tmp_path / "home" / "media")


@pytest.mark.parametrize(("given", "words"), [case[1:] for case in NO_MEDIA], ids=[case[0] for case in NO_MEDIA])
async def test_what_is_no_media_is_refused_and_leaves_no_file(given: Any, words: str, tmp_path: Path) -> None:
    """Not even half of one."""
    with pytest.raises(DownloadError, match=words):
        await saved(given, content_type="image/png")
    assert files(tmp_path) == []


async def test_a_thing_that_is_no_reply_is_refused() -> None:
    """With the name of what it is."""
    with pytest.raises(InvalidRequestError, match="not int"):
        await saved(7)


@pytest.mark.parametrize("path", ["/whole", "/packed"])
async def test_a_reply_is_streamed_into_a_file(url: str, path: str) -> None:
    """Packed or not; its address is told to the caller whole, and to the disk without its query."""
    async with StreamSession() as session, session.get(f"{url}{path}?signature=abc") as reply:
        response = await saved(reply, transcript="a word")
    assert response.get("source_url") == f"{url}{path}?signature=abc"
    assert response.get("transcript") == "a word"
    image, facts = files(Path(response.get("path")).parent)
    assert await asyncio.to_thread(image.read_bytes) == PICTURE
    told = json.loads(await asyncio.to_thread(facts.read_text))
    assert (told["prompt"], told["source"], told["bytes"]) == ("a red fox", url + path, len(PICTURE))
    assert "abc" not in await asyncio.to_thread(facts.read_text)


@pytest.mark.parametrize(("path", "words"), [("/cut", "was interrupted"), ("/missing", "HTTP 404")])
async def test_a_broken_or_failed_reply_leaves_no_file(url: str, path: str, words: str, tmp_path: Path) -> None:
    """It can be read only once, so it is not tried again."""
    async with StreamSession() as session, session.get(url + path) as reply:
        with pytest.raises(DownloadError, match=words):
            await saved(reply)
    assert files(tmp_path) == []


async def test_a_video_is_known_by_its_bytes(town: Sandbox) -> None:
    """A real mp4 under no type at all."""
    from hfmedia import HuggingFaceMedia

    video: Any = None
    async for chunk in HuggingFaceMedia.create_async_generator("Wan-AI/Wan2.2-T2V-A14B", [], prompt="waves"):
        video = chunk
    data = await asyncio.to_thread(Path(video.get("path")).read_bytes)
    assert isinstance(await saved(data), VideoResponse)
