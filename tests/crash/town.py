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
from hfmedia.sandbox.cdn import Recipe, drawn

from .forge import Child, Forge

LOOKS = 2  # different pictures and films; drawing hundreds would take longer than everything else
LOST = "can only be made again"  # of inline media whose process died


class Ground:
    """What all towns stand on: a simulated world, served from a thread of its own, and the forge."""

    def __init__(self, *, speed: float = 50) -> None:
        self.forge = Forge()
        self.whole: set[str] = set()
        self.large: bytes | None = None  # served in place of every picture and film, when set
        self.count = 0  # of wishes so far
        self._drawn: dict[Recipe, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.world: Sandbox = self._wait(self._open(speed))

    def do(self, deed: Callable[[], Any]) -> Any:
        """The deed's result, done in the sandbox's thread."""

        async def done() -> Any:
            return deed()

        return self._wait(done())

    def clear(self) -> None:
        """Nothing was asked, and no fault is ordered."""
        self.large = None
        self.do(self.world.clear)

    def close(self) -> None:
        """Ends the forge and the world."""
        self.forge.close()
        self._wait(self.world.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _open(self, speed: float) -> Sandbox:
        sandbox = await Sandbox(port=0, speed=speed).__aenter__()
        sandbox.world.shelf.draw = self._draw  # type: ignore[method-assign]
        return sandbox

    async def _draw(self, recipe: Recipe) -> bytes:
        """One of a few looks, each opened once to see that it is whole."""
        look = {"prompt": "a red fox", "seed": recipe.seed % LOOKS, "width": 128, "height": 128, "seconds": 0.5}
        plain = msgspec.structs.replace(recipe, **look, source=None)
        if self.large is not None:
            return self.large
        if plain not in self._drawn:
            data = await asyncio.to_thread(drawn, plain)
            await asyncio.to_thread(_opened, data, plain.video)
            self._drawn[plain] = data
            self.whole.add(hashlib.sha256(data).hexdigest())
        return self._drawn[plain]

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


class Town:
    """A home with one ledger, and the children that live and die there."""

    def __init__(self, ground: Ground, home: Path) -> None:
        self.home, self.forge, self.ground, self.world = home, ground.forge, ground, ground.world
        self.do, self.whole = ground.do, ground.whole
        self.environ = {**self.world.environment, "HFMEDIA_HOME": str(home), "HOME": str(home)}
        ground.clear()

    # -- the world --------------------------------------------------------------------------------------------------

    def fault(self, provider: str, kind: str, **order: Any) -> None:
        """Orders a fault."""
        self.do(lambda: self.world.fault(provider, kind, **order))

    def accepted(self) -> Counter[str]:
        """How many jobs the providers have taken on, and would bill, by prompt."""
        return Counter(self.do(lambda: [job.prompt for job in self.world.jobs.values()]))

    def known(self) -> set[str]:
        """The prompts of jobs that a child asked for or whose media it fetched, so that it had their handles."""

        def look() -> set[str]:
            world = self.world.world
            found = {
                part for seen in world.requests if seen.kind in ("poll", "result") for part in seen.path.split("/")
            }
            names = {seen.path.rpartition("/")[2] for seen in world.requests if seen.kind == "cdn"}
            found |= {entry.job for name, entry in world.shelf.entries.items() if name in names}
            return {world.jobs[job_id].prompt for job_id in found if job_id in world.jobs}

        return set(self.do(look))

    def serve(self, data: bytes) -> None:
        """From now on every picture has these bytes."""
        self.ground.large = data
        self.whole.add(hashlib.sha256(data).hexdigest())

    def asked(self, kind: str) -> int:
        """How many requests of a kind have arrived."""
        return int(self.do(lambda: sum(seen.kind == kind for seen in self.world.requests)))

    # -- the children -----------------------------------------------------------------------------------------------

    def start(self, deed: str, **order: Any) -> Child:
        """A child at work in this home."""
        environ = {**self.environ, **order.pop("environ", {})}
        return self.forge.start(deed=deed, environ=environ, **order)

    def told(self, deed: str, **order: Any) -> Any:
        """What a child says in the end."""
        child = self.start(deed, **order)
        assert not child.killed()
        return child.said()

    def wishes(self, number: int, **wish: Any) -> list[dict[str, Any]]:
        """Wishes under prompts of their own; every other one names its file."""
        made: list[dict[str, Any]] = []
        for _ in range(number):
            self.ground.count += 1
            one = {"prompt": f"wish {self.ground.count}", **wish}
            if self.ground.count % 2:
                suffix = ".mp4" if str(wish.get("task", "")).endswith("video") else ".png"
                one["output"] = str(self.home / "named" / f"wish-{self.ground.count}{suffix}")
            made.append(one)
        return made

    def jobs(self, prompts: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The jobs of the ledger, or those under these prompts."""
        wanted = None if prompts is None else set(prompts)
        return [job for job in self.told("look") if wanted is None or job["prompt"] in wanted]

    # -- what must hold ---------------------------------------------------------------------------------------------

    def check_files(self) -> None:
        """Nothing half under a final name, no temporary file, and every file of facts is whole."""
        for path in self.media():
            assert not path.name.endswith((".part", ".reserved")), f"{path} was left behind"
            if path.suffix == ".json":
                assert json.loads(path.read_bytes())["job_id"]
            else:
                assert hashlib.sha256(path.read_bytes()).hexdigest() in self.whole, f"{path} is not whole"

    def media(self) -> list[Path]:
        """Every file in the places of media, hidden ones too."""
        places = [self.home / "media", self.home / "named"]
        return [path for place in places if place.exists() for path in place.rglob("*") if path.is_file()]

    def check_jobs(self, prompts: Iterable[str], *, paid_most: int = 1) -> list[dict[str, Any]]:
        """The jobs under these prompts, once all are known to have ended in a file or in words; none is forgotten."""
        wanted, paid, known = set(prompts), self.accepted(), self.known()
        jobs = self.jobs(wanted)
        assert {prompt for prompt in wanted if paid[prompt]} <= {job["prompt"] for job in jobs}, "a job is forgotten"
        assert len(jobs) == len({job["prompt"] for job in jobs}), "a wish became two jobs"
        for job in jobs:
            assert paid[job["prompt"]] <= paid_most, f"paid {paid[job['prompt']]} times: {job}"
            assert job["state"] != "doubt" or job["prompt"] not in known, f"the provider was asked for it: {job}"
            self._check(job, paid[job["prompt"]])
        return jobs

    def _check(self, job: dict[str, Any], paid: int) -> None:
        match job["state"]:
            case "stored":
                assert paid, job
                for name in job["files"]:
                    path = Path(name)
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    assert digest in self.whole
                    facts = json.loads(path.with_name(path.name + ".json").read_bytes())
                    assert (facts["job_id"], facts["sha256"], facts["prompt"]) == (job["id"], digest, job["prompt"])
            case "finished":
                assert paid, job
                assert job["urls"] == [None], f"there is media to be had: {job}"
            case "doubt" | "failed" | "cancelled":
                assert job["error"], job
            case state:
                raise AssertionError(f"the job is still {state}: {job}")


def _opened(data: bytes, video: bool) -> None:
    """Reads every pixel of a picture or a film."""
    if video:
        import av

        with av.open(BytesIO(data)) as film:
            assert sum(1 for _ in film.decode(video=0))
        return
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        picture.load()
