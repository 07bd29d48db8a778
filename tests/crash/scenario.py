"""The crash scenario: a sandbox in a thread of its own, forked children, a home with one ledger, and its invariants.

The sandbox counts what was accepted under each prompt, so every job is requested with a prompt of its own.
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

VARIANT_COUNT = 2  # different images and videos; drawing hundreds would take longer than everything else
LOST_MESSAGE = "can only be generated again"  # of inline media whose process died


class SharedSandbox:
    """The part that all scenarios share: a sandbox, served from a thread of its own, and the process forker."""

    def __init__(self, *, speed: float = 50) -> None:
        self.forker = ProcessForker()
        self.complete_digests: set[str] = set()
        self.oversized_media: bytes | None = None  # served in place of all media, when set
        self.request_count = 0  # requests built so far
        self._drawn: dict[RenderSpec, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sandbox: Sandbox = self._wait(self._open(speed))

    def run(self, func: Callable[[], Any]) -> Any:
        """Run a function in the sandbox's thread and return its result."""

        async def done() -> Any:
            return func()

        return self._wait(done())

    def clear(self) -> None:
        """Forget all requests and faults."""
        self.oversized_media = None
        self.run(self.sandbox.clear)

    def close(self) -> None:
        """End the forking process and the sandbox."""
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
        """Return one of a few renderings, each decoded once to check that it is complete."""
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
    """A home with one ledger, and the child processes that run and die there."""

    def __init__(self, shared: SharedSandbox, home: Path) -> None:
        self.home, self.forker, self.shared, self.sandbox = home, shared.forker, shared, shared.sandbox
        self.run, self.complete_digests = shared.run, shared.complete_digests
        self.environ = {**self.sandbox.environment, "HFMEDIA_HOME": str(home), "HOME": str(home)}
        shared.clear()

    # -- the sandbox ------------------------------------------------------------------------------------------------

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Make the sandbox inject a fault."""
        self.run(lambda: self.sandbox.fault(provider, kind, **options))

    def billed_by_prompt(self) -> Counter[str]:
        """Count the jobs that the providers accepted, and would bill, by prompt."""
        return Counter(self.run(lambda: [job.prompt for job in self.sandbox.jobs.values()]))

    def known_prompts(self) -> set[str]:
        """Return the prompts of jobs that a child polled or downloaded, so that it had their handles."""

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
        """Serve these bytes for every output from now on."""
        self.shared.oversized_media = data
        self.complete_digests.add(hashlib.sha256(data).hexdigest())

    def request_count(self, kind: str) -> int:
        """Count the requests of a kind that have arrived."""
        return int(self.run(lambda: sum(seen.kind == kind for seen in self.sandbox.requests)))

    # -- the children -----------------------------------------------------------------------------------------------

    def start(self, command: str, **options: Any) -> ChildProcess:
        """Start a child in this home."""
        environ = {**self.environ, **options.pop("environ", {})}
        return self.forker.start(command=command, environ=environ, **options)

    def run_command(self, command: str, **options: Any) -> Any:
        """Run a child to completion and return its result."""
        child = self.start(command, **options)
        assert not child.was_killed()
        return child.result()

    def new_requests(self, number: int, **fields: Any) -> list[dict[str, Any]]:
        """Build requests with prompts of their own; every other one names its file."""
        requests: list[dict[str, Any]] = []
        for _ in range(number):
            self.shared.request_count += 1
            request = {"prompt": f"request {self.shared.request_count}", **fields}
            if self.shared.request_count % 2:
                suffix = ".mp4" if str(fields.get("task", "")).endswith("video") else ".png"
                request["output"] = str(self.home / "named" / f"request-{self.shared.request_count}{suffix}")
            requests.append(request)
        return requests

    def jobs(self, prompts: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return the jobs of the ledger, or those with these prompts."""
        selected = None if prompts is None else set(prompts)
        return [job for job in self.run_command("list") if selected is None or job["prompt"] in selected]

    # -- what must hold ---------------------------------------------------------------------------------------------

    def check_files(self) -> None:
        """Check that no file is partial or temporary, and that every sidecar is complete."""
        for path in self.media():
            assert not path.name.endswith((".part", ".reserved")), f"{path} was left behind"
            if path.suffix == ".json":
                assert json.loads(path.read_bytes())["job_id"]
            else:
                assert hashlib.sha256(path.read_bytes()).hexdigest() in self.complete_digests, f"{path} is not whole"

    def media(self) -> list[Path]:
        """Return every file in the output folders, hidden ones too."""
        places = [self.home / "media", self.home / "named"]
        return [path for place in places if place.exists() for path in place.rglob("*") if path.is_file()]

    def check_jobs(self, prompts: Iterable[str], *, max_paid: int = 1) -> list[dict[str, Any]]:
        """Return the jobs with these prompts, checking that each ended in a file or an error and that none is lost."""
        selected, paid, known_prompts = set(prompts), self.billed_by_prompt(), self.known_prompts()
        jobs = self.jobs(selected)
        assert {prompt for prompt in selected if paid[prompt]} <= {job["prompt"] for job in jobs}, "a job is lost"
        assert len(jobs) == len({job["prompt"] for job in jobs}), "a request became two jobs"
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
                    sidecar = json.loads(path.with_name(path.name + ".json").read_bytes())
                    assert (sidecar["job_id"], sidecar["sha256"], sidecar["prompt"]) == (
                        job["id"],
                        digest,
                        job["prompt"],
                    )
            case "completed":
                assert paid, job
                assert job["urls"] == [None], f"there is media to download: {job}"
            case "in_doubt" | "failed" | "cancelled":
                assert job["error"], job
            case state:
                raise AssertionError(f"the job is still {state}: {job}")


def _decode_all(data: bytes, video: bool) -> None:
    """Decode every pixel of an image or a video."""
    if video:
        import av

        with av.open(BytesIO(data), "r") as film:
            assert sum(1 for _ in film.decode(video=0))
        return
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        picture.load()
