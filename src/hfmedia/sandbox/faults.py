"""Table of the faults that the sandbox can inject, their parsers, and the registry of pending faults.

This module only selects the fault; each service defines what it looks like on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .catalog import PROVIDERS, UNKNOWN_PROVIDER

if TYPE_CHECKING:
    from collections.abc import Collection

STEPS = ("submit", "poll", "result", "cancel", "cdn", "hub")
API_STEPS = ("submit", "poll", "result", "cancel", "hub")
ANY_STEP = STEPS


class FaultSpecError(ValueError):
    """A fault specification is not valid; the message says why."""


class FaultKind(msgspec.Struct, frozen=True):
    """One kind of fault: its effect, the steps where it can occur (the first is the default) and its details."""

    name: str
    description: str
    steps: tuple[str, ...] = API_STEPS
    details: str = ""
    requires_jobs: bool = False


_TABLE = (
    FaultKind("status", "any HTTP status, in the service's own error format", ANY_STEP, "status=500 text=…"),
    FaultKind(
        "credit",
        "no credit left: 402 from the router; from the provider itself: fal-ai 403, novita 400, nscale 429, "
        "zai-org 429 with code 1113, others 402",
        details="by=provider (the provider's own response although routed)",
    ),
    FaultKind("unauthorized", "401: the credential is rejected"),
    FaultKind("forbidden", "403: the credential lacks the permission"),
    FaultKind(
        "rate-limit",
        "429 with Retry-After",
        API_STEPS,
        "retry_after=1 (seconds; none omits the header) date=true (as an HTTP date)",
    ),
    FaultKind("server", "500 or another server error", ANY_STEP, "status=500|503"),
    FaultKind("gateway", "502 or 504", ANY_STEP, "status=502|504"),
    FaultKind("loading", "503: the model is loading (hf-inference adds an estimated time)", ("submit",)),
    FaultKind("no-route", '404 in plain text, "Cannot GET /…": the router does not know the path', API_STEPS),
    FaultKind("moderated", "rejected by content moderation, in the service's own format", ("submit", "poll", "result")),
    FaultKind(
        "nsfw",
        "completed, but flagged and blacked out where the service does that; otherwise like moderated",
        ("submit",),
    ),
    FaultKind("fail", "the job is accepted, then fails", ("submit",), "text=…"),
    FaultKind(
        "cold",
        "cold start: the job stays in the queue for a long time (65 s at speed 1)",
        ("submit",),
        "seconds=65",
        True,
    ),
    FaultKind("job-not-found", "the job is removed: 404 from now on", ("poll", "result"), "", True),
    FaultKind("unknown-status", "an undocumented status value", ("poll", "submit"), "value=pondering", True),
    FaultKind("no-status", "the status field is missing", ("poll", "submit"), "", True),
    FaultKind("disconnect", "the connection closes before any response; a job is accepted and counted first", ANY_STEP),
    FaultKind("reset", "like disconnect, with a TCP reset", ANY_STEP),
    FaultKind("hang", "no response, ever; a job is accepted and counted first", ANY_STEP),
    FaultKind("slow", "the response is delayed", ANY_STEP, "seconds=2 (real seconds)"),
    FaultKind("truncated-json", "the first half of the JSON, with a matching Content-Length"),
    FaultKind("truncated", "the connection closes in the middle of the body", API_STEPS),
    FaultKind("html", "200 with an HTML page instead of JSON"),
    FaultKind("empty", "200 with an empty body"),
    FaultKind("null", "200 with the JSON value null"),
    FaultKind("huge", "200 with a chunked body larger than any client limit", ANY_STEP, "megabytes=64"),
    FaultKind(
        "gzip-bomb", "200 with a small gzip body that decompresses to a very large one", ANY_STEP, "megabytes=256"
    ),
    FaultKind("wrong-content-type", "the correct body with a wrong Content-Type", ANY_STEP, "type=text/html"),
    FaultKind("expired", "the media URL has expired", ("cdn",), "status=404|410|403"),
    FaultKind(
        "cdn-disconnect",
        "the connection closes early; Range requests work afterwards",
        ("cdn",),
        "at=BYTES (default: half)",
    ),
    FaultKind(
        "cdn-no-range",
        "like cdn-disconnect, and Range is ignored from then on: 200 with the full file",
        ("cdn",),
        "at=BYTES",
    ),
    FaultKind("cdn-html", "200 with an HTML page", ("cdn",)),
    FaultKind("cdn-json-error", "200 with a JSON error", ("cdn",)),
    FaultKind("cdn-empty", "200 with an empty body", ("cdn",)),
    FaultKind("cdn-truncated", "a truncated file with a matching Content-Length", ("cdn",), "at=BYTES"),
    FaultKind(
        "cdn-redirect",
        "302 to another URL",
        ("cdn",),
        "to=http://169.254.169.254/latest/meta-data/ | to=loop | to=same (one hop, to the media file)",
    ),
    FaultKind("cdn-slow", "a chunked body at a limited rate", ("cdn",), "rate=20000 (bytes per second)"),
    FaultKind("cdn-changed", "another file (and ETag) at the same URL from now on", ("cdn",)),
)

FAULT_KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _TABLE}

REJECTION_KINDS = frozenset(
    {"status", "credit", "unauthorized", "forbidden", "rate-limit", "server", "gateway", "loading", "no-route"}
)
CONNECTION_KINDS = frozenset(
    {
        "disconnect",
        "reset",
        "hang",
        "slow",
        "truncated-json",
        "truncated",
        "html",
        "empty",
        "null",
        "huge",
        "gzip-bomb",
        "wrong-content-type",
    }
)
JOB_OUTCOMES = frozenset({"moderated", "nsfw", "fail", "cold"})
SYNC_PROVIDERS = frozenset({"nscale", "hf-inference", "acme-images"})
NON_PROVIDER_TARGETS = frozenset({"hub", "cdn"})
FAULT_TARGETS = (*PROVIDERS, UNKNOWN_PROVIDER, "hub", "cdn", "*")


class Fault(msgspec.Struct):
    """A pending fault: hits `times` requests (None: all) at a step of a service, after skipping `after` of them."""

    provider: str
    kind: str
    step: str
    times: int | None = 1
    after: int = 0
    job_id: str | None = None
    details: dict[str, Any] = {}

    @property
    def is_deferred(self) -> bool:
        """True when it targets a later step of the job that this submission creates, not the submission itself."""
        return self.job_id == "new"

    def number(self, name: str, default: float) -> float:
        """Return a detail as a number."""
        return float(self.details.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """Return a detail as an integer."""
        return int(self.details.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """Return a detail as text."""
        return str(self.details.get(name, default))

    def flag(self, name: str) -> bool:
        """Return True when a detail is switched on."""
        return str(self.details.get(name, "")).lower() in {"1", "true", "yes", "on"}


def is_possible(provider: str, kind: str) -> bool:
    """Return True when a service can produce this kind of fault: one without jobs cannot lose a job."""
    fault_kind = FAULT_KINDS[kind]
    if provider == "hub":
        return "hub" in fault_kind.steps
    if provider == "cdn":
        return "cdn" in fault_kind.steps
    return not (fault_kind.requires_jobs and provider in SYNC_PROVIDERS)


def make_fault(
    provider: str,
    kind: str,
    *,
    times: int | None = 1,
    after: int = 0,
    step: str | None = None,
    **details: Any,
) -> Fault:
    """Create a validated fault. Raises FaultSpecError, a ValueError, naming the invalid part."""
    if provider not in FAULT_TARGETS:
        raise FaultSpecError(f"unknown provider {provider!r}; known: {', '.join(FAULT_TARGETS)}")
    fault_kind = FAULT_KINDS.get(kind)
    if fault_kind is None:
        raise FaultSpecError(f"unknown fault {kind!r}; known: {', '.join(FAULT_KINDS)}")
    resolved_step = step or (provider if provider in NON_PROVIDER_TARGETS else fault_kind.steps[0])
    if resolved_step not in STEPS:
        raise FaultSpecError(f"unknown step {resolved_step!r}; known: {', '.join(STEPS)}")
    if resolved_step not in fault_kind.steps:
        raise FaultSpecError(f"{kind} cannot occur at step {resolved_step}; supported: {', '.join(fault_kind.steps)}")
    if provider != "*" and not is_possible(provider, kind):
        raise FaultSpecError(f"{provider} has no jobs, so {kind} cannot occur there")
    if times is not None and times < 1:
        raise FaultSpecError("times must be at least 1, or None for every request")
    return Fault(provider, kind, resolved_step, times, after, None, details)


def parse_fault(text: str) -> Fault:
    """Parse PROVIDER:KIND[:TIMES][;detail=value…], where TIMES is a number or `all`. Raises FaultSpecError."""
    head, *detail_parts = text.split(";")
    provider, _, tail = head.strip().partition(":")
    if not tail:
        raise FaultSpecError(f"{text!r} is not a valid fault; use PROVIDER:KIND[:TIMES][;detail=value…]")
    kind, _, times = tail.partition(":")
    details = dict(part.strip().split("=", 1) for part in detail_parts if "=" in part)
    step = details.pop("step", None)
    try:
        after = int(details.pop("after", "0"))
        parsed_times = None if times == "all" else int(times or 1)
    except ValueError as error:
        raise FaultSpecError(f"{text!r}: TIMES must be an integer or `all`, and after= an integer") from error
    return make_fault(provider, kind, times=parsed_times, after=after, step=step, **details)


def parse_fault_header(text: str, provider: str, steps: Collection[str]) -> Fault:
    """Parse an `x-sandbox-fault: KIND[;detail=value…]` header, which applies to its own request only.

    Without `step=` it hits this request if the kind can occur here, otherwise a later step of the job it creates.
    """
    kind, _, detail_text = text.partition(";")
    matching_step = (
        next((step for step in FAULT_KINDS[kind.strip()].steps if step in steps), None)
        if kind.strip() in FAULT_KINDS
        else None
    )
    step_suffix = f";step={matching_step}" if matching_step and "step=" not in detail_text else ""
    return parse_fault(f"{provider}:{kind.strip()}" + step_suffix + (f";{detail_text}" if detail_text else ""))


class FaultRegistry:
    """Pending faults, oldest first."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self.pending.append(fault)

    def clear(self) -> None:
        """Remove every pending fault."""
        self.pending.clear()

    def take(self, provider: str, steps: Collection[str], job_id: str | None = None) -> Fault | None:
        """Return the first fault that hits this request, counted down; count down those that skip requests first."""
        for fault in self.pending:
            targets = {provider, "*", "cdn"} if fault.step == "cdn" else {provider, "*"}
            if fault.provider not in targets or fault.step not in steps:
                continue
            if fault.job_id is not None and fault.job_id != job_id:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.pending.remove(fault)
            return fault
        return None


def help_text() -> str:
    """Format the table of faults and the ways to inject them."""
    lines = [
        "Faults that the sandbox can inject",
        "",
        "Ways to inject a fault",
        "  Python         sandbox.fault(PROVIDER, KIND, times=1, after=0, step=None, **details)",
        "  command line   --fault 'PROVIDER:KIND[:TIMES][;detail=value…]'   TIMES is a number or `all`",
        "  environment    HFMEDIA_SANDBOX_FAULTS, the same syntax, comma-separated",
        "  request header x-sandbox-fault: KIND[;detail=value…]",
        '  HTTP           POST /sandbox/faults  {"provider": …, "kind": …, "times": …, …details}',
        "PROVIDER is a provider's name, hub, cdn, or * for any. Steps: " + ", ".join(STEPS) + ".",
        "The first step listed for a fault is its default. accepted=true counts a rejected submission as billed.",
        "",
    ]
    width = max(len(name) for name in FAULT_KINDS)
    for kind in _TABLE:
        lines.append(f"  {kind.name:<{width}}  {kind.description}")
        lines.append(f"  {'':<{width}}  at {', '.join(kind.steps)}" + (f"; {kind.details}" if kind.details else ""))
    return "\n".join(lines) + "\n"
