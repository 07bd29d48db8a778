"""Minimal simulated environment in its own process: a Hub, fal-ai's queue, nscale's API and a CDN.

It responds from memory as fast as possible, so that the client dominates the measurement.
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
PAGE_SIZE = 1000  # models per page, as on the Hub
MODELS = 50_000
MEGABYTE = 1_000_000
CHUNK_SIZE = 256 * 1024  # bytes per write of large media


def png_of_size(size: int) -> bytes:
    """Create a PNG of about `size` bytes: noise does not compress."""
    from PIL import Image

    side = int((size / 3) ** 0.5)
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def mp4_of_size(size: int = 0) -> bytes:
    """Create a small playable mp4, padded with a free box to at least `size` bytes."""
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
    """Return one model of the large catalog in the Hub's list format."""
    task = "text-to-video" if number % 10 == 0 else "text-to-image"
    entries = [
        {"provider": name, "providerId": f"maker/model-{number}", "status": "live", "task": task}
        for name in ("fal-ai", "replicate", "together")[: 1 + number % 3]
    ]
    return {"_id": f"{number:024x}", "id": f"maker/model-{number}", "inferenceProviderMapping": entries}


class BenchServer:
    """Request handlers, with counts of requests and the completion times of jobs."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.media = {"small.png": png_of_size(20_000), "image.png": png_of_size(MEGABYTE), "video.mp4": mp4_of_size()}
        self.jobs: dict[str, tuple[float, float, str]] = {}  # ID: start, duration, media name
        self.request_counts: Counter[str] = Counter()
        self._reported_jobs = 0  # jobs already reported by `counts`
        self._pages: list[bytes] = []
        self._inline = b""

    async def model(self, request: web.Request) -> web.Response:
        """Return one model of the Hub; its name determines the output."""
        name = request.match_info["name"]
        task = "text-to-video" if name in ("video", "film") else "text-to-image"
        entry = {"status": "live", "providerId": f"bench/{name}", "task": task}
        provider = "nscale" if name == "inline" else "fal-ai"
        return web.json_response({"_id": "1", "id": f"bench/{name}", "inferenceProviderMapping": {provider: entry}})

    async def models(self, request: web.Request) -> web.Response:
        """Return a page of the large catalog, with a link to the next one."""
        self.request_counts["catalog"] += 1
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
        """Submit to fal-ai: images are returned synchronously, videos enter the queue."""
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
        """Return the status of a job."""
        self.request_counts["poll"] += 1
        started_at, seconds, _ = self.jobs[request.match_info["job"]]
        is_done = time.monotonic() - started_at >= seconds
        content = {"status": "COMPLETED" if is_done else "IN_PROGRESS", "logs": None, "metrics": {}}
        return web.json_response(content, status=200 if is_done else 202)

    async def result(self, request: web.Request) -> web.Response:
        """Return the media URL of a job."""
        self.request_counts["result"] += 1
        name = self.jobs[request.match_info["job"]][2]
        return web.json_response({"video": {"url": f"{self.base_url}/cdn/{name}"}, "seed": 1})

    async def inline(self, request: web.Request) -> web.Response:
        """Return an inline image of 15 MB: 20 MB of base64."""
        await request.read()
        self.request_counts["submit"] += 1
        if not self._inline:
            encoded = base64.b64encode(png_of_size(15 * MEGABYTE))
            self._inline = b'{"created":1,"data":[{"b64_json":"' + encoded + b'"}]}'
        return web.Response(body=self._inline, content_type="application/json")

    async def openai(self, request: web.Request) -> web.Response:
        """Return an image URL in the OpenAI format: the upstream API of LiteLLM's proxy."""
        await request.json()
        self.request_counts["submit"] += 1
        return web.json_response({"created": 1, "data": [{"url": f"{self.base_url}/cdn/small.png"}]})

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        """Serve media, large files in chunks."""
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
        """Return request counts since the last call and, on the shared monotonic clock, when each new job completed."""
        request_counts, self.request_counts = self.request_counts, Counter()
        finished_at = [started_at + seconds for started_at, seconds, _ in self.jobs.values()][self._reported_jobs :]
        self._reported_jobs += len(finished_at)
        return web.json_response({"request_counts": request_counts, "finished_at": finished_at})


def create_app(port: int) -> web.Application:
    """Create the application with all routes."""
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
    application.router.add_get("/counts", server.counts)
    return application


async def main() -> None:
    """Serve until killed; the first line on stdout is the port."""
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
