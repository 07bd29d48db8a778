"""The store behind the real fetch: what the transport refuses or breaks off ends as the store promises."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from hfmedia.core.errors import DownloadError, ResultExpiredError, StorageError, UnsafeUrlError
from hfmedia.storage import FileStorage
from hfmedia.transport import Transport, TransportLimits

from .conftest import FakeCdn, StorageHarness
from .samples import noise, sample

DATA = noise(900_000)


@pytest.fixture
async def keeping(cdn: FakeCdn, tmp_path: Path) -> AsyncIterator[StorageHarness]:
    """A store that fetches as hfmedia does, and may fetch from the test's own server."""
    limits = TransportLimits(download_idle=1.0, max_media_bytes=4_000_000)
    async with Transport(environ={}, trusted_hosts=[urlsplit(cdn.url).netloc], limits=limits) as transport:
        yield StorageHarness(tmp_path / "out", transport.fetch)


@pytest.mark.parametrize("cuts", [[], [300_000], [1, 100_000, 400_000], [0, 0]])
async def test_a_download_arrives_whole_however_often_it_is_cut(
    cdn: FakeCdn, keeping: StorageHarness, cuts: list[int]
) -> None:
    """Bytes, digest and tries agree, and no byte is asked for twice."""
    cdn.data, cdn.plan = DATA, [("cut", cut) for cut in cuts]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert (kept.sha256, kept.bytes) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert kept.attempts == 1 + len(cuts)
    assert "secret" not in (kept.source or "")
    assert not any("authorization" in asked or "cookie" in asked for asked in cdn.requests)
    ranges = [asked["range"] for asked in cdn.requests if "range" in asked]
    assert ranges == [f"bytes={sum(cuts[:number])}-" for number in range(1, len(cuts) + 1) if sum(cuts[:number])]


async def test_a_file_that_changed_in_the_middle_is_the_new_one(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """Not half of each."""
    other = noise(700_000)
    cdn.data, cdn.plan = DATA, [("cut", 300_000), ("change", other)]
    assert (await keeping.keep(cdn.url)).path.read_bytes() == other


@pytest.mark.parametrize(
    ("plan", "error", "tries"),
    [
        ([404], ResultExpiredError, 1),
        ([("cut", 9_000), 403], ResultExpiredError, 2),
        ([418], DownloadError, 1),
        ([("cut", 0)] * 99, DownloadError, 6),
    ],
)
async def test_what_does_not_arrive_is_an_error_and_leaves_nothing(
    cdn: FakeCdn, keeping: StorageHarness, plan: list[object], error: type[Exception], tries: int
) -> None:
    """Reported by its class; without the signature, without a file."""
    cdn.data, cdn.plan = DATA, plan
    with pytest.raises(error) as caught:
        await keeping.keep(cdn.url)
    assert "secret" not in str(caught.value)
    assert len(cdn.requests) == tries
    assert keeping.files() == []


async def test_a_busy_server_is_asked_again_when_it_says(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """Retry-After passes through the transport."""
    cdn.data, cdn.plan, cdn.error_headers = DATA, [429, 503], {"Retry-After": "7"}
    assert (await keeping.keep(cdn.url)).attempts == 3
    assert keeping.waits == [7.0, 7.0]


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "endless"])
async def test_the_transports_own_limit_ends_a_download_at_once(
    cdn: FakeCdn, keeping: StorageHarness, chunked: bool
) -> None:
    """A body beyond it would be no smaller the next time."""
    cdn.data, cdn.chunked = bytes(6_000_000), chunked
    with pytest.raises(DownloadError):
        await keeping.keep(cdn.url)
    assert len(cdn.requests) == 1
    assert keeping.files() == []


