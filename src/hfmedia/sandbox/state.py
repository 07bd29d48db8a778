"""State of the sandbox: recorded requests, jobs, media files and pending faults.

Simulated time runs `speed` times faster. Every collection is bounded, and its oldest items are evicted first.
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

from . import catalog, faults
from .cdn import MediaCache, RenderSpec
from .messages import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalog import ModelOffer, SandboxModel
    from .messages import SandboxRequest

TOKEN = "hf_sandboxTokenOnlyForTryingThings0000"
IMAGE_SECONDS = (0.25, 0.75)  # seconds queued and running, at speed 1: an image takes about a second
VIDEO_SECONDS = (1.5, 3.5)  # a video takes about five, long enough to watch queue and progress
QUEUE_LENGTH = 3  # initial queue position of a new job
MAX_JOBS = 5_000
MAX_RECORDED_BYTES = 64 * 2**20
MAX_RECORDED_REQUESTS = 20_000
MAX_INPUT_BYTES = 32 * 2**20
MAX_INPUT_SIDE = 1280  # pixels; larger inputs are scaled down


class RecordedRequest(msgspec.Struct, frozen=True):
    """A request as received. `kind` is hub, submit, poll, result, cancel, cdn or other."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    provider: str | None
    kind: str

    def json(self) -> Any:
        """Parse the body as JSON."""
        return msgspec.json.decode(self.body)


class DrawRequest(msgspec.Struct, frozen=True):
    """Provider-independent parameters of the media to render."""

    task: str
    prompt: str
    width: int
    height: int
    seed: int | None = None
    seconds: float = 2.0
    fps: int = 16
    format: str = "jpeg"
    count: int = 1
    source_image: bytes | None = None
    suffix: str = ""


@dataclass(slots=True)
class SandboxJob:
    """An accepted job and its simulated schedule."""

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
    media_names: list[str]
    bill_to: str | None
    accepted_at: float
    queue_seconds: float
    run_seconds: float
    outcome: str | None = None
    outcome_text: str = ""
    is_cancelled: bool = False
    cancel_event: asyncio.Event = field(default_factory=asyncio.Event)
    polls: int = 0
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_video(self) -> bool:
        """True when the output is a video."""
        return self.task.endswith("video")

    @property
    def age(self) -> float:
        """Wall-clock seconds since acceptance."""
        return time.monotonic() - self.accepted_at

    @property
    def remaining(self) -> float:
        """Wall-clock seconds until the job ends."""
        return 0.0 if self.is_cancelled else max(0.0, self.queue_seconds + self.run_seconds - self.age)

    @property
    def state(self) -> str:
        """Current state: queued, running, done, failed or cancelled."""
        if self.is_cancelled:
            return "cancelled"
        if self.age < self.queue_seconds:
            return "queued"
        if self.age < self.queue_seconds + self.run_seconds:
            return "running"
        return "failed" if self.outcome in {"fail", "moderated"} else "done"

    @property
    def position(self) -> int:
        """Queue position, counting down; 0 is next."""
        remaining_share = 1 - self.age / self.queue_seconds if self.queue_seconds else 0
        return max(0, int(remaining_share * QUEUE_LENGTH + 0.999) - 1) if self.state == "queued" else 0

    @property
    def fraction(self) -> float:
        """Completed fraction of the work, 0 to 1."""
        return min(1.0, max(0.0, (self.age - self.queue_seconds) / self.run_seconds if self.run_seconds else 1.0))

    def cancel(self) -> None:
        """Cancel the job unless it has ended."""
        if self.state in {"queued", "running"}:
            self.is_cancelled = True
            self.cancel_event.set()


