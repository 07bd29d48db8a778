"""The town: a simulated world in a thread of its own, the forge, and a home with one ledger; and what must hold in it.

The sandbox counts what was accepted under each prompt, so every job is asked for under a prompt of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from hfmedia.sandbox import Sandbox
from hfmedia.sandbox.cdn import RenderSpec, render

from .process_forker import ChildProcess, ProcessForker

VARIANT_COUNT = 2  # different pictures and films; drawing hundreds would take longer than everything else
LOST_MESSAGE = "can only be generated again"  # of inline media whose process died


class SharedSandbox:
    """What all towns stand on: a simulated world, served from a thread of its own, and the forge."""

    def __init__(self, *, speed: float = 50) -> None:
        self.forker = ProcessForker()
        self.complete_digests: set[str] = set()
        self.oversized_media: bytes | None = None  # served in place of every picture and film, when set
        self.request_count = 0  # of wishes so far
        self._drawn: dict[RenderSpec, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sandbox: Sandbox = self._wait(self._open(speed))

    def run(self, func: Callable[[], Any]) -> Any:
        """The deed's result, done in the sandbox's thread."""

        async def done() -> Any:
            return func()

        return self._wait(done())

    def clear(self) -> None:
        """Nothing was asked, and no fault is ordered."""
        self.oversized_media = None
        self.run(self.sandbox.clear)

    def close(self) -> None:
        """Ends the forge and the world."""
        self.forker.close()
        self._wait(self.sandbox.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _open(self, speed: float) -> Sandbox:
        sandbox = await Sandbox(port=0, speed=speed).__aenter__()
        sandbox.state.media_cache.render = self._draw  # type: ignore[method-assign]
        return sandbox

    async def _draw(self, spec: RenderSpec) -> bytes:
        """One of a few looks, each opened once to see that it is whole."""
        variant = {
            "prompt": "a red fox",
            "seed": spec.seed % VARIANT_COUNT,
            "width": 128,
            "height": 128,
            "seconds": 0.5,
        }
        variant_spec = msgspec.structs.replace(spec, **variant, source=None)
        if self.oversized_media is not None:
            return self.oversized_media
        if variant_spec not in self._drawn:
            data = await asyncio.to_thread(render, variant_spec)
            await asyncio.to_thread(_decode_all, data, variant_spec.is_video)
            self._drawn[variant_spec] = data
            self.complete_digests.add(hashlib.sha256(data).hexdigest())
        return self._drawn[variant_spec]

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


class CrashScenario:
    """A home with one ledger, and the children that live and die there."""

    def __init__(self, shared: SharedSandbox, home: Path) -> None:
        self.home, self.forker, self.shared, self.sandbox = home, shared.forker, shared, shared.sandbox
        self.run, self.complete_digests = shared.run, shared.complete_digests
        self.environ = {**self.sandbox.environment, "HFMEDIA_HOME": str(home), "HOME": str(home)}
        shared.clear()

    # -- the world --------------------------------------------------------------------------------------------------

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Orders a fault."""
        self.run(lambda: self.sandbox.fault(provider, kind, **options))

    def billed_by_prompt(self) -> Counter[str]:
        """How many jobs the providers have taken on, and would bill, by prompt."""
        return Counter(self.run(lambda: [job.prompt for job in self.sandbox.jobs.values()]))

    def known_prompts(self) -> set[str]:
        """The prompts of jobs that a child asked for or whose media it fetched, so that it had their handles."""

        def look() -> set[str]:
            world = self.sandbox.state
            found = {
                part for seen in world.requests if seen.kind in ("poll", "result") for part in seen.path.split("/")
            }
            names = {seen.path.rpartition("/")[2] for seen in world.requests if seen.kind == "cdn"}
            found |= {entry.job_id for name, entry in world.media_cache.entries.items() if name in names}
            return {world.jobs[job_id].prompt for job_id in found if job_id in world.jobs}

        return set(self.run(look))

    def replace_media(self, data: bytes) -> None:
        """From now on every picture has these bytes."""
        self.shared.oversized_media = data
        self.complete_digests.add(hashlib.sha256(data).hexdigest())

    def request_count(self, kind: str) -> int:
        """How many requests of a kind have arrived."""
        return int(self.run(lambda: sum(seen.kind == kind for seen in self.sandbox.requests)))

    # -- the children -----------------------------------------------------------------------------------------------

    def start(self, command: str, **options: Any) -> ChildProcess:
        """A child at work in this home."""
        environ = {**self.environ, **options.pop("environ", {})}
        return self.forker.start(deed=command, environ=environ, **options)

    def run_command(self, command: str, **options: Any) -> Any:
        """What a child says in the end."""
        child = self.start(command, **options)
        assert not child.was_killed()
        return child.result()

    def new_requests(self, number: int, **fields: Any) -> list[dict[str, Any]]:
        """Wishes under prompts of their own; every other one names its file."""
        requests: list[dict[str, Any]] = []
        for _ in range(number):
            self.shared.request_count += 1
            request = {"prompt": f"wish {self.shared.request_count}", **fields}
            if self.shared.request_count % 2:
                suffix = ".mp4" if str(fields.get("task", "")).endswith("video") else ".png"
                request["output"] = str(self.home / "named" / f"wish-{self.shared.request_count}{suffix}")
            requests.append(request)
        return requests

    def jobs(self, prompts: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The jobs of the ledger, or those under these prompts."""
        selected = None if prompts is None else set(prompts)
        return [job for job in self.run_command("look") if selected is None or job["prompt"] in selected]

    # -- what must hold ---------------------------------------------------------------------------------------------

    def check_files(self) -> None:
        """Nothing half under a final name, no temporary file, and every file of facts is whole."""
        for path in self.media():
            assert not path.name.endswith((".part", ".reserved")), f"{path} was left behind"
            if path.suffix == ".json":
                assert json.loads(path.read_bytes())["job_id"]
            else:
                assert hashlib.sha256(path.read_bytes()).hexdigest() in self.complete_digests, f"{path} is not whole"

    def media(self) -> list[Path]:
        """Every file in the places of media, hidden ones too."""
        places = [self.home / "media", self.home / "named"]
        return [path for place in places if place.exists() for path in place.rglob("*") if path.is_file()]

    def check_jobs(self, prompts: Iterable[str], *, max_paid: int = 1) -> list[dict[str, Any]]:
        """The jobs under these prompts, once all are known to have ended in a file or in words; none is forgotten."""
        selected, paid, known_prompts = set(prompts), self.billed_by_prompt(), self.known_prompts()
        jobs = self.jobs(selected)
        assert {prompt for prompt in selected if paid[prompt]} <= {job["prompt"] for job in jobs}, "a job is forgotten"
        assert len(jobs) == len({job["prompt"] for job in jobs}), "a wish became two jobs"
        for job in jobs:
            assert paid[job["prompt"]] <= max_paid, f"paid {paid[job['prompt']]} times: {job}"
            assert job["state"] != "in_doubt" or job["prompt"] not in known_prompts, (
                f"the provider was asked for it: {job}"
            )
            self._check(job, paid[job["prompt"]])
        return jobs

    def _check(self, job: dict[str, Any], paid: int) -> None:
        match job["state"]:
            case "stored":
                assert paid, job
                for name in job["files"]:
                    path = Path(name)
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    assert digest in self.complete_digests
                    facts = json.loads(path.with_name(path.name + ".json").read_bytes())
                    assert (facts["job_id"], facts["sha256"], facts["prompt"]) == (job["id"], digest, job["prompt"])
            case "completed":
                assert paid, job
                assert job["urls"] == [None], f"there is media to be had: {job}"
            case "in_doubt" | "failed" | "cancelled":
                assert job["error"], job
            case state:
                raise AssertionError(f"the job is still {state}: {job}")


def _decode_all(data: bytes, video: bool) -> None:
    """Reads every pixel of a picture or a film."""
    if video:
        import av

        with av.open(BytesIO(data), "r") as film:
            assert sum(1 for _ in film.decode(video=0))
        return
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        picture.load()
