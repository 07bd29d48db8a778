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
PAGE_SIZE = 1000  # models, as the Hub gives them
MODELS = 50_000
MEGABYTE = 1_000_000
CHUNK_SIZE = 256 * 1024  # bytes written at once of what is large


def png_of_size(size: int) -> bytes:
    """A PNG of about that many bytes: noise does not compress."""
    from PIL import Image

    side = int((size / 3) ** 0.5)
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def mp4_of_size(size: int = 0) -> bytes:
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
    padding = size - len(data)
    return data + struct.pack(">I4s", padding, b"free") + bytes(padding - 8) if padding > 8 else data


def catalog_entry(number: int) -> dict[str, object]:
    """One model of the large catalogue, as the Hub lists it."""
    task = "text-to-video" if number % 10 == 0 else "text-to-image"
    entries = [
        {"provider": name, "providerId": f"maker/model-{number}", "status": "live", "task": task}
        for name in ("fal-ai", "replicate", "together")[: 1 + number % 3]
    ]
    return {"_id": f"{number:024x}", "id": f"maker/model-{number}", "inferenceProviderMapping": entries}


class BenchServer:
    """What is served, and what is remembered of those who asked: how often, and when their jobs were done."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.media = {"small.png": png_of_size(20_000), "image.png": png_of_size(MEGABYTE), "video.mp4": mp4_of_size()}
        self.jobs: dict[str, tuple[float, float, str]] = {}  # when, for how long, which media
        self.request_counts: Counter[str] = Counter()
        self._reported_jobs = 0  # how many jobs were told of
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
        self.request_counts["catalogue"] += 1
        if not self._pages:
            numbers = range(0, MODELS, PAGE_SIZE)
            self._pages = [
                json.dumps([catalog_entry(page_start + offset) for offset in range(PAGE_SIZE)]).encode()
                for page_start in numbers
            ]
        page_start = int(request.query.get("cursor", "0"))
        headers = {"Content-Type": "application/json"}
        if page_start + 1 < len(self._pages):
            headers["Link"] = f'<{request.url.update_query(cursor=str(page_start + 1))}>; rel="next"'
        return web.Response(body=self._pages[page_start], headers=headers)

    async def submit(self, request: web.Request) -> web.Response:
        """fal-ai's two doors: a picture at once, or a place in the queue."""
        payload, name = await request.json(), request.match_info["name"]
        self.request_counts["submit"] += 1
        if name in ("image", "small"):
            return web.json_response({"images": [{"url": f"{self.base_url}/cdn/{name}.png"}], "seed": 1})
        if name == "film" and "film.mp4" not in self.media:
            self.media["film.mp4"] = mp4_of_size(50 * MEGABYTE)
        match = re.search(r"for ([0-9.]+) s", str(payload.get("prompt")))
        job = str(len(self.jobs))
        seconds = float(match[1]) if match else 0.2 if name == "film" else JOB_SECONDS
        self.jobs[job] = (time.monotonic(), seconds, f"{name}.mp4")
        base = "https://queue.fal.run" if request.path.startswith("/router") else f"{self.base_url}/queue"
        job_url = f"{base}/bench/{name}/requests/{job}"
        urls = {"response_url": job_url, "status_url": f"{job_url}/status", "cancel_url": f"{job_url}/cancel"}
        return web.json_response({"status": "IN_QUEUE", "request_id": job, "queue_position": 0, **urls})

    async def status(self, request: web.Request) -> web.Response:
        """Whether a job is done."""
        self.request_counts["poll"] += 1
        started_at, seconds, _ = self.jobs[request.match_info["job"]]
        is_done = time.monotonic() - started_at >= seconds
        content = {"status": "COMPLETED" if is_done else "IN_PROGRESS", "logs": None, "metrics": {}}
        return web.json_response(content, status=200 if is_done else 202)

    async def result(self, request: web.Request) -> web.Response:
        """Where the media of a job lies."""
        self.request_counts["result"] += 1
        name = self.jobs[request.match_info["job"]][2]
        return web.json_response({"video": {"url": f"{self.base_url}/cdn/{name}"}, "seed": 1})

    async def inline(self, request: web.Request) -> web.Response:
        """A picture of 15 MB inside the answer: 20 MB of base64."""
        await request.read()
        self.request_counts["submit"] += 1
        if not self._inline:
            encoded = base64.b64encode(png_of_size(15 * MEGABYTE))
            self._inline = b'{"created":1,"data":[{"b64_json":"' + encoded + b'"}]}'
        return web.Response(body=self._inline, content_type="application/json")

    async def openai(self, request: web.Request) -> web.Response:
        """A picture by address, as an API of OpenAI's kind answers: what LiteLLM's proxy stands in front of."""
        await request.json()
        self.request_counts["submit"] += 1
        return web.json_response({"created": 1, "data": [{"url": f"{self.base_url}/cdn/small.png"}]})

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        """Media, large ones in slices."""
        self.request_counts["cdn"] += 1
        data = self.media[request.match_info["name"]]
        if len(data) <= 2 * MEGABYTE:
            return web.Response(body=data)
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        for offset in range(0, len(data), CHUNK_SIZE):
            await response.write(data[offset : offset + CHUNK_SIZE])
        return response

    async def counts(self, request: web.Request) -> web.Response:
        """What was asked since the last time, and when each job was done by the clock that all processes share."""
        request_counts, self.request_counts = self.request_counts, Counter()
        finished_at = [started_at + seconds for started_at, seconds, _ in self.jobs.values()][self._reported_jobs :]
        self._reported_jobs += len(finished_at)
        return web.json_response({"asked": request_counts, "done": finished_at})


def create_app(port: int) -> web.Application:
    """All of it under one roof."""
    server = BenchServer(port)
    application = web.Application(client_max_size=64 * MEGABYTE)
    application.router.add_get("/api/models", server.models)
    application.router.add_get("/api/models/bench/{name}", server.model)
    for prefix in ("/router/fal-ai", "/queue"):
        application.router.add_post(f"{prefix}/bench/{{name}}", server.submit)
        application.router.add_get(f"{prefix}/bench/{{name}}/requests/{{job}}/status", server.status)
        application.router.add_get(f"{prefix}/bench/{{name}}/requests/{{job}}", server.result)
    application.router.add_post("/router/nscale/v1/images/generations", server.inline)
    application.router.add_post("/openai/v1/images/generations", server.openai)
    application.router.add_get("/cdn/{name}", server.cdn)
    application.router.add_get("/told", server.counts)
    return application


async def main() -> None:
    """Serves until it is killed; the first line on stdout is its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    runner = web.AppRunner(create_app(port), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
