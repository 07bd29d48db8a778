"""Fixtures of the storage tests: a media server on loopback, a fetch over real sockets, a storage that never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hfmedia.core.errors import DownloadError, RequestNotSentError, ResponseLostError
from hfmedia.core.ports import MediaFetcher, OutputTarget, ResponseStream, StoredFile
from hfmedia.core.protocol import Output
from hfmedia.storage import FileStorage

DATE = "Sun, 22 Nov 2026 19:00:00 GMT"


class FakeCdn:
    """One file on a server, and what goes wrong with it: each request takes the next of ``plan``, then all is well.

    A plan's step is a status to answer, ``("cut", n)``: break off after n bytes, ``("short", n)``: end as if n bytes
    were all, ``("lie", header)``: a false Content-Range on a 206, or ``("change", data)``: the file becomes another.
    """

    def __init__(self) -> None:
        self.data = b""
        self.headers: dict[str, str] = {"ETag": '"one"', "Last-Modified": DATE}
        self.plan: list[Any] = []
        self.error_headers: dict[str, str] = {}
        self.ranges = True
        self.validates_if_range = True
        self.chunked = False
        self.requests: list[dict[str, str]] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One answer."""
        if request.path == "/moved":
            raise web.HTTPFound("/file?signature=another")
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, int):
            return web.Response(status=step, headers=self.error_headers, text="<html>no</html>")
        what: str = step[0] if step else ""
        value: Any = step[1] if step else None
        if what == "change":
            self.data, self.headers = value, {**self.headers, "ETag": '"two"', "Last-Modified": "Mon, 23 Nov 2026 1:00"}
        start, status = self._start(request)
        if start > len(self.data) or (start == len(self.data) and status == 206):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.data)}"})
        response = web.StreamResponse(status=status, headers=self.headers)
        if status == 206:
            content_range = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
            response.headers["Content-Range"] = value if what == "lie" else content_range
        if self.chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(self.data) - start
        await response.prepare(request)
        end = start + value if what in ("cut", "short") else len(self.data)
        for at in range(start, end, 16_384):
            await response.write(self.data[at : min(end, at + 16_384)])
        if what == "cut":
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write_eof()
        return response

    def _start(self, request: web.Request) -> tuple[int, int]:
        range_header = request.headers.get("Range")
        if not range_header or not self.ranges:
            return 0, 200
        same = request.headers.get("If-Range") in (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if self.validates_if_range and not same:
            return 0, 200
        return int(range_header.removeprefix("bytes=").removesuffix("-")), 206


class Reply:
    """A reply of aiohttp as core.ports.Body."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in reply.headers.items()}
        self.url = str(reply.url)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body."""
        try:
            async for chunk in self._reply.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            raise DownloadError(f"it broke off ({type(error).__name__})") from error


@pytest.fixture
async def cdn() -> AsyncIterator[FakeCdn]:
    """A server of one file."""
    served = FakeCdn()
    app = web.Application()
    app.router.add_get("/{name:.*}", served.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    served.url = f"http://127.0.0.1:{port}/file.bin?X-Amz-Signature=secret"
    yield served
    await runner.cleanup()


@pytest.fixture
async def fetch() -> AsyncIterator[MediaFetcher]:
    """A fetch over real sockets, without the guards of the real transport."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=5)) as session:

        @asynccontextmanager
        async def open_url(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ResponseStream]:
            try:
                reply = await session.get(url, headers={"Accept-Encoding": "identity", **headers})
            except aiohttp.ClientConnectorError as error:
                raise RequestNotSentError("connection refused") from error
            except aiohttp.ClientError as error:
                raise ResponseLostError("no answer came") from error
            async with reply:
                yield Reply(reply)

        yield open_url


class StorageHarness:
    """A store in a fresh folder that waits for nothing but notes how long it would have."""

    def __init__(self, folder: Path, fetch: MediaFetcher) -> None:
        self.folder = folder
        self.waits: list[float] = []
        self.progress: list[tuple[int, int | None]] = []
        self.started = asyncio.Event()
        self.store = FileStorage(folder, sleep=self._sleep)
        self.fetch = fetch

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def keep(self, output: Output | str | bytes, makes: str = "image", **place: Any) -> StoredFile:
        """Keeps an output, a URL or bytes."""
        if not isinstance(output, Output):
            output = Output(data=output) if isinstance(output, bytes) else Output(url=output)
        spot = OutputTarget(
            **{"folder": self.folder, "name_hint": "A red fox", "created_at": 1795376765.0, "job_id": "job1", **place}
        )
        return await self.store.save(
            output,
            spot,
            output_kind=makes,  # type: ignore[arg-type]
            fetch=self.fetch,
            progress=self._progress,
        )

    def _progress(self, done: int, total: int | None) -> None:
        self.progress.append((done, total))
        self.started.set()

    def files(self) -> list[str]:
        """Every file below the folder, hidden ones too."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def keeping(tmp_path: Path, fetch: MediaFetcher) -> StorageHarness:
    """A store that notes its waits."""
    return StorageHarness(tmp_path / "out", fetch)
