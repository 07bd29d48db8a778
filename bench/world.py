"""The smallest world that the cases need, in a process of its own: a Hub, fal-ai's queue, nscale's answers, and a CDN.

It answers from memory and as fast as it can, so that what is measured is the client.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import socket
import struct
import sys
import time
from collections import Counter
from io import BytesIO

from aiohttp import web

JOB_SECONDS = 2.0  # unless the prompt says "for N s"
PAGE = 1000  # models, as the Hub gives them
MODELS = 50_000
MEGABYTE = 1_000_000
SLICE = 256 * 1024  # bytes written at once of what is large


def picture(size: int) -> bytes:
    """A PNG of about that many bytes: noise does not compress."""
    from PIL import Image

    side = int((size / 3) ** 0.5)
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def film(size: int = 0) -> bytes:
    """A small mp4 that plays, with a box of nothing behind it that makes it at least so large."""
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
    data = buffer.getvalue()
    empty = size - len(data)
    return data + struct.pack(">I4s", empty, b"free") + bytes(empty - 8) if empty > 8 else data


def listing(number: int) -> dict[str, object]:
    """One model of the large catalogue, as the Hub lists it."""
    task = "text-to-video" if number % 10 == 0 else "text-to-image"
    entries = [
        {"provider": name, "providerId": f"maker/model-{number}", "status": "live", "task": task}
        for name in ("fal-ai", "replicate", "together")[: 1 + number % 3]
    ]
    return {"_id": f"{number:024x}", "id": f"maker/model-{number}", "inferenceProviderMapping": entries}


class World:
    """What is served, and what is remembered of those who asked: how often, and when their jobs were done."""

    def __init__(self, port: int) -> None:
        self.here = f"http://127.0.0.1:{port}"
        self.media = {"small.png": picture(20_000), "image.png": picture(MEGABYTE), "video.mp4": film()}
        self.began: dict[str, tuple[float, float, str]] = {}  # when, for how long, which media
        self.asked: Counter[str] = Counter()
        self._told = 0  # how many jobs were told of
        self._pages: list[bytes] = []
        self._inline = b""

    async def model(self, request: web.Request) -> web.Response:
        """The Hub's page on one model; its name says what it makes, and how."""
        name = request.match_info["name"]
        task = "text-to-video" if name in ("video", "film") else "text-to-image"
        entry = {"status": "live", "providerId": f"bench/{name}", "task": task}
        provider = "nscale" if name == "inline" else "fal-ai"
        return web.json_response({"_id": "1", "id": f"bench/{name}", "inferenceProviderMapping": {provider: entry}})

    async def models(self, request: web.Request) -> web.Response:
        """A page of the large catalogue, with the way to the next one."""
        self.asked["catalogue"] += 1
        if not self._pages:
            numbers = range(0, MODELS, PAGE)
            self._pages = [json.dumps([listing(at + more) for more in range(PAGE)]).encode() for at in numbers]
        at = int(request.query.get("cursor", "0"))
        headers = {"Content-Type": "application/json"}
        if at + 1 < len(self._pages):
            headers["Link"] = f'<{request.url.update_query(cursor=str(at + 1))}>; rel="next"'
        return web.Response(body=self._pages[at], headers=headers)

    async def submit(self, request: web.Request) -> web.Response:
        """fal-ai's two doors: a picture at once, or a place in the queue."""
        asked, name = await request.json(), request.match_info["name"]
        self.asked["submit"] += 1
        if name in ("image", "small"):
            return web.json_response({"images": [{"url": f"{self.here}/cdn/{name}.png"}], "seed": 1})
        if name == "film" and "film.mp4" not in self.media:
            self.media["film.mp4"] = film(50 * MEGABYTE)
        told = re.search(r"for ([0-9.]+) s", str(asked.get("prompt")))
        job = str(len(self.began))
        seconds = float(told[1]) if told else 0.2 if name == "film" else JOB_SECONDS
        self.began[job] = (time.monotonic(), seconds, f"{name}.mp4")
        base = "https://queue.fal.run" if request.path.startswith("/router") else f"{self.here}/queue"
        where = f"{base}/bench/{name}/requests/{job}"
        ways = {"response_url": where, "status_url": f"{where}/status", "cancel_url": f"{where}/cancel"}
        return web.json_response({"status": "IN_QUEUE", "request_id": job, "queue_position": 0, **ways})

    async def status(self, request: web.Request) -> web.Response:
        """Whether a job is done."""
        self.asked["poll"] += 1
        began, seconds, _ = self.began[request.match_info["job"]]
        done = time.monotonic() - began >= seconds
        told = {"status": "COMPLETED" if done else "IN_PROGRESS", "logs": None, "metrics": {}}
        return web.json_response(told, status=200 if done else 202)

    async def result(self, request: web.Request) -> web.Response:
        """Where the media of a job lies."""
        self.asked["result"] += 1
        name = self.began[request.match_info["job"]][2]
        return web.json_response({"video": {"url": f"{self.here}/cdn/{name}"}, "seed": 1})

    async def inline(self, request: web.Request) -> web.Response:
        """A picture of 15 MB inside the answer: 20 MB of base64."""
        await request.read()
        self.asked["submit"] += 1
        if not self._inline:
            coded = base64.b64encode(picture(15 * MEGABYTE))
            self._inline = b'{"created":1,"data":[{"b64_json":"' + coded + b'"}]}'
        return web.Response(body=self._inline, content_type="application/json")

    async def openai(self, request: web.Request) -> web.Response:
        """A picture by address, as an API of OpenAI's kind answers: what LiteLLM's proxy stands in front of."""
        await request.json()
        self.asked["submit"] += 1
        return web.json_response({"created": 1, "data": [{"url": f"{self.here}/cdn/small.png"}]})

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        """Media, large ones in slices."""
        self.asked["cdn"] += 1
        data = self.media[request.match_info["name"]]
        if len(data) <= 2 * MEGABYTE:
            return web.Response(body=data)
        reply = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await reply.prepare(request)
        for at in range(0, len(data), SLICE):
            await reply.write(data[at : at + SLICE])
        return reply

    async def told(self, request: web.Request) -> web.Response:
        """What was asked since the last time, and when each job was done by the clock that all processes share."""
        asked, self.asked = self.asked, Counter()
        done = [began + seconds for began, seconds, _ in self.began.values()][self._told :]
        self._told += len(done)
        return web.json_response({"asked": asked, "done": done})


def app(port: int) -> web.Application:
    """All of it under one roof."""
    world = World(port)
    made = web.Application(client_max_size=64 * MEGABYTE)
    made.router.add_get("/api/models", world.models)
    made.router.add_get("/api/models/bench/{name}", world.model)
    for door in ("/router/fal-ai", "/queue"):
        made.router.add_post(f"{door}/bench/{{name}}", world.submit)
        made.router.add_get(f"{door}/bench/{{name}}/requests/{{job}}/status", world.status)
        made.router.add_get(f"{door}/bench/{{name}}/requests/{{job}}", world.result)
    made.router.add_post("/router/nscale/v1/images/generations", world.inline)
    made.router.add_post("/openai/v1/images/generations", world.openai)
    made.router.add_get("/cdn/{name}", world.cdn)
    made.router.add_get("/told", world.told)
    return made


async def main() -> None:
    """Serves until it is killed; the first line on stdout is its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    runner = web.AppRunner(app(port), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
