"""The faults that can be ordered from the sandbox, as one table, and the book that keeps the orders.

A fault is chosen here and nowhere else; what it looks like on the wire is each service's own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .catalogue import PROVIDERS, STRANGER

if TYPE_CHECKING:
    from collections.abc import Collection

STEPS = ("submit", "poll", "result", "cancel", "cdn", "hub")
API_STEPS = ("submit", "poll", "result", "cancel", "hub")
ANY_STEP = STEPS


class OrderError(ValueError):
    """An order that cannot be carried out; the words say why."""


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault: what it does, where it may strike (the first step is its default), its details."""

    name: str
    does: str
    steps: tuple[str, ...] = API_STEPS
    details: str = ""
    jobs_only: bool = False


_TABLE = (
    Kind("status", "any HTTP status, in the service's own error shape", ANY_STEP, "status=500 text=…"),
    Kind(
        "credit",
        "no credit: the router's 402; directly fal-ai 403, novita 400, nscale 429, zai-org 429 with code 1113, "
        "the others 402",
        details="by=provider (the provider's own answer although routed)",
    ),
    Kind("credential", "401: the credential is refused"),
    Kind("forbidden", "403: the credential may not do this"),
    Kind("busy", "429 with Retry-After", API_STEPS, "retry_after=1 (seconds; none to leave it out) date=true"),
    Kind("server", "500, or another 5xx", ANY_STEP, "status=500|503"),
    Kind("gateway", "502 or 504", ANY_STEP, "status=502|504"),
    Kind("loading", "503: the model is being loaded (hf-inference says for how long)", ("submit",)),
    Kind("no-route", '404 in plain text, "Cannot GET /…": the router does not know the address', API_STEPS),
    Kind("moderated", "the content is refused, in the service's own way", ("submit", "poll", "result")),
    Kind("nsfw", "done, but flagged and blacked out where the service does so; else as moderated", ("submit",)),
    Kind("fail", "the job is accepted, then fails", ("submit",), "text=…"),
    Kind("cold", "the job starts only after a long wait (65 s at speed 1)", ("submit",), "seconds=65", True),
    Kind("lost", "the job is forgotten: 404 from now on", ("poll", "result"), "", True),
    Kind("unknown-status", "a status word that nobody documents", ("poll", "submit"), "word=pondering", True),
    Kind("no-status", "the status field is left out", ("poll", "submit"), "", True),
    Kind("disconnect", "the socket closes before any reply; a job is accepted and counted first", ANY_STEP),
    Kind("reset", "as disconnect, with a TCP reset", ANY_STEP),
    Kind("hang", "no answer, ever; a job is accepted and counted first", ANY_STEP),
    Kind("slow", "the answer comes late", ANY_STEP, "seconds=2 (real seconds)"),
    Kind("half", "half of the JSON, in a reply that is whole by its Content-Length"),
    Kind("cut", "the connection ends in the middle of the body", API_STEPS),
    Kind("garbage", "200 with an HTML page where JSON belongs"),
    Kind("empty", "200 with no body"),
    Kind("null", "200 with the JSON value null"),
    Kind("huge", "200 with a chunked body beyond every limit", ANY_STEP, "megabytes=64"),
    Kind("bomb", "200 with a small gzip that unpacks to a very large body", ANY_STEP, "megabytes=256"),
    Kind("wrong-type", "the right body under a Content-Type that lies", ANY_STEP, "type=text/html"),
    Kind("expired", "the media address is over", ("cdn",), "status=404|410|403"),
    Kind("cdn-cut", "the connection ends early; Range is honoured afterwards", ("cdn",), "at=BYTES (default: half)"),
    Kind("cdn-norange", "as cdn-cut, and Range is ignored from then on: 200 with all of it", ("cdn",), "at=BYTES"),
    Kind("cdn-html", "200 with an HTML page", ("cdn",)),
    Kind("cdn-json-error", "200 with a JSON error", ("cdn",)),
    Kind("cdn-empty", "200 with nothing", ("cdn",)),
    Kind("cdn-truncated", "a short body whose Content-Length agrees with it", ("cdn",), "at=BYTES"),
    Kind(
        "cdn-redirect",
        "302 to another address",
        ("cdn",),
        "to=http://169.254.169.254/latest/meta-data/ | to=loop | to=same (one hop, to the media)",
    ),
    Kind("cdn-slow", "bytes at an ordered rate, chunked", ("cdn",), "rate=20000 (bytes a second)"),
    Kind("cdn-changed", "another file (and ETag) under the same address from now on", ("cdn",)),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}

