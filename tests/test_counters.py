"""The cost of a job, counted and not timed: requests, commits, visits to a thread, bytes written, modules imported.

A number that grows here is a decision, not an accident: change it in the commit that needs it, and say why there.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfmedia.client import MediaClient
from hfmedia.ledger import SqliteLedger, reader
from hfmedia.sandbox import Sandbox
from hfmedia.storage.atomic_file import AtomicFile

IMAGE, FILM = "black-forest-labs/FLUX.1-schnell", "Wan-AI/Wan2.2-T2V-A14B"
SMALL: dict[str, Any] = {"width": 256, "height": 256}
HEAVY = ("PIL", "av", "aiohttp_socks", "fastapi", "puremagic", "pydantic", "rich", "typer", "uvicorn")

COSTS = [
    # provider, task, commits, visits to a thread, requests other than polls
    ("fal-ai", "text-to-image", 4, 1, {"submit": 1, "cdn": 1}),  # created, routed and sending, made, stored
    ("nscale", "text-to-image", 4, 1, {"submit": 1}),  # the image is part of the response
    ("wavespeed", "text-to-image", 5, 1, {"submit": 1, "cdn": 1}),  # and accepted
    ("fal-ai", "text-to-video", 6, 1, {"submit": 1, "result": 1, "cdn": 1}),  # and accepted again, for its result
]


def module_names(func: Any) -> str:
    """The modules of a function that runs in a thread, and of what it calls."""
    wrapped = (getattr(func, "func", None), *getattr(func, "args", ()))
    return " ".join(str(getattr(item, "__module__", "")) for item in (func, *wrapped))


class Counts:
    """Everything counted while one job runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = self.visits = self.reads = self.written = 0
        loop = asyncio.get_running_loop()
        run_in_executor, run_batch, write = loop.run_in_executor, reader.LedgerReader.run_batch, AtomicFile.write

        def count_visit(executor: Any, func: Callable[..., Any], *args: Any) -> Any:
            self.visits += "hfmedia.sandbox" not in module_names(func)  # the sandbox runs in the same loop here
            return run_in_executor(executor, func, *args)

        def count_reads(ledger_reader: reader.LedgerReader, items: Any) -> Any:
            self.reads += len(items)
            return run_batch(ledger_reader, items)

        def count_bytes(file: AtomicFile, data: Any) -> None:
            self.written += len(data)
            write(file, data)

        monkeypatch.setattr(loop, "run_in_executor", count_visit)
        monkeypatch.setattr(reader.LedgerReader, "run_batch", count_reads)
        monkeypatch.setattr(AtomicFile, "write", count_bytes)

    def committed(self, items: int) -> None:
        """Count one more wait for the disk, whatever it made durable."""
        self.commits += 1

    def clear(self) -> None:
        """Start counting from zero."""
        self.commits = self.visits = self.reads = self.written = 0


@pytest.mark.parametrize(("provider", "task", "commits", "visits", "requests"), COSTS)
async def test_a_job_costs_what_is_written_here(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    provider: str, task: str, commits: int, visits: int, requests: dict[str, int],
) -> None:  # fmt: skip
    """The second job of its kind, when everything is cached; each byte of it is written once."""
    counts = Counts(monkeypatch)
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3", on_commit=counts.committed)
    async with MediaClient(environ=environ, ledger=ledger, store=tmp_path / "out") as client:
        video = task == "text-to-video"
        generate, size = (client.text_to_video, {"seconds": 1}) if video else (client.text_to_image, SMALL)
        model = f"{FILM if video else IMAGE}:{provider}"
        await generate("a fox", model=model, **size)
        counts.clear()
        before = len(world.requests)
        media = await generate("a red fox", model=model, **size)
        requested = Counter(request.kind for request in world.requests[before:])
        sidecar_bytes = media.path.with_name(media.path.name + ".json").stat().st_size
    polls = requested.pop("poll", 0)
    assert requested == requests
    assert polls <= 8
    assert (counts.commits, counts.visits, counts.reads) == (commits, visits, 0)
    assert counts.written == media.bytes + sidecar_bytes


async def test_a_file_of_megabytes_is_written_in_as_many_pieces_as_it_needs(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A larger one is streamed: a visit to a thread for each quarter of a MiB at most, and no byte twice."""
    counts = Counts(monkeypatch)
    async with MediaClient(environ=environ, store=tmp_path / "out") as client:
        await client.text_to_image("a fox", model=f"{IMAGE}:fal-ai", **SMALL)
        counts.clear()
        media = await client.text_to_image("a red fox", model=f"{IMAGE}:fal-ai", width=2048, height=2048)
        sidecar_bytes = media.path.with_name(media.path.name + ".json").stat().st_size
    assert media.bytes > 256 * 1024
    assert counts.written == media.bytes + sidecar_bytes
    assert counts.visits <= 1 + media.bytes / (256 * 1024) + 1


async def test_a_hundred_jobs_side_by_side_share_their_commits(
    world: Sandbox, environ: dict[str, str], tmp_path: Path
) -> None:
    """One wait for the disk makes many entries durable."""
    commits: list[int] = []
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3", on_commit=commits.append)
    async with MediaClient(environ=environ, ledger=ledger) as client:
        await asyncio.gather(
            *(client.text_to_image(f"fox {number}", model=f"{IMAGE}:fal-ai", **SMALL) for number in range(100))
        )
    assert sum(commits) >= 400
    assert len(commits) <= 300


@pytest.mark.parametrize(
    ("code", "most"), [("import hfmedia", 5), ("import hfmedia; hfmedia.MediaClient", 420)]
)  # fmt: skip
def test_what_is_imported_stays_light(code: str, most: int) -> None:
    """Modules beyond those of the bare interpreter, and none of the heavy ones before it is needed."""
    program = f"import sys; bare = set(sys.modules); {code}; print(*(set(sys.modules) - bare))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert len(names) <= most
    assert not {name.partition(".")[0] for name in names} & set(HEAVY)
