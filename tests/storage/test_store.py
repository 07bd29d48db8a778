"""Files: whole or absent at any moment, never over another one, whatever ends the work."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hfmedia.core.errors import DownloadError, StorageError
from hfmedia.core.ports import MediaStorage
from hfmedia.storage import FileStorage

from .conftest import FakeCdn, StorageHarness
from .samples import noise, sample
from .test_download import fake

PNG, JPEG, MP4 = sample("png"), sample("jpeg"), sample("mp4")
STAMP = datetime.fromtimestamp(1795376765).strftime("%Y%m%d-%H%M%S")


def test_a_store_is_what_the_engine_asks_for(tmp_path: Path) -> None:
    """The type checker verifies the protocol; the repr has the folder."""
    store: MediaStorage = FileStorage(tmp_path)
    assert store.folder == tmp_path  # type: ignore[attr-defined]
    assert repr(store) == f"FileStorage({str(tmp_path)!r})"


@pytest.mark.parametrize(
    ("data", "makes", "name"),
    [
        (PNG, "image", f"{STAMP}-a-red-fox.png"),
        (JPEG, "image", f"{STAMP}-a-red-fox.jpg"),
        (sample("webp"), "image", f"{STAMP}-a-red-fox.webp"),
        (MP4, "video", f"{STAMP}-a-red-fox.mp4"),
        (sample("webm"), "video", f"{STAMP}-a-red-fox.webm"),
        (sample("gif-moving"), "video", f"{STAMP}-a-red-fox.gif"),
    ],
)
async def test_a_made_name_tells_time_prompt_and_the_kind_of_the_bytes(
    keeping: StorageHarness, data: bytes, makes: str, name: str
) -> None:
    """The suffix comes from the bytes, and nothing else lies there afterwards."""
    kept = await keeping.keep(data, makes)
    assert (kept.path.name, kept.path.read_bytes(), kept.source) == (name, data, None)
    assert keeping.files() == [name]


async def test_a_chosen_name_is_kept_as_it_is(keeping: StorageHarness, tmp_path: Path) -> None:
    """Even where the suffix says something else than the bytes: the user chose it, and the mime tells."""
    kept = await keeping.keep(JPEG, file=tmp_path / "new" / "sub" / "fox.png")
    assert kept.path == tmp_path / "new" / "sub" / "fox.png"
    assert (kept.mime, kept.path.read_bytes()) == ("image/jpeg", JPEG)


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "made"])
async def test_another_file_is_never_overwritten(keeping: StorageHarness, tmp_path: Path, chosen: bool) -> None:
    """The next free name is taken, and the path tells which."""
    where: dict[str, Any] = {"file": tmp_path / "fox.png"} if chosen else {}
    names = [(await keeping.keep(data, **where)).path for data in (PNG, JPEG, PNG)]
    stem = "fox" if chosen else f"{STAMP}-a-red-fox"
    suffixes = [".png"] * 3 if chosen else [".png", ".jpg", "-2.png"]
    expected = [f"{stem}.png", f"{stem}-2.png", f"{stem}-3.png"] if chosen else [f"{stem}{end}" for end in suffixes]
    assert [path.name for path in names] == expected
    assert [path.read_bytes() for path in names] == [PNG, JPEG, PNG]


async def test_a_link_is_not_written_through(keeping: StorageHarness, tmp_path: Path) -> None:
    """A dangling link takes the name as a file does; what it points to is not touched."""
    (tmp_path / "fox.png").symlink_to(tmp_path / "elsewhere.png")
    assert (await keeping.keep(PNG, file=tmp_path / "fox.png")).path.name == "fox-2.png"
    assert not (tmp_path / "elsewhere.png").exists()


@pytest.mark.parametrize("jobs", [1, 50], ids=["of one job", "of fifty jobs"])
async def test_fifty_at_once_of_the_same_name_are_fifty_files(
    keeping: StorageHarness, tmp_path: Path, jobs: int
) -> None:
    """However close together they come, each keeps its own bytes."""
    pictures = [noise(3_000 + 400 * number) for number in range(50)]
    kept = await asyncio.gather(
        *(
            keeping.keep(data, file=keeping.folder / "fox.png", job_id=f"job{number % jobs}")
            for number, data in enumerate(pictures)
        )
    )
    assert len({one.path for one in kept}) == 50
    assert [one.path.read_bytes() for one in kept] == pictures
    assert len(keeping.files()) == 50


@pytest.mark.parametrize("jobs", [1, 3])
async def test_processes_do_not_overwrite_each_other(tmp_path: Path, jobs: int) -> None:
    """The same race between processes: a name belongs to the first."""
    script = """
        import asyncio, sys
        from pathlib import Path
        from hfmedia.core.protocol import Output
        from hfmedia.core.ports import OutputTarget
        from hfmedia.storage import FileStorage
        folder, data, job = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3]
        async def main():
            for _ in range(10):
                target = OutputTarget(folder=folder, file=folder / "fox.png", job_id=job)
                await FileStorage(folder).save(Output(data=data), target,
                                         output_kind="image", fetch=None, progress=lambda done, total: None)
        asyncio.run(main())
    """
    (tmp_path / "source").write_bytes(PNG)
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "out"), str(tmp_path / "source")]
    running = [await asyncio.create_subprocess_exec(*command, f"job{number % jobs}") for number in range(3)]
    assert [await process.wait() for process in running] == [0, 0, 0]
    made = list((tmp_path / "out").iterdir())
    assert len(made) == 30
    assert all(path.read_bytes() == PNG for path in made)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
async def test_a_disk_without_links_keeps_the_same_promise(
    keeping: StorageHarness, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """On FAT and some shares the name is reserved first; still nothing is overwritten, and nothing is left over."""

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    kept = await asyncio.gather(*(keeping.keep(PNG, file=keeping.folder / "fox.png") for _ in range(8)))
    assert len({one.path for one in kept}) == 8
    assert sorted(keeping.files()) == sorted(one.path.name for one in kept)


# -- whatever ends the work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", PNG[:-1], b"<html>sorry</html>", MP4], ids=["empty", "cut", "a page", "a video instead"]
)
async def test_what_is_no_whole_image_leaves_nothing(keeping: StorageHarness, data: bytes) -> None:
    """An error is an error, not a picture; the folder is as it was."""
    with pytest.raises(DownloadError):
        await keeping.keep(data)
    assert keeping.files() == []


async def test_until_it_is_whole_there_is_no_file_of_that_name(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """While bytes arrive there is a hidden file that names its job; nothing else."""
    cdn.data = noise(400_000)
    seen: list[list[str]] = []
    keeping.progress = Watching(lambda: seen.append(keeping.files()))  # type: ignore[assignment]
    await keeping.keep(cdn.url, file=keeping.folder / "fox.png")
    assert seen
    assert {tuple(files) for files in seen} == {(".fox.job1.part",)}
    assert keeping.files() == ["fox.png"]


class Watching(list[Any]):
    """A list that calls a function whenever it grows."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self._call = call

    def append(self, item: Any) -> None:
        super().append(item)
        self._call()


