"""save_response_media: every accepted input becomes a complete file, or none."""

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
    """A PNG image."""
    buffer = BytesIO()
    Image.new("RGB", (side, side), "orange").save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = png()
TEXT = base64.b64encode(IMAGE).decode()

INLINE: list[tuple[str, Any, str | None]] = [
    ("bytes", IMAGE, "image/png"),
    ("bytes without a type", IMAGE, None),
    ("bytes under a wrong type", IMAGE, "video/mp4"),
    ("base64", TEXT, "image/png"),
    ("data: URI", f"data:image/png;base64,{TEXT}", None),
    ("dict", {"data": TEXT, "mimeType": "image/png"}, None),
]

NO_MEDIA: list[tuple[str, Any, str]] = [
    ("nothing", b"", "empty"),
    ("a page", b"<html>sorry</html>", "not an image"),
    ("an error", b'{"error": "no"}', "not an image"),
    ("half a picture", IMAGE[:60], "PNG image, but broken"),
    ("no base64", "*" * 40, "base64"),
]


async def saved(response: Any, prompt: str = "a red fox", **arguments: Any) -> ImageResponse | VideoResponse:
    """Return the only response."""
    (response,) = [item async for item in save_response_media(response, prompt, **arguments)]
    assert isinstance(response, ImageResponse | VideoResponse)
    return response


def files(folder: Path) -> list[Path]:
    """Return all files in the folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server of images: complete, compressed, interrupted, missing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/packed":
                reply = web.Response(body=IMAGE, content_type="image/png")
                reply.enable_compression(web.ContentCoding.gzip)
                return reply
            case "/cut":
                broken = web.StreamResponse(headers={"Content-Length": str(len(IMAGE))})
                await broken.prepare(request)
                await broken.write(IMAGE[:60])
                if request.transport:
                    request.transport.close()
                return broken
            case "/missing":
                return web.Response(status=404, text="no")
        return web.Response(body=IMAGE, content_type="image/png")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(("media", "content_type"), [case[1:] for case in INLINE], ids=[case[0] for case in INLINE])
async def test_inline_media_becomes_a_file(media: Any, content_type: str | None, tmp_path: Path) -> None:
    """The content decides its type; the file name contains the prompt and the tags."""
    response = await saved(media, tags=["1:1", ""], content_type=content_type)
    assert isinstance(response, ImageResponse)
    path = Path(response.get("path"))
    assert response.get_list() == [str(path)]
    assert (response.alt, response.get("mime"), response.get("width")) == ("a red fox", "image/png", 32)
    assert await asyncio.to_thread(path.read_bytes) == IMAGE
    assert path.name.endswith("-1-1-a-red-fox.png")
    assert path.is_relative_to(tmp_path / "home" / "media")


@pytest.mark.parametrize(("media", "message"), [case[1:] for case in NO_MEDIA], ids=[case[0] for case in NO_MEDIA])
async def test_anything_but_media_is_rejected_and_leaves_no_file(media: Any, message: str, tmp_path: Path) -> None:
    """Not even a partial one."""
    with pytest.raises(DownloadError, match=message):
        await saved(media, content_type="image/png")
    assert files(tmp_path) == []


async def test_an_unsupported_object_is_rejected() -> None:
    """The error names its type."""
    with pytest.raises(InvalidRequestError, match="not int"):
        await saved(7)


@pytest.mark.parametrize("path", ["/whole", "/packed"])
async def test_a_response_is_streamed_into_a_file(url: str, path: str) -> None:
    """Compressed or not; the caller gets its full URL, the sidecar one without its query."""
    async with StreamSession() as session, session.get(f"{url}{path}?signature=abc") as reply:
        response = await saved(reply, transcript="a word")
    assert response.get("source_url") == f"{url}{path}?signature=abc"
    assert response.get("transcript") == "a word"
    image, facts = files(Path(response.get("path")).parent)
    assert await asyncio.to_thread(image.read_bytes) == IMAGE
    sidecar = json.loads(await asyncio.to_thread(facts.read_text))
    assert (sidecar["prompt"], sidecar["source"], sidecar["bytes"]) == ("a red fox", url + path, len(IMAGE))
    assert "abc" not in await asyncio.to_thread(facts.read_text)


@pytest.mark.parametrize(("path", "message"), [("/cut", "was interrupted"), ("/missing", "HTTP 404")])
async def test_an_interrupted_or_failed_response_leaves_no_file(
    url: str, path: str, message: str, tmp_path: Path
) -> None:
    """It can be read only once, so it is not retried."""
    async with StreamSession() as session, session.get(url + path) as reply:
        with pytest.raises(DownloadError, match=message):
            await saved(reply)
    assert files(tmp_path) == []


async def test_a_video_is_recognized_by_its_content(sandbox: Sandbox) -> None:
    """A real MP4 without a type."""
    from hfmedia import HuggingFaceMedia

    video: Any = None
    async for chunk in HuggingFaceMedia.create_async_generator("Wan-AI/Wan2.2-T2V-A14B", [], prompt="waves"):
        video = chunk
    data = await asyncio.to_thread(Path(video.get("path")).read_bytes)
    assert isinstance(await saved(data), VideoResponse)
