"""What the tests of the store share: a real server of media on loopback, a real fetch, and a store that never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hfmedia.core.answers import Output
from hfmedia.core.errors import DownloadError, LostError, UnsentError
from hfmedia.core.ports import Body, Fetch, Kept, Place
from hfmedia.store import Store

DATE = "Sun, 22 Nov 2026 19:00:00 GMT"


class Cdn:
    """One file on a server, and what goes wrong with it: each request takes the next of ``plan``, then all is well.

    A plan's step is a status to answer, ``("cut", n)``: break off after n bytes, ``("short", n)``: end as if n bytes
    were all, ``("lie", header)``: a false Content-Range on a 206, or ``("change", data)``: the file becomes another.
    """

    def __init__(self) -> None:
        self.data = b""
        self.headers: dict[str, str] = {"ETag": '"one"', "Last-Modified": DATE}
        self.plan: list[Any] = []
        self.later: dict[str, str] = {}
        self.ranges = True
        self.believes = True
        self.chunked = False
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One answer."""
        if request.path == "/moved":
            raise web.HTTPFound("/file?signature=another")
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, int):
            return web.Response(status=step, headers=self.later, text="<html>no</html>")
        what, value = step or ("", None)
        if what == "change":
            self.data, self.headers = value, {**self.headers, "ETag": '"two"', "Last-Modified": "Mon, 23 Nov 2026 1:00"}
        start, status = self._start(request)
        if start > len(self.data) or (start == len(self.data) and status == 206):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.data)}"})
        answer = web.StreamResponse(status=status, headers=self.headers)
        if status == 206:
            told = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
            answer.headers["Content-Range"] = value if what == "lie" else told
        if self.chunked:
            answer.enable_chunked_encoding()
        else:
            answer.content_length = len(self.data) - start
        await answer.prepare(request)
        end = start + value if what in ("cut", "short") else len(self.data)
        for at in range(start, end, 16_384):
            await answer.write(self.data[at : min(end, at + 16_384)])
        if what == "cut":
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write_eof()
        return answer

    def _start(self, request: web.Request) -> tuple[int, int]:
        wanted = request.headers.get("Range")
        if not wanted or not self.ranges:
            return 0, 200
        same = request.headers.get("If-Range") in (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if self.believes and not same:
            return 0, 200
        return int(wanted.removeprefix("bytes=").removesuffix("-")), 206


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
async def cdn() -> AsyncIterator[Cdn]:
    """A server of one file."""
    served = Cdn()
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
async def fetch() -> AsyncIterator[Fetch]:
    """A fetch over real sockets, without the guards of the real transport."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=5)) as session:

        @asynccontextmanager
        async def open_url(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[Body]:
            try:
                reply = await session.get(url, headers={"Accept-Encoding": "identity", **headers})
            except aiohttp.ClientConnectorError as error:
                raise UnsentError("nobody is there") from error
            except aiohttp.ClientError as error:
                raise LostError("no answer came") from error
            async with reply:
                yield Reply(reply)

        yield open_url


class Keeping:
    """A store in a fresh folder that waits for nothing but notes how long it would have."""

    def __init__(self, folder: Path, fetch: Fetch) -> None:
        self.folder = folder
        self.waits: list[float] = []
        self.told: list[tuple[int, int | None]] = []
        self.begun = asyncio.Event()
        self.store = Store(folder, sleep=self._sleep)
        self.fetch = fetch

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def keep(self, output: Output | str | bytes, makes: str = "image", **place: Any) -> Kept:
        """Keeps an output, a URL or bytes."""
        if not isinstance(output, Output):
            output = Output(data=output) if isinstance(output, bytes) else Output(url=output)
        spot = Place(**{"folder": self.folder, "words": "A red fox", "at": 1795376765.0, "job_id": "job1", **place})
        return await self.store.keep(
            output,
            spot,
            makes=makes,  # type: ignore[arg-type]
            fetch=self.fetch,
            progress=self._progress,
        )

    def _progress(self, done: int, total: int | None) -> None:
        self.told.append((done, total))
        self.begun.set()

    def files(self) -> list[str]:
        """Every file below the folder, hidden ones too."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def keeping(tmp_path: Path, fetch: Fetch) -> Keeping:
    """A store that notes its waits."""
    return Keeping(tmp_path / "out", fetch)
