"""Jobs and facts for the tests of the ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfmedia.core.answers import Cost, Handle, Lora, Output, Route
from hfmedia.core.job import (
    Accepted,
    Broken,
    Created,
    Doubted,
    Fact,
    Made,
    Refused,
    Resolved,
    Routed,
    Sending,
    Stopped,
    Stored,
)
from hfmedia.core.request import InputImage, Request
from hfmedia.core.sizes import Ratio

WISH = Request(task="text-to-image", model="a/b", prompt="a red fox")
FULL_WISH = Request(
    task="image-to-video",
    model="a/b",
    prompt='ein "Fuchs"\u2028\x00 狐 🦊',
    image=InputImage(mime="image/png", width=3, height=2, name="a.png", sha256="00"),
    negative_prompt="",
    width=512,
    aspect_ratio=Ratio(16, 9),
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
KINDS = [Created, Routed, Sending, Accepted, Refused, Doubted, Resolved, Made, Stored, Broken, Stopped]

# Every kind of fact, with every field filled at least once.
FULL: list[Fact] = [
    Created(job="j", at=1.25, request=FULL_WISH, index=3),
    Routed(
        job="j", at=-1.0, request=FULL_WISH, warnings=("one", "two"),
        route=Route(provider="replicate", provider_id="v", model="a/b", task="text-to-image", base_url="https://r",
                    credential="REPLICATE_API_TOKEN", via="direct", lora=Lora("r", "f")),
    ),
    Sending(job="j", at=2.0, attempt=1),
    Refused(job="j", at=2.0, kind="busy", message="later", status=429),
    Sending(job="j", at=2.0, attempt=2),
    Doubted(job="j", at=2.0, message="the line broke"),
    Resolved(job="j", at=2.0, decision="resend"),
    Sending(job="j", at=2.0, attempt=3),
    Accepted(job="j", at=2.0, handle=Handle("r1", stage="result", path="/x?y=1")),
    Made(
        job="j", at=2.0, seed=2**64 - 1, cost=Cost(0.125, "fal-units"), timings={"inference": 1.5}, warnings=("m",),
        outputs=(Output(url="https://a/x.png", mime="image/png", width=1, height=2, nsfw=True), Output()),
    ),
    Stored(job="j", at=2.0, media={"path": "x.png", "bytes": 7, "more": {"sha256": None}}),
]  # fmt: skip
ENDINGS: list[Fact] = [
    Broken(job="j", at=2.0, kind="failed", message="no", status=500),
    Stopped(job="j", at=2.0, reached=None, message="by the user"),
]


class _Keyed(Created, frozen=True, kw_only=True, tag="created"):
    key: str | None = None


# A creation with an idempotency key, wherever the field is declared.
KeyedCreated: type[Any] = Created if "key" in Created.__struct_fields__ else _Keyed


def created(job: str, at: float = 0.0, **more: Any) -> Created:
    """The creation of a job."""
    return Created(job=job, at=at, **{"request": WISH, **more})


def life(job: str, at: float = 0.0) -> Iterator[Fact]:
    """A job that goes well, from its creation to its file."""
    yield created(job, at)
    yield Routed(job=job, at=at, route=ROUTES[0], request=WISH)
    yield Sending(job=job, at=at, attempt=1)
    yield Accepted(job=job, at=at, handle=Handle("r1"))
    yield Made(job=job, at=at, outputs=(Output(url="https://a/x.png"),), cost=Cost(0.25))
    yield Stored(job=job, at=at, media={"path": f"{job}.png"})
