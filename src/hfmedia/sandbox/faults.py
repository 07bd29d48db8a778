"""The faults that can be ordered from the sandbox, as one table, and the book that keeps the orders.

A fault is chosen here and nowhere else; what it looks like on the wire is each service's own affair.
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
    """An order that cannot be carried out; the words say why."""


class FaultKind(msgspec.Struct, frozen=True):
    """One kind of fault: what it does, where it may strike (the first step is its default), its details."""

    name: str
    description: str
    steps: tuple[str, ...] = API_STEPS
    details: str = ""
    requires_jobs: bool = False


_TABLE = (
    FaultKind("status", "any HTTP status, in the service's own error shape", ANY_STEP, "status=500 text=…"),
    FaultKind(
        "credit",
        "no credit: the router's 402; directly fal-ai 403, novita 400, nscale 429, zai-org 429 with code 1113, "
        "the others 402",
        details="by=provider (the provider's own answer although routed)",
    ),
    FaultKind("credential", "401: the credential is refused"),
    FaultKind("forbidden", "403: the credential may not do this"),
    FaultKind("busy", "429 with Retry-After", API_STEPS, "retry_after=1 (seconds; none to leave it out) date=true"),
    FaultKind("server", "500, or another 5xx", ANY_STEP, "status=500|503"),
    FaultKind("gateway", "502 or 504", ANY_STEP, "status=502|504"),
    FaultKind("loading", "503: the model is being loaded (hf-inference says for how long)", ("submit",)),
    FaultKind("no-route", '404 in plain text, "Cannot GET /…": the router does not know the address', API_STEPS),
    FaultKind("moderated", "the content is refused, in the service's own way", ("submit", "poll", "result")),
    FaultKind("nsfw", "done, but flagged and blacked out where the service does so; else as moderated", ("submit",)),
    FaultKind("fail", "the job is accepted, then fails", ("submit",), "text=…"),
    FaultKind("cold", "the job starts only after a long wait (65 s at speed 1)", ("submit",), "seconds=65", True),
    FaultKind("lost", "the job is forgotten: 404 from now on", ("poll", "result"), "", True),
    FaultKind("unknown-status", "a status word that nobody documents", ("poll", "submit"), "word=pondering", True),
    FaultKind("no-status", "the status field is left out", ("poll", "submit"), "", True),
    FaultKind("disconnect", "the socket closes before any reply; a job is accepted and counted first", ANY_STEP),
    FaultKind("reset", "as disconnect, with a TCP reset", ANY_STEP),
    FaultKind("hang", "no answer, ever; a job is accepted and counted first", ANY_STEP),
    FaultKind("slow", "the answer comes late", ANY_STEP, "seconds=2 (real seconds)"),
    FaultKind("half", "half of the JSON, in a reply that is whole by its Content-Length"),
    FaultKind("cut", "the connection ends in the middle of the body", API_STEPS),
    FaultKind("garbage", "200 with an HTML page where JSON belongs"),
    FaultKind("empty", "200 with no body"),
    FaultKind("null", "200 with the JSON value null"),
    FaultKind("huge", "200 with a chunked body beyond every limit", ANY_STEP, "megabytes=64"),
    FaultKind("bomb", "200 with a small gzip that unpacks to a very large body", ANY_STEP, "megabytes=256"),
    FaultKind("wrong-type", "the right body under a Content-Type that lies", ANY_STEP, "type=text/html"),
    FaultKind("expired", "the media address is over", ("cdn",), "status=404|410|403"),
    FaultKind(
        "cdn-cut", "the connection ends early; Range is honoured afterwards", ("cdn",), "at=BYTES (default: half)"
    ),
    FaultKind("cdn-norange", "as cdn-cut, and Range is ignored from then on: 200 with all of it", ("cdn",), "at=BYTES"),
    FaultKind("cdn-html", "200 with an HTML page", ("cdn",)),
    FaultKind("cdn-json-error", "200 with a JSON error", ("cdn",)),
    FaultKind("cdn-empty", "200 with nothing", ("cdn",)),
    FaultKind("cdn-truncated", "a short body whose Content-Length agrees with it", ("cdn",), "at=BYTES"),
    FaultKind(
        "cdn-redirect",
        "302 to another address",
        ("cdn",),
        "to=http://169.254.169.254/latest/meta-data/ | to=loop | to=same (one hop, to the media)",
    ),
    FaultKind("cdn-slow", "bytes at an ordered rate, chunked", ("cdn",), "rate=20000 (bytes a second)"),
    FaultKind("cdn-changed", "another file (and ETag) under the same address from now on", ("cdn",)),
)

FAULT_KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _TABLE}

REJECTION_KINDS = frozenset(
    {"status", "credit", "credential", "forbidden", "busy", "server", "gateway", "loading", "no-route"}
)
CONNECTION_KINDS = frozenset(
    {
        "disconnect",
        "reset",
        "hang",
        "slow",
        "half",
        "cut",
        "garbage",
        "empty",
        "null",
        "huge",
        "bomb",
        "wrong-type",
    }
)
JOB_OUTCOMES = frozenset({"moderated", "nsfw", "fail", "cold"})
SYNC_PROVIDERS = frozenset({"nscale", "hf-inference", "acme-images"})
NON_PROVIDER_TARGETS = frozenset({"hub", "cdn"})
FAULT_TARGETS = (*PROVIDERS, UNKNOWN_PROVIDER, "hub", "cdn", "*")


class Fault(msgspec.Struct):
    """One order: strike `times` requests (None: all) of a service's step, after letting `after` of them pass."""

    provider: str
    kind: str
    step: str
    times: int | None = 1
    after: int = 0
    job_id: str | None = None
    details: dict[str, Any] = {}

    @property
    def is_deferred(self) -> bool:
        """Whether it waits for the job that this submission makes, and leaves the submission itself alone."""
        return self.job_id == "new"

    def number(self, name: str, default: float) -> float:
        """A detail as a number."""
        return float(self.details.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """A detail as an integer."""
        return int(self.details.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A detail as text."""
        return str(self.details.get(name, default))

    def flag(self, name: str) -> bool:
        """Whether a detail is switched on."""
        return str(self.details.get(name, "")).lower() in {"1", "true", "yes", "on"}


def is_possible(provider: str, kind: str) -> bool:
    """Whether a service can show this kind at all: a service without jobs cannot lose one."""
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
    """A checked order. OrderError, a ValueError, names what is wrong with it."""
    if provider not in FAULT_TARGETS:
        raise FaultSpecError(f"nobody is called {provider!r}; known: {', '.join(FAULT_TARGETS)}")
    fault_kind = FAULT_KINDS.get(kind)
    if fault_kind is None:
        raise FaultSpecError(f"no fault is called {kind!r}; known: {', '.join(FAULT_KINDS)}")
    resolved_step = step or (provider if provider in NON_PROVIDER_TARGETS else fault_kind.steps[0])
    if resolved_step not in STEPS:
        raise FaultSpecError(f"no step is called {resolved_step!r}; known: {', '.join(STEPS)}")
    if resolved_step not in fault_kind.steps:
        raise FaultSpecError(f"{kind} cannot strike at {resolved_step}; it can at {', '.join(fault_kind.steps)}")
    if provider != "*" and not is_possible(provider, kind):
        raise FaultSpecError(f"{provider} has no jobs, so {kind} cannot happen there")
    if times is not None and times < 1:
        raise FaultSpecError("times is at least 1, or None for always")
    return Fault(provider, kind, resolved_step, times, after, None, details)


def parse_fault(text: str) -> Fault:
    """An order written as PROVIDER:KIND[:TIMES][;detail=value…], where TIMES is a number or `all`."""
    head, *detail_parts = text.split(";")
    provider, _, tail = head.strip().partition(":")
    if not tail:
        raise FaultSpecError(f"{text!r} orders no fault; write PROVIDER:KIND[:TIMES][;detail=value…]")
    kind, _, times = tail.partition(":")
    details = dict(part.strip().split("=", 1) for part in detail_parts if "=" in part)
    step = details.pop("step", None)
    try:
        after = int(details.pop("after", "0"))
        parsed_times = None if times == "all" else int(times or 1)
    except ValueError as error:
        raise FaultSpecError(f"{text!r}: TIMES and after= are whole numbers, or TIMES is `all`") from error
    return make_fault(provider, kind, times=parsed_times, after=after, step=step, **details)


def parse_fault_header(text: str, provider: str, steps: Collection[str]) -> Fault:
    """The order in an `x-sandbox-fault: KIND[;detail=value…]` header, for this request alone.

    Without `step=` it strikes this request where the kind can, and else a later step of the job it starts.
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
    """The orders not yet used up, oldest first."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Take an order."""
        self.pending.append(fault)

    def clear(self) -> None:
        """Forget every order."""
        self.pending.clear()

    def take(self, provider: str, steps: Collection[str], job_id: str | None = None) -> Fault | None:
        """The first order that strikes this request, counted down; orders still waiting are counted down too."""
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
    """The table of faults and how to order them, for people."""
    lines = [
        "Faults that the sandbox can make",
        "",
        "Order them",
        "  in Python      world.fault(PROVIDER, KIND, times=1, after=0, step=None, **details)",
        "  on a command   --fault 'PROVIDER:KIND[:TIMES][;detail=value…]'   TIMES is a number or `all`",
        "  by environment HFMEDIA_SANDBOX_FAULTS, the same orders, comma separated",
        "  on a request   header x-sandbox-fault: KIND[;detail=value…]",
        '  over HTTP      POST /sandbox/faults  {"provider": …, "kind": …, "times": …, …details}',
        "PROVIDER is a provider's name, hub, cdn, or * for any. Steps: " + ", ".join(STEPS) + ".",
        "Of a kind's steps the first is its default. accepted=true makes a refused submission count as billed.",
        "",
    ]
    width = max(len(name) for name in FAULT_KINDS)
    for kind in _TABLE:
        lines.append(f"  {kind.name:<{width}}  {kind.description}")
        lines.append(f"  {'':<{width}}  at {', '.join(kind.steps)}" + (f"; {kind.details}" if kind.details else ""))
    return "\n".join(lines) + "\n"