REFUSALS = frozenset(
    {"status", "credit", "credential", "forbidden", "busy", "server", "gateway", "loading", "no-route"}
)
WIRE = frozenset(
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
FATES = frozenset({"moderated", "nsfw", "fail", "cold"})
SYNC_ONLY = frozenset({"nscale", "hf-inference", "acme-images"})
PLACES = frozenset({"hub", "cdn"})
SOMEBODY = (*PROVIDERS, STRANGER, "hub", "cdn", "*")


class Fault(msgspec.Struct):
    """One order: strike `times` requests (None: all) of a service's step, after letting `after` of them pass."""

    provider: str
    kind: str
    step: str
    times: int | None = 1
    after: int = 0
    job: str | None = None
    details: dict[str, Any] = {}

    @property
    def later(self) -> bool:
        """Whether it waits for the job that this submission makes, and leaves the submission itself alone."""
        return self.job == "new"

    def number(self, name: str, default: float) -> float:
        """A detail as a number."""
        return float(self.details.get(name, default))

    def whole(self, name: str, default: int) -> int:
        """A detail as an integer."""
        return int(self.details.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A detail as text."""
        return str(self.details.get(name, default))

    def says(self, name: str) -> bool:
        """Whether a detail is switched on."""
        return str(self.details.get(name, "")).lower() in {"1", "true", "yes", "on"}


def possible(provider: str, kind: str) -> bool:
    """Whether a service can show this kind at all: a service without jobs cannot lose one."""
    known = KINDS[kind]
    if provider == "hub":
        return "hub" in known.steps
    if provider == "cdn":
        return "cdn" in known.steps
    return not (known.jobs_only and provider in SYNC_ONLY)


def order(
    provider: str,
    kind: str,
    *,
    times: int | None = 1,
    after: int = 0,
    step: str | None = None,
    **details: Any,
) -> Fault:
    """A checked order. OrderError, a ValueError, names what is wrong with it."""
    if provider not in SOMEBODY:
        raise OrderError(f"nobody is called {provider!r}; known: {', '.join(SOMEBODY)}")
    known = KINDS.get(kind)
    if known is None:
        raise OrderError(f"no fault is called {kind!r}; known: {', '.join(KINDS)}")
    place = step or (provider if provider in PLACES else known.steps[0])
    if place not in STEPS:
        raise OrderError(f"no step is called {place!r}; known: {', '.join(STEPS)}")
    if place not in known.steps:
        raise OrderError(f"{kind} cannot strike at {place}; it can at {', '.join(known.steps)}")
    if provider != "*" and not possible(provider, kind):
        raise OrderError(f"{provider} has no jobs, so {kind} cannot happen there")
    if times is not None and times < 1:
        raise OrderError("times is at least 1, or None for always")
    return Fault(provider, kind, place, times, after, None, details)


def read(text: str) -> Fault:
    """An order written as PROVIDER:KIND[:TIMES][;detail=value…], where TIMES is a number or `all`."""
    head, *rest = text.split(";")
    provider, _, tail = head.strip().partition(":")
    if not tail:
        raise OrderError(f"{text!r} orders no fault; write PROVIDER:KIND[:TIMES][;detail=value…]")
    kind, _, times = tail.partition(":")
    details = dict(part.strip().split("=", 1) for part in rest if "=" in part)
    step = details.pop("step", None)
    try:
        after = int(details.pop("after", "0"))
        count = None if times == "all" else int(times or 1)
    except ValueError as error:
        raise OrderError(f"{text!r}: TIMES and after= are whole numbers, or TIMES is `all`") from error
    return order(provider, kind, times=count, after=after, step=step, **details)


def read_header(text: str, provider: str, steps: Collection[str]) -> Fault:
    """The order in an `x-sandbox-fault: KIND[;detail=value…]` header, for this request alone.

    Without `step=` it strikes this request where the kind can, and else a later step of the job it starts.
    """
    kind, _, rest = text.partition(";")
    here = next((step for step in KINDS[kind.strip()].steps if step in steps), None) if kind.strip() in KINDS else None
    place = f";step={here}" if here and "step=" not in rest else ""
    return read(f"{provider}:{kind.strip()}" + place + (f";{rest}" if rest else ""))


class FaultBook:
    """The orders not yet used up, oldest first."""

    def __init__(self) -> None:
        self.orders: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Take an order."""
        self.orders.append(fault)

    def clear(self) -> None:
        """Forget every order."""
        self.orders.clear()

    def take(self, provider: str, steps: Collection[str], job: str | None = None) -> Fault | None:
        """The first order that strikes this request, counted down; orders still waiting are counted down too."""
        for fault in self.orders:
            names = {provider, "*", "cdn"} if fault.step == "cdn" else {provider, "*"}
            if fault.provider not in names or fault.step not in steps:
                continue
            if fault.job is not None and fault.job != job:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.orders.remove(fault)
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
    width = max(len(name) for name in KINDS)
    for kind in _TABLE:
        lines.append(f"  {kind.name:<{width}}  {kind.does}")
        lines.append(f"  {'':<{width}}  at {', '.join(kind.steps)}" + (f"; {kind.details}" if kind.details else ""))
    return "\n".join(lines) + "\n"
