"""The smallest world that the cases need, in a process of its own: a Hub with one model, fal-ai's queue, and a CDN.

It answers from memory, so that what is measured is the client.
"""

from __future__ import annotations

import asyncio
import sys
import time
from io import BytesIO
from pathlib import Path

from aiohttp import web

MODEL = "bench/kite"
JOB_SECONDS = 2.0


def picture(size: int) -> bytes:
    """A PNG of about that many bytes: noise does not compress."""
    import random

    from PIL import Image

    side = int((size / 3) ** 0.5)
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def film() -> bytes:
    """A small mp4 that plays."""
    import av
    from PIL import Image

    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(8):
            for packet in stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 64), "orange"))):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()


def app(port: int) -> web.Application:
    """The Hub, the router and the CDN under one roof."""
    image, video = picture(1_000_000), film()
    began: dict[str, float] = {}

    async def model(request: web.Request) -> web.Response:
        task = "text-to-video" if request.match_info["name"].endswith("video") else "text-to-image"
        entry = {"status": "live", "providerId": "bench/kite", "task": task}
        name = f"bench/{request.match_info['name']}"
        return web.json_response({"_id": "1", "id": name, "inferenceProviderMapping": {"fal-ai": entry}})

    async def submit(request: web.Request) -> web.Response:
        await request.read()
        if request.query.get("_subdomain") != "queue":
            return web.json_response({"images": [{"url": f"http://127.0.0.1:{port}/cdn/1.png"}], "seed": 1})
        job = str(len(began))
        began[job] = time.monotonic()
        where = f"https://queue.fal.run/bench/kite/requests/{job}"
        return web.json_response({"status": "IN_QUEUE", "request_id": job, "response_url": where})

    async def status(request: web.Request) -> web.Response:
        done = time.monotonic() - began[request.match_info["job"]] >= JOB_SECONDS
        return web.json_response({"status": "COMPLETED" if done else "IN_PROGRESS"}, status=200 if done else 202)

    async def result(request: web.Request) -> web.Response:
        return web.json_response({"video": {"url": f"http://127.0.0.1:{port}/cdn/1.mp4"}, "seed": 1})

    async def media(request: web.Request) -> web.Response:
        return web.Response(body=image if request.path.endswith("png") else video)

    made = web.Application()
    made.router.add_get("/api/models/bench/{name}", model)
    made.router.add_post("/router/fal-ai/bench/kite", submit)
    made.router.add_get("/router/fal-ai/bench/kite/requests/{job}/status", status)
    made.router.add_get("/router/fal-ai/bench/kite/requests/{job}", result)
    made.router.add_get("/cdn/{name}", media)
    return made


async def main() -> None:
    """Serves until it is killed; the first line on stdout is its port."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    runner = web.AppRunner(app(port), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    assert Path(__file__).name == "world.py"
    asyncio.run(main())
