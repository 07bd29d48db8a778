"""The kinds of provider that the harness tries, and the steps of a job's life at each at which a process is killed."""

from __future__ import annotations

from typing import Any

VIDEO: dict[str, Any] = {"task": "text-to-video", "model": "Wan-AI/Wan2.2-T2V-A14B:fal-ai"}
PICTURE: dict[str, Any] = {"task": "text-to-image", "width": 256, "height": 256}
FLUX = "black-forest-labs/FLUX.1-schnell"

REQUESTS: dict[str, dict[str, Any]] = {
    "queue": VIDEO,
    "holding": {**PICTURE, "model": f"{FLUX}:replicate"},
    "inline": {**PICTURE, "model": f"{FLUX}:nscale"},
}

BEFORE_SUBMIT = (
    "before created",
    "within created",
    "after created",
    "before routed",
    "within routed",
    "within sending",  # which are one transaction
    "after sending",
)
NOT_SENT = tuple(step for step in BEFORE_SUBMIT if step != "after sending")
SUBMITTING = ("before post", "amid post", "after post")
ACCEPTED = ("before accepted", "within accepted", "after accepted")
POLLING = ("between polls", "before poll", "amid poll", "after poll")
COMPLETED = ("before made", "within made", "after made")
STORING = ("before keep", "with an empty part")
DOWNLOADING = ("before fetch", "amid fetch", "after fetch")
NAMING = (
    "before the name",
    "with two names",
    "between file and facts",
    "with an empty part of facts",
    "between facts and ledger",
    "before stored",
    "within stored",
    "after stored",
)

STEPS: dict[str, tuple[str, ...]] = {
    "queue": (*BEFORE_SUBMIT, *SUBMITTING, *ACCEPTED, *POLLING, *COMPLETED, *STORING, *DOWNLOADING, *NAMING),
    "holding": (*BEFORE_SUBMIT, *SUBMITTING, *COMPLETED, *STORING, *DOWNLOADING, *NAMING),
    "inline": (*BEFORE_SUBMIT, *SUBMITTING, *COMPLETED, *STORING, *NAMING),
}