class SandboxState:
    """State shared by all simulated services. `url` is set once the server is listening."""

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError("speed must be a number above 0; 1 is the default pace")
        self.speed = speed
        self.url = ""
        self.token = TOKEN
        self.keys = {
            name: f"sandbox-key-for-{name}"
            for name in (*catalog.PROVIDERS, catalog.UNKNOWN_PROVIDER)
            if name != "hf-inference"
        }
        self.requests: list[RecordedRequest] = []
        self.leaks: list[RecordedRequest] = []
        self.submissions: Counter[str] = Counter()
        self.jobs: dict[str, SandboxJob] = {}
        self.faults = faults.FaultRegistry()
        self.media_cache = MediaCache()
        self.offers = {name: catalog.offers_of(name) for name in (*catalog.PROVIDERS, catalog.UNKNOWN_PROVIDER)}
        self.closing = asyncio.Event()
        self.rng = random.Random(20250101)  # media content, not secrets
        self._recorded_bytes = 0

    def record_request(self, recorded: RecordedRequest) -> None:
        """Record a request and drop the oldest beyond the limits."""
        self.requests.append(recorded)
        self._recorded_bytes += len(recorded.body)
        while self.requests and (
            self._recorded_bytes > MAX_RECORDED_BYTES or len(self.requests) > MAX_RECORDED_REQUESTS
        ):
            self._recorded_bytes -= len(self.requests.pop(0).body)

    def clear(self) -> None:
        """Reset requests, leaks, counts and faults; jobs and media files stay."""
        self.requests.clear()
        self.leaks.clear()
        self.submissions.clear()
        self.faults.clear()
        self._recorded_bytes = 0

    async def sleep(self, seconds: float) -> None:
        """Sleep for wall-clock seconds, or until the sandbox closes."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return

    async def wait_until_done(self, job: SandboxJob, limit: float | None = None) -> None:
        """Wait until a job ends or is cancelled, at most `limit` wall-clock seconds."""
        remaining = job.remaining if limit is None else min(limit, job.remaining)
        if remaining <= 0 or job.is_cancelled:
            return
        try:
            async with asyncio.timeout(remaining):
                await job.cancel_event.wait()
        except TimeoutError:
            return

    def accept_job(
        self, provider: str, offer: tuple[SandboxModel, ModelOffer], draw_request: DrawRequest, request: SandboxRequest
    ) -> SandboxJob:
        """Accept and count a job; its media files are named now and rendered when fetched."""
        model, model_offer = offer
        seed = draw_request.seed if draw_request.seed is not None else self.rng.randrange(2**31)
        fault = request.fault
        outcome = fault.kind if fault and fault.kind in faults.JOB_OUTCOMES and not fault.is_deferred else None
        queue_seconds, run_seconds = VIDEO_SECONDS if draw_request.task.endswith("video") else IMAGE_SECONDS
        if fault and outcome == "cold":
            queue_seconds = fault.number("seconds", 65)
        job_id = uuid.UUID(int=self.rng.getrandbits(128), version=4).hex
        job = SandboxJob(
            id=job_id,
            service=provider,
            task=draw_request.task,
            model=model.id,
            provider_id=model_offer.provider_id,
            prompt=draw_request.prompt,
            seed=seed,
            width=draw_request.width,
            height=draw_request.height,
            seconds=draw_request.seconds,
            media_names=[],
            bill_to=request.headers.get("X-HF-Bill-To"),
            accepted_at=time.monotonic(),
            queue_seconds=queue_seconds / self.speed,
            run_seconds=run_seconds / self.speed,
            outcome=outcome,
            outcome_text=fault.text("text") if fault else "",
        )
        for index in range(draw_request.count):
            spec = RenderSpec(
                is_video=job.is_video,
                format="mp4" if job.is_video else draw_request.format,
                prompt=draw_request.prompt,
                seed=(seed + index) % 2**63,
                width=draw_request.width,
                height=draw_request.height,
                seconds=draw_request.seconds,
                fps=draw_request.fps,
                source=draw_request.source_image,
                is_blacked_out=outcome == "nsfw",
                suffix=draw_request.suffix,
            )
            job.media_names.append(self.media_cache.put(spec, provider, job_id))
        if fault is not None and fault.is_deferred:
            fault.job_id = job_id
            self.faults.add(fault)
        self.jobs[job_id] = job
        self.submissions[provider] += 1
        while len(self.jobs) > MAX_JOBS:
            self.jobs.pop(next(iter(self.jobs)))
        return job

    def media_url(self, name: str) -> str:
        """Return the CDN URL of a media file."""
        return f"{self.url}/cdn/{name}"

    def media_urls(self, job: SandboxJob) -> list[str]:
        """Return the CDN URLs of a job's media files."""
        return [self.media_url(name) for name in job.media_names]

    async def media_bytes(self, job: SandboxJob) -> list[bytes]:
        """Return the bytes of a job's media files."""
        return [(await self.media_cache.fetch(name)).data for name in job.media_names]

    async def load_input_image(self, value: str, field_name: str) -> bytes:
        """Load an input image from a URL, data URI or base64, validated and scaled down.

        The sandbox never leaves the machine: a URL of its own CDN is read, any other URL yields a stand-in rendered
        from its host and path, and a host under `.invalid` is unreachable. Raises InvalidFieldError when the value is
        not an image.
        """
        if value.startswith("data:"):
            head, _, payload = value[5:].partition(",")
            try:
                raw = (
                    base64.b64decode(payload, validate=True) if head.endswith(";base64") else unquote_to_bytes(payload)
                )
            except binascii.Error as error:
                raise InvalidFieldError(field_name, "image", "the data URI does not hold valid base64") from error
            return await self.validate_image(raw, field_name)
        if value.startswith(("http://", "https://")):
            parts = urlsplit(value)
            if value.startswith(f"{self.url}/cdn/"):
                name = unquote(parts.path.removeprefix("/cdn/"))
                if not self.media_cache.has(name):
                    raise InvalidFieldError(field_name, "fetch", "could not download the image: 404")
                return await self.validate_image((await self.media_cache.fetch(name)).data, field_name)
            if (parts.hostname or "").endswith(".invalid"):
                raise InvalidFieldError(field_name, "fetch", "could not download the image: host not found")
            spec = RenderSpec(prompt=f"{parts.hostname} {parts.path}", seed=1, width=768, height=768)
            return await self.media_cache.render(spec)
        try:
            return await self.validate_image(base64.b64decode(value, validate=True), field_name)
        except (binascii.Error, ValueError) as error:
            raise InvalidFieldError(field_name, "image", "neither a URL, nor a data URI, nor base64") from error

    async def validate_image(self, raw: bytes, field_name: str) -> bytes:
        """Return an image within the limits, as JPEG. Raises InvalidFieldError when the bytes are not an image."""
        from .art import image

        if len(raw) > MAX_INPUT_BYTES:
            raise InvalidFieldError(field_name, "image", "the image is too large")
        try:
            return await asyncio.to_thread(image.normalize_image, raw, MAX_INPUT_SIDE)
        except image.InvalidImageError as error:
            raise InvalidFieldError(field_name, "image", "the bytes are not an image") from error