async def test_the_stores_limit_is_kept_as_well(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """Whichever is the smaller."""
    cdn.data, cdn.chunked = bytes(3_000_000), True
    keeping.store = FileStorage(keeping.folder, max_bytes=1_000_000)
    with pytest.raises(DownloadError, match="limit of 1,000,000"):
        await keeping.keep(cdn.url)
    assert keeping.files() == []


@pytest.mark.parametrize("path", ["", "latest/meta-data/"])
async def test_a_private_address_is_not_asked(cdn: FakeCdn, keeping: StorageHarness, path: str) -> None:
    """Neither another port of this machine nor the metadata service; no try, no file."""
    url = f"http://169.254.169.254/{path}" if path else "http://127.0.0.1:9/x.png"
    with pytest.raises(UnsafeUrlError):
        await keeping.keep(url)
    assert (keeping.waits, keeping.files()) == ([], [])


class Awkward:
    """A server of answers that aiohttp's own helpers would not let one write: raw bytes on a socket."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.stalls = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer for each connection; the last one again and again."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            if self.stalls:
                await asyncio.sleep(5)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@pytest.fixture
async def awkward(cdn: FakeCdn) -> AsyncIterator[Awkward]:
    """It stands where the server of one file would."""
    made = Awkward()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/file.png"
    yield made
    server.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer as it goes over the wire."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]).encode() + body


PNG = sample("png")
LYING: dict[str, tuple[list[bytes], str]] = {
    "longer than it is": ([answer(PNG, f"Content-Length: {len(PNG) + 100}")], "is incomplete after"),
    "shorter than it is": ([answer(PNG, f"Content-Length: {len(PNG) - 20}")], "is incomplete after"),
    "without a length and cut": ([answer(PNG[:-12])], "PNG image, but broken"),
    "nothing": ([answer(b"", "Content-Length: 0")], "is empty"),
    "chunks that break off": (
        [answer(b"40\r\n" + PNG[:64] + b"\r\n", "Transfer-Encoding: chunked")],
        "is incomplete after",
    ),
    "chunks that are none": ([answer(b"zz\r\n" + PNG, "Transfer-Encoding: chunked")], "is incomplete after"),
    "no HTTP at all": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "is incomplete after"),
    "compressed, unasked": (
        [answer(PNG, "Content-Encoding: gzip", f"Content-Length: {len(PNG)}")],
        "corrupt compressed body",
    ),
}


@pytest.mark.parametrize("lie", LYING)
async def test_a_body_that_is_not_what_its_head_says_is_no_picture(awkward: Awkward, tmp_path: Path, lie: str) -> None:
    """DownloadError in a bounded number of tries; never a file, never another error."""
    awkward.answers, words = LYING[lie]
    async with Transport(environ={}, trusted_hosts=[urlsplit(awkward.url).netloc]) as transport:
        keeping = StorageHarness(tmp_path / "out", transport.fetch)
        with pytest.raises(DownloadError, match=words):
            await keeping.keep(awkward.url)
    assert keeping.files() == []


async def test_a_server_that_falls_silent_is_given_up_and_asked_again(awkward: Awkward, tmp_path: Path) -> None:
    """The transport's bound on silence ends the try; the next one goes on."""
    etag = 'ETag: "one"'
    first = answer(PNG[:100], f"Content-Length: {len(PNG)}", etag)
    content_range = f"Content-Range: bytes 100-{len(PNG) - 1}/{len(PNG)}"
    rest = answer(PNG[100:], f"Content-Length: {len(PNG) - 100}", etag, content_range, status="206 Partial Content")
    awkward.answers, awkward.stalls = [first, rest], True
    limits = TransportLimits(download_idle=1.0)
    async with Transport(environ={}, trusted_hosts=[urlsplit(awkward.url).netloc], limits=limits) as transport:
        keeping = StorageHarness(tmp_path / "out", transport.fetch)
        kept = await keeping.keep(awkward.url)
    assert (kept.path.read_bytes(), kept.attempts) == (PNG, 2)


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from hfmedia.core.protocol import Output
    from hfmedia.core.ports import OutputTarget
    from hfmedia.storage import FileStorage
    from hfmedia.transport import Transport
    folder, url, host = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    async def main():
        place = OutputTarget(folder=folder, file=folder / "fox.png", job_id="job1")
        async with Transport(environ={}, trusted_hosts=[host]) as transport:
            await FileStorage(folder).save(Output(url=url), place, output_kind="image", fetch=transport.fetch,
                                     progress=lambda done, total: print(done, flush=True))
    asyncio.run(main())
"""


@pytest.mark.parametrize("pieces", [1, 6])
async def test_kill_minus_nine_in_the_middle_of_a_slow_download_leaves_no_file(
    tmp_path: Path, cdn: FakeCdn, keeping: StorageHarness, pieces: int
) -> None:
    """A real process, a real socket; afterwards the same job takes the name and clears the half away."""
    go = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        reply.content_length = len(DATA)
        await reply.prepare(request)
        for number in range(pieces):
            await reply.write(DATA[number * 50_000 : (number + 1) * 50_000])
        await go.wait()
        return reply

    runner = web.AppRunner(_app(trickle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(keeping.folder), f"http://{host}/slow", host]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    done = 0
    while done < pieces * 50_000:
        done = int(await child.stdout.readline())
    child.kill()
    await child.wait()
    go.set()
    await runner.cleanup()
    assert keeping.files() == [".fox.job1.part"]
    cdn.data = DATA
    await keeping.keep(cdn.url, file=keeping.folder / "fox.png")
    assert keeping.files() == ["fox.png"]


def _app(handler: object) -> web.Application:
    app = web.Application()
    app.router.add_get("/slow", handler)  # type: ignore[arg-type]
    return app


READ_ONLY = """
    import asyncio, sys
    from pathlib import Path
    from hfmedia.core.protocol import Output
    from hfmedia.core.errors import StorageError
    from hfmedia.core.ports import OutputTarget
    from hfmedia.storage import FileStorage, check_writable
    folder, data = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    place = OutputTarget(folder=folder, name_hint="fox")
    for work in (lambda: check_writable(place), lambda: asyncio.run(FileStorage(folder).save(
        Output(data=data), place, output_kind="image", fetch=None, progress=lambda done, total: None))):
        try:
            work()
        except StorageError as error:
            print(error)
"""


async def test_a_read_only_disk_is_an_error_before_and_after(tmp_path: Path) -> None:
    """A real one, where the system lets us mount it: also for root, whom permissions do not stop."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "source").write_bytes(PNG)
    mount = 'mount -t tmpfs -o ro,size=256k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    names = [str(tmp_path / "disk"), sys.executable, textwrap.dedent(READ_ONLY), str(tmp_path / "source")]
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *names]
    try:
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    out, err = await child.communicate()
    if child.returncode in (1, 77) and not out:
        pytest.skip(f"no disk can be mounted here: {err.decode().strip()[:100]}")
    before, after = out.decode().splitlines()
    assert "cannot be written" in before
    assert "nothing was sent" in before
    assert "read-only; choose another location" in after


