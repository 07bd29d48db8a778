"""The state of the simulated world: who asked what, which jobs run, which media exist, what has been ordered.

Time passes here `speed` times faster; everything kept has a bound, and the oldest is forgotten first.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import msgspec

from . import catalogue, faults
from .cdn import Recipe, Shelf
from .service import WrongError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Mapping as Offer
    from .catalogue import Model
    from .service import Call, Service

TOKEN = "hf_sandboxTokenOnlyForTryingThings0000"
IMAGE_TIME = (0.25, 0.75)  # seconds in the queue and at work, at speed 1: a picture takes about a second
VIDEO_TIME = (1.5, 3.5)  # a video takes about five, with a queue and progress to watch
QUEUE_LENGTH = 3  # the position a new job starts at
MAX_JOBS = 5_000
MAX_SEEN_BYTES = 64 * 2**20
MAX_SEEN = 20_000
MAX_INPUT = 32 * 2**20
INPUT_SIDE = 1280  # inputs are kept no larger than this


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived. Kind is hub, submit, poll, result, cancel, cdn, or other."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    provider: str | None
    kind: str

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class Ask(msgspec.Struct, frozen=True):
    """What a request asks to be drawn, the same for every provider."""

    task: str
    prompt: str
    width: int
    height: int
    seed: int | None = None
    seconds: float = 2.0
    fps: int = 16
    form: str = "jpeg"
    count: int = 1
    source: bytes | None = None
    suffix: str = ""


@dataclass(slots=True)
class Job:
    """One accepted piece of work and the timetable of its life."""

    id: str
    service: str
    task: str
    model: str
    provider_id: str
    prompt: str
    seed: int
    width: int
    height: int
    seconds: float
    names: list[str]
    bill_to: str | None
    born: float
    queue: float
    run: float
    fate: str | None = None
    fate_text: str = ""
    cancelled: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    polls: int = 0
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def video(self) -> bool:
        """Whether it makes a video."""
        return self.task.endswith("video")

    @property
    def age(self) -> float:
        """Seconds since it was accepted, on the wall."""
        return time.monotonic() - self.born

    @property
    def left(self) -> float:
        """Seconds until it ends, on the wall."""
        return 0.0 if self.cancelled else max(0.0, self.queue + self.run - self.age)

    @property
    def state(self) -> str:
        """queued, running, done, failed or cancelled, as of now."""
        if self.cancelled:
            return "cancelled"
        if self.age < self.queue:
            return "queued"
        if self.age < self.queue + self.run:
            return "running"
        return "failed" if self.fate in {"fail", "moderated"} else "done"

    @property
    def position(self) -> int:
        """Its place in the queue, counting down; 0 is next."""
        rest = 1 - self.age / self.queue if self.queue else 0
        return max(0, int(rest * QUEUE_LENGTH + 0.999) - 1) if self.state == "queued" else 0

    @property
    def fraction(self) -> float:
        """How much of the work is done, 0 to 1."""
        return min(1.0, max(0.0, (self.age - self.queue) / self.run if self.run else 1.0))

    def cancel(self) -> None:
        """Stop it now, unless it has ended."""
        if self.state in {"queued", "running"}:
            self.cancelled = True
            self.stopped.set()


class World:
    """Everything the servers share. `url` is known once the server listens."""

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError("speed is a number above 0; 1 is the pace of the demo")
        self.speed = speed
        self.url = ""
        self.token = TOKEN
        self.keys = {
            name: f"sandbox-key-for-{name}"
            for name in (*catalogue.PROVIDERS, catalogue.STRANGER)
            if name != "hf-inference"
        }
        self.requests: list[Seen] = []
        self.leaks: list[Seen] = []
        self.submissions: Counter[str] = Counter()
        self.jobs: dict[str, Job] = {}
        self.faults = faults.FaultBook()
        self.shelf = Shelf()
        self.served = {name: catalogue.served_by(name) for name in (*catalogue.PROVIDERS, catalogue.STRANGER)}
        self.closing = asyncio.Event()
        self.chance = random.Random(20250101)  # pictures, not secrets
        self._seen_bytes = 0

    def see(self, seen: Seen) -> None:
        """Remember a request, and forget the oldest beyond the bounds."""
        self.requests.append(seen)
        self._seen_bytes += len(seen.body)
        while self.requests and (self._seen_bytes > MAX_SEEN_BYTES or len(self.requests) > MAX_SEEN):
            self._seen_bytes -= len(self.requests.pop(0).body)

    def clear(self) -> None:
        """Forget requests, leaks, counts and faults; jobs and media stay."""
        self.requests.clear()
        self.leaks.clear()
        self.submissions.clear()
        self.faults.clear()
        self._seen_bytes = 0

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the wall, but no longer than the world lasts."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return

    async def until_done(self, job: Job, limit: float | None = None) -> None:
        """Wait for a job's end or its cancelling, or at most `limit` wall seconds."""
        rest = job.left if limit is None else min(limit, job.left)
        if rest <= 0 or job.cancelled:
            return
        try:
            async with asyncio.timeout(rest):
                await job.stopped.wait()
        except TimeoutError:
            return

    def accept(self, service: Service, offer: tuple[Model, Offer], ask: Ask, call: Call) -> Job:
        """Take a job on and count it; its media are named now and drawn when fetched."""
        model, mapping = offer
        seed = ask.seed if ask.seed is not None else self.chance.randrange(2**31)
        fault = call.fault
        fate = fault.kind if fault and fault.kind in faults.FATES and not fault.later else None
        queue, run = VIDEO_TIME if ask.task.endswith("video") else IMAGE_TIME
        if fault and fate == "cold":
            queue = fault.number("seconds", 65)
        job_id = uuid.UUID(int=self.chance.getrandbits(128), version=4).hex
        job = Job(
            id=job_id,
            service=service.name,
            task=ask.task,
            model=model.id,
            provider_id=mapping.provider_id,
            prompt=ask.prompt,
            seed=seed,
            width=ask.width,
            height=ask.height,
            seconds=ask.seconds,
            names=[],
            bill_to=call.headers.get("X-HF-Bill-To"),
            born=time.monotonic(),
            queue=queue / self.speed,
            run=run / self.speed,
            fate=fate,
            fate_text=fault.text("text") if fault else "",
        )
        for index in range(ask.count):
            recipe = Recipe(
                video=job.video,
                form="mp4" if job.video else ask.form,
                prompt=ask.prompt,
                seed=(seed + index) % 2**63,
                width=ask.width,
                height=ask.height,
                seconds=ask.seconds,
                fps=ask.fps,
                source=ask.source,
                black=fate == "nsfw",
                suffix=ask.suffix,
            )
            job.names.append(self.shelf.put(recipe, service.name, job_id))
        if fault is not None and fault.later:
            fault.job = job_id
            self.faults.add(fault)
        self.jobs[job_id] = job
        self.submissions[service.name] += 1
        while len(self.jobs) > MAX_JOBS:
            self.jobs.pop(next(iter(self.jobs)))
        return job

    def media_url(self, name: str) -> str:
        """The CDN address of a medium."""
        return f"{self.url}/cdn/{name}"

    def urls(self, job: Job) -> list[str]:
        """The CDN addresses of a job's media."""
        return [self.media_url(name) for name in job.names]

    async def media(self, job: Job) -> list[bytes]:
        """A job's media as bytes."""
        return [(await self.shelf.fetch(name)).data for name in job.names]

    async def input_image(self, value: str, where: str) -> bytes:
        """An input picture by URL, data URI or base64, checked and made small. Wrong where it is none.

        The sandbox never leaves the machine: a URL of its own CDN is read, any other gets a stand-in drawn
        from the URL's own words, and a host under `.invalid` cannot be reached.
        """
        if value.startswith("data:"):
            head, _, rest = value[5:].partition(",")
            try:
                raw = base64.b64decode(rest, validate=True) if head.endswith(";base64") else unquote_to_bytes(rest)
            except binascii.Error as error:
                raise WrongError(where, "image", "the data URI does not hold valid base64") from error
            return await self.checked_image(raw, where)
        if value.startswith(("http://", "https://")):
            parts = urlsplit(value)
            if value.startswith(f"{self.url}/cdn/"):
                name = unquote(parts.path.removeprefix("/cdn/"))
                if not self.shelf.has(name):
                    raise WrongError(where, "fetch", "could not download the image: 404")
                return await self.checked_image((await self.shelf.fetch(name)).data, where)
            if (parts.hostname or "").endswith(".invalid"):
                raise WrongError(where, "fetch", "could not download the image: host not found")
            recipe = Recipe(prompt=f"{parts.hostname} {parts.path}", seed=1, width=768, height=768)
            return await self.shelf.draw(recipe)
        try:
            return await self.checked_image(base64.b64decode(value, validate=True), where)
        except (binascii.Error, ValueError) as error:
            raise WrongError(where, "image", "neither a URL, nor a data URI, nor base64") from error

    async def checked_image(self, raw: bytes, where: str) -> bytes:
        """The picture within limits, as PNG or JPEG. Wrong where the bytes are no picture."""
        from . import pictures

        if len(raw) > MAX_INPUT:
            raise WrongError(where, "image", "the image is too large")
        try:
            return await asyncio.to_thread(pictures.normal, raw, INPUT_SIDE)
        except pictures.NotAPictureError as error:
            raise WrongError(where, "image", "the bytes are not an image") from error
