"""Jobs and entries for the tests of the ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfmedia.core.job import (
    AcceptedEntry,
    CancelledEntry,
    CompletedEntry,
    CreatedEntry,
    FailedEntry,
    InDoubtEntry,
    LedgerEntry,
    RejectedEntry,
    ResolvedEntry,
    RoutedEntry,
    StoredEntry,
    SubmittingEntry,
)
from hfmedia.core.protocol import Cost, JobHandle, Lora, Output, Route
from hfmedia.core.request import GenerationRequest, InputImage
from hfmedia.core.sizes import AspectRatio

REQUEST = GenerationRequest(task="text-to-image", model="a/b", prompt="a red fox")
FULL_REQUEST = GenerationRequest(
    task="image-to-video",
    model="a/b",
    prompt='ein "Fuchs"\u2028\x00 狐 🦊',
    image=InputImage(mime="image/png", width=3, height=2, name="a.png", sha256="00"),
    negative_prompt="",
    width=512,
    aspect_ratio=AspectRatio(16, 9),
    resolution="480p",
    seed=2**64 - 1,
    guidance_scale=0.1,
    seconds=1e-3,
    extra={"deep": [{"x": None, "y": 1.5, "z": True}], "big": 2**63 - 1},
)
ROUTES = [
    Route(
        provider=name, provider_id="x", model="a/b", task="text-to-image", base_url="https://r/x", credential="HF_TOKEN"
    )
    for name in ("fal-ai", "nscale")
]
ENTRY_TYPES = [
    CreatedEntry,
    RoutedEntry,
    SubmittingEntry,
    AcceptedEntry,
    RejectedEntry,
    InDoubtEntry,
    ResolvedEntry,
    CompletedEntry,
    StoredEntry,
    FailedEntry,
    CancelledEntry,
]

# Every entry type, with every field filled at least once.
FULL_ENTRIES: list[LedgerEntry] = [
    CreatedEntry(job_id="j", timestamp=1.25, request=FULL_REQUEST, index=3),
    RoutedEntry(
        job_id="j", timestamp=-1.0, request=FULL_REQUEST, warnings=("one", "two"),
        route=Route(provider="replicate", provider_id="v", model="a/b", task="text-to-image", base_url="https://r",
                    credential="REPLICATE_API_TOKEN", via="direct", lora=Lora("r", "f")),
    ),
    SubmittingEntry(job_id="j", timestamp=2.0, attempt=1),
    RejectedEntry(job_id="j", timestamp=2.0, kind="rate_limited", message="later", status=429),
    SubmittingEntry(job_id="j", timestamp=2.0, attempt=2),
    InDoubtEntry(job_id="j", timestamp=2.0, message="the line broke"),
    ResolvedEntry(job_id="j", timestamp=2.0, decision="resend"),
    SubmittingEntry(job_id="j", timestamp=2.0, attempt=3),
    AcceptedEntry(job_id="j", timestamp=2.0, handle=JobHandle("r1", stage="result", job_path="/x?y=1")),
    CompletedEntry(
        job_id="j", timestamp=2.0, seed=2**64 - 1, cost=Cost(0.125, "fal-units"), timings={"inference": 1.5},
        warnings=("m",),
        outputs=(Output(url="https://a/x.png", mime="image/png", width=1, height=2, nsfw=True), Output()),
    ),
    StoredEntry(job_id="j", timestamp=2.0, media={"files": [{"path": "x.png", "bytes": 7, "more": {"sha256": None}}]}),
]  # fmt: skip
ENDINGS: list[LedgerEntry] = [
    FailedEntry(job_id="j", timestamp=2.0, kind="generation_failed", message="no", status=500),
    CancelledEntry(job_id="j", timestamp=2.0, provider_confirmed=None, message="by the user"),
]


def created_entry(job: str, at: float = 0.0, **more: Any) -> CreatedEntry:
    """Build the creation of a job."""
    return CreatedEntry(job_id=job, timestamp=at, **{"request": REQUEST, **more})


def job_entries(job: str, at: float = 0.0) -> Iterator[LedgerEntry]:
    """Yield the entries of a successful job, from its creation to its file."""
    yield created_entry(job, at)
    yield RoutedEntry(job_id=job, timestamp=at, route=ROUTES[0], request=REQUEST)
    yield SubmittingEntry(job_id=job, timestamp=at, attempt=1)
    yield AcceptedEntry(job_id=job, timestamp=at, handle=JobHandle("r1"))
    yield CompletedEntry(job_id=job, timestamp=at, outputs=(Output(url="https://a/x.png"),), cost=Cost(0.25))
    yield StoredEntry(job_id=job, timestamp=at, media={"files": [{"path": f"{job}.png"}]})