@pytest.mark.parametrize("after", [0.0, 0.001, 0.004, 0.01, 0.03])
@pytest.mark.parametrize("kind", ["inline", "stalled", "large pieces"])
async def test_cancelling_leaves_nothing(keeping: StorageHarness, after: float, kind: str) -> None:
    """At whatever moment a keep is cancelled, either it had ended or no trace of it is left."""
    data = noise(3_000_000)

    async def stalled(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        yield data[:100_000]
        await asyncio.sleep(60)

    async def large(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        for at in range(0, len(data), 1_000_000):
            yield data[at : at + 1_000_000]

    keeping.fetch = fake(stalled if kind == "stalled" else large)
    task = asyncio.create_task(keeping.keep(data if kind == "inline" else "https://cdn.example/a"))
    await asyncio.sleep(after)
    task.cancel()
    task.cancel()
    try:
        kept = await task
    except asyncio.CancelledError:
        assert keeping.files() == []
    else:
        assert keeping.files() == [kept.path.name]


def test_a_loop_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """asyncio.run, interrupted, cancels what runs; the temporary file goes with it."""

    async def forever(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        yield PNG[:100]
        await asyncio.sleep(60)

    async def main() -> None:
        keeping = StorageHarness(tmp_path / "out", fake(forever))
        task = asyncio.create_task(keeping.keep("https://cdn.example/a"))
        await keeping.started.wait()
        assert len(keeping.files()) == 1
        assert not task.done()

    asyncio.run(main())
    assert list((tmp_path / "out").iterdir()) == []


KILLED = """
    import asyncio, sys
    from contextlib import asynccontextmanager
    from pathlib import Path
    from hfmedia.core.protocol import Output
    from hfmedia.core.ports import OutputTarget
    from hfmedia.storage import FileStorage
    folder, data = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    class Reply:
        status, headers, url = 200, {}, ""
        async def chunks(self):
            for at in range(0, len(data), 4096):
                yield data[at : at + 4096]
                if at > len(data) // 2:
                    print("half", flush=True)
                    await asyncio.sleep(60)
    @asynccontextmanager
    async def fetch(url, *, headers):
        yield Reply()
    place = OutputTarget(folder=folder, file=folder / "fox.png", job_id="job1")
    asyncio.run(FileStorage(folder).save(Output(url="https://cdn.example/a"), place, output_kind="image", fetch=fetch,
                                   progress=lambda done, total: None))
"""


async def test_kill_minus_nine_leaves_no_file_under_its_name(keeping: StorageHarness, tmp_path: Path) -> None:
    """What a killed process leaves is hidden; the same job, carried on, clears it away and takes the name."""
    data = noise(500_000)
    (tmp_path / "source").write_bytes(data)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(keeping.folder), str(tmp_path / "source")]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert (await child.stdout.readline()).strip() == b"half"
    child.send_signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert keeping.files() == [".fox.job1.part"]
    kept = await keeping.keep(data, file=keeping.folder / "fox.png")
    assert kept.path.name == "fox.png"
    assert keeping.files() == ["fox.png"]


async def test_what_is_still_being_written_is_not_cleared_away(keeping: StorageHarness) -> None:
    """A second task of the same job and name sees that the first is alive, and takes another temporary name."""
    go = asyncio.Event()

    async def held(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        yield PNG[:50]
        await go.wait()
        yield PNG[50:]

    keeping.fetch = fake(held)
    first = asyncio.create_task(keeping.keep("https://cdn.example/a", file=keeping.folder / "fox.png"))
    await keeping.started.wait()
    second = await keeping.keep(PNG, file=keeping.folder / "fox.png")
    go.set()
    assert second.path.name == "fox.png"
    assert (await first).path.name == "fox-2.png"
    assert (await first).path.read_bytes() == PNG


# -- a disk that refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda home: {"file": home}, "is a directory"),
        (lambda home: {"file": home / "taken" / "fox.png"}, "not a directory"),
        (lambda home: {"folder": home / "taken"}, "not a directory"),
        (lambda home: {"file": home / ("x" * 300 + ".png")}, "too long"),
        (lambda home: {"file": home / ("x" * 248 + ".png")}, "too long"),
        (lambda home: {"file": home / "a\0b.png"}, "null"),
        (lambda home: {"folder": Path("/proc/nowhere")}, "cannot write"),
    ],
)
async def test_an_unusable_target_is_an_error_before_the_download(
    cdn: FakeCdn, keeping: StorageHarness, tmp_path: Path, place: Any, said: str
) -> None:
    """One clear sentence, and not a byte was fetched."""
    (tmp_path / "taken").write_text("a file")
    cdn.data = PNG
    with pytest.raises(StorageError, match=said):
        await keeping.keep(cdn.url, **place(tmp_path))
    assert cdn.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_an_unwritable_folder_is_an_error(keeping: StorageHarness, tmp_path: Path) -> None:
    """Permission is a matter of the place; the sentence says so."""
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission denied"):
        await keeping.keep(PNG, folder=tmp_path / "locked")


@pytest.mark.parametrize("kind", ["inline", "by URL"])
async def test_a_file_that_grows_too_large_for_its_disk_leaves_nothing(
    cdn: FakeCdn, keeping: StorageHarness, kind: str
) -> None:
    """The system's own limit on a file stands for a disk that ends: StoreError, and the half file is gone."""
    cdn.data = noise(600_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(StorageError, match="larger than the disk or your limits allow"):
            await keeping.keep(cdn.data if kind == "inline" else cdn.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert keeping.files() == []


async def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A real disk of 256 KiB, where the system lets us mount one; and one sentence about it."""
    script = """
        import asyncio, sys
        from pathlib import Path
        from hfmedia.core.protocol import Output
        from hfmedia.core.errors import StorageError
        from hfmedia.core.ports import OutputTarget
        from hfmedia.storage import FileStorage
        folder = Path(sys.argv[1])
        output, place = Output(data=Path(sys.argv[2]).read_bytes()), OutputTarget(folder=folder, name_hint="fox")
        try:
            asyncio.run(FileStorage(folder).save(output, place, output_kind="image", fetch=None,
                                                 progress=lambda done, total: None))
        except StorageError as error:
            print(error, list(folder.iterdir()))
    """
    (tmp_path / "source").write_bytes(noise(600_000))
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=256k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    names = [str(tmp_path / "disk"), sys.executable, textwrap.dedent(script), str(tmp_path / "source")]
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *names]
    try:
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    out, err = await child.communicate()
    if child.returncode in (1, 77) and not out:
        pytest.skip(f"no disk can be mounted here: {err.decode().strip()[:100]}")
    assert b"the disk is full" in out
    assert out.strip().endswith(b"[]")


# -- how it behaves meanwhile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["inline", "data URI"])
async def test_the_loop_goes_on_while_20_mb_are_kept(keeping: StorageHarness, kind: str) -> None:
    """Decoding, hashing, writing and syncing run in threads and do not block the loop (a gross bound)."""
    from base64 import b64encode

    data = noise(20_000_000)
    output = data if kind == "inline" else "data:image/png;base64," + b64encode(data).decode()
    longest, beats = 0.0, 0
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        nonlocal longest, beats
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            longest, beats = max(longest, loop.time() - before), beats + 1

    heart = asyncio.create_task(beat())
    kept = await keeping.keep(output)
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart
    assert kept.bytes == len(data)
    assert beats > 3
    assert longest < 0.25


async def test_a_download_holds_one_piece_at_a_time(keeping: StorageHarness) -> None:
    """40 MB go through without being held: the peak stays near the size of a piece."""
    import tracemalloc

    whole = io.BytesIO(noise(40_000_000))
    size = whole.getbuffer().nbytes

    async def pieces(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        while chunk := whole.read(65_536):
            yield chunk

    keeping.fetch = fake(pieces)
    tracemalloc.start()
    try:
        kept = await keeping.keep("https://cdn.example/a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept.bytes == size
    assert peak < 3_000_000