async def test_fifty_megabytes_go_through_a_real_socket_without_being_held(tmp_path: Path) -> None:
    """The process grows by far less than the file (a gross bound; resident memory, in a process of its own)."""
    script = """
        import asyncio, resource, sys
        from pathlib import Path
        from hfmedia.core.protocol import Output
        from hfmedia.core.ports import OutputTarget
        from hfmedia.storage import FileStorage
        from hfmedia.transport import Transport
        folder, host = Path(sys.argv[1]), sys.argv[2]
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        async def keep(fetch, name):
            target = OutputTarget(folder=folder, name_hint=name)
            return await FileStorage(folder).save(Output(url=f"http://{host}/{name}"), target,
                                            output_kind="image", fetch=fetch, progress=lambda done, total: None)
        async def main():
            async with Transport(environ={}, trusted_hosts=[host]) as transport:
                await keep(transport.fetch, "small")
                before = peak()
                kept = await keep(transport.fetch, "large")
                print(kept.bytes, peak() - before)
        asyncio.run(main())
    """
    large = noise(50_000_000)

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=large if request.path == "/large" else DATA)

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), host]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env={**os.environ})
    out, _ = await child.communicate()
    await runner.cleanup()
    size, grown = map(int, out.split())
    assert size == len(large) > 45_000_000
    assert grown < 20_000_000


async def test_facts_that_no_disk_takes_are_a_store_error_and_the_file_stays(keeping: StorageHarness) -> None:
    """The sidecar is whole or absent; the medium that was paid for is not touched by its absence."""
    kept = await keeping.keep(PNG, file=keeping.folder / "fox.png")
    (keeping.folder / "fox.png.json").mkdir()
    (keeping.folder / "fox.png.hfmedia.json").mkdir()
    with pytest.raises(StorageError):
        await keeping.store.write_sidecar(kept, {"job_id": "a", "sha256": kept.sha256})
    assert keeping.files() == ["fox.png"]
    assert kept.path.read_bytes() == PNG
