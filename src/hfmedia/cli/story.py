"""A job in words: its state, its age, its cost, what happened to it, and what to do next.

Pure: the time, and what is there of its files, are told by the caller. Nothing secret gets through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from hfmedia.core import job as life
from hfmedia.core.answers import Route
from hfmedia.core.costs import standing
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, Fact, Job, State
from hfmedia.core.wire import redact
from hfmedia.providers import provider as provider_named
from hfmedia.store.facts import plain as cleaned

from .voice import plain

WORDS: dict[State, str] = {
    "new": "not sent",
    "ready": "not sent",
    "sending": "being sent",
    "doubt": "in doubt",
    "running": "running",
    "finished": "made, not here yet",
    "stored": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
AGES = ((86_400 * 2, 86_400, "days"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Standing(Struct, frozen=True, kw_only=True):
    """A job with what the ledger cannot tell of it.

    ``carrier``: the number of the living process that carries it, empty where none does. ``gone``: files of it that
    are no longer where they were put. ``now``: unix seconds.
    """

    job: Job
    carrier: str = ""
    gone: tuple[str, ...] = ()
    now: float = 0.0

    @property
    def askable(self) -> bool:
        """Whether the provider can be asked which jobs it has."""
        return self.job.route is not None and provider_named(self.job.route.provider).finds


# -- reading what a person wrote --------------------------------------------------------------------------------------


def named_states(texts: Sequence[str]) -> tuple[State, ...] | None:
    """The states that are meant, by name (``stored``) or in the words of the list (``done``); None for none named."""
    found: list[State] = []
    for text in texts:
        said = text.strip().lower()
        meant: list[State] = [one for one in STATES if said in (one, WORDS[one], WORDS[one].replace(" ", "-"))]
        if not meant:
            raise InvalidRequestError(f"unknown state {text!r}; there are {', '.join(STATES)}")
        found += meant
    return tuple(dict.fromkeys(found)) or None


def moment(text: str, now: float, *, option: str) -> float:
    """The time that is meant, in unix seconds: so long ago (``2d``, ``3h``), or a date, local unless it says more."""
    said = text.strip()
    if found := re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", said.lower()):
        return now - float(found[1]) * SPANS[found[2]]
    try:
        return datetime.fromisoformat(said).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidRequestError(
            f"{option} {text!r} is neither a span such as 30m, 3h, 2d or 4w nor a date such as 2025-11-03"
        ) from None


def chosen(text: str, ids: Collection[str]) -> str:
    """The one id that begins so; InvalidRequestError for none or several, which it lists."""
    said = text.strip().lower()
    found = [said] if said in ids else sorted(one for one in ids if said and one.startswith(said))
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidRequestError(f"no job begins with {text!r}; `hfmedia jobs list --all` shows every job")
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    raise InvalidRequestError(f"{len(found)} jobs begin with {text!r}: {shown}; write more of it")


# -- telling ----------------------------------------------------------------------------------------------------------


def line(text: str | None) -> str:
    """Words from elsewhere as one line, with no secret and nothing that a terminal obeys."""
    return plain(" ".join(redact(text or "").split()))


def cut(text: str, width: int) -> str:
    """The beginning of a text that fits into so many characters."""
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + ELLIPSIS


def age(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5 h``, ``2 days``; a clock that jumped back makes nothing younger than 0 s."""
    told = max(0.0, seconds)
    size, unit = next((size, unit) for least, size, unit in AGES if told >= least)
    return f"{told / size:.0f} {unit}"


def clock(at: float) -> str:
    """A time as the person here writes it: ``2025-11-03 14:05:01``."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def day(at: float) -> str:
    """The day of a time, here: ``2025-11-03``."""
    return datetime.fromtimestamp(at).date().isoformat()


def iso(at: float) -> str:
    """A time for programs: ``2025-11-03T13:05:01.250Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def money(told: Mapping[str, float]) -> str:
    """Amounts by unit: ``$0.03 + 2 fal-units``; ``unknown`` where nothing was told."""
    shown = {unit: f"{amount:.6g}" for unit, amount in told.items()}
    for unit, digits in shown.items():
        if "e-" in digits:  # nobody reads $1.25e-06
            shown[unit] = f"{told[unit]:.12f}".rstrip("0").rstrip(".")
    return (
        " + ".join(f"${digits}" if unit == "USD" else f"{digits} {unit}" for unit, digits in shown.items()) or "unknown"
    )


def cost(job: Job) -> str:
    """What a job cost: as reported, ``unknown``, or ``nothing`` where no provider ever accepted it."""
    known = standing(job)
    if job.cost is None:
        return "nothing" if known == "free" else "unknown"
    told = money({job.cost.unit: job.cost.amount})
    return told if known == "known" else f"{told} and what nobody told"


def provider(job: Job) -> str:
    """Who has the job, or ``-`` where nobody had it yet."""
    return plain(job.route.provider) if job.route else "-"


def files(job: Job) -> tuple[str, ...]:
    """Where the media of a job were put."""
    return tuple(str(facts["path"]) for facts in (job.media or {}).get("files", ()))


def way(route: Route) -> str:
    """``replicate, through the router, with HF_TOKEN``: the credential by its name."""
    return f"{route.provider}, {'through the router' if route.via == 'router' else 'directly'}, with {route.credential}"


def state(job: Job) -> str:
    """The state of a job, in a word or two."""
    return WORDS[job.state]


def why(job: Job) -> str | None:
    """What went wrong, where that is how the job stands; what was refused before and is over is not told."""
    return line(job.error) if job.error and job.state in ("failed", "cancelled", "doubt", "ready") else None


def next_step(stand: Standing) -> str | None:
    """What a person can do for this job now; None where nothing is left to do."""
    job = stand.job
    who = provider(job)
    resume = f"`hfmedia jobs resume {job.id}`"
    if job.state == "doubt":
        ask = f"`hfmedia jobs resolve {job.id}"
        first = f"ask {who} with {ask} --ask`, or look" if stand.askable else "look"
        return f"{first} at {who}'s own dashboard, then {ask} --drop`, or `--resend`, which may be paid twice"
    if stand.carrier and not job.ended:
        return f"wait: process {stand.carrier} is carrying it"
    if words := lost(stand):
        return words
    match job.state:
        case "new" | "ready":
            return f"{resume} sends it, `hfmedia jobs cancel {job.id}` does not"
        case "running":
            return f"{resume} carries it on, without paying again"
        case "finished":
            return f"{resume} fetches it, while {who} still has it"
        case "stored" if stand.gone:
            return f"its file is gone; {resume} fetches it again, while {who} still has it"
        case _:
            return None


def lost(stand: Standing) -> str | None:
    """Why carrying a job on would come to nothing, where that can be told beforehand."""
    job = stand.job
    if job.state in ("new", "ready") and job.request.image is not None and job.request.image.url is None:
        return f"its input image is not kept: ask for it again, and `hfmedia jobs cancel {job.id}`"
    away = job.state == "finished" or (job.state == "stored" and bool(stand.gone))
    if away and not any(output.url for output in job.outputs):
        return f"its media came inside {provider(job)}'s answer and is not here: it can only be made again"
    return None


def hint(stand: Standing) -> str:
    """The last column of a list: what to do, else why it failed, else where the file lies."""
    return next_step(stand) or why(stand.job) or ", ".join(_near(path) for path in files(stand.job))


def deed(fact: Fact) -> str:
    """What happened, in a sentence without a full stop."""
    match fact:
        case life.Created():
            model = fact.choice or fact.request.model
            return f"created: {fact.request.task} with {line(model)}"
        case life.Routed():
            told = "; ".join(line(words) for words in fact.warnings)
            return f"goes to {line(way(fact.route))}" + (f" ({told})" if told else "")
        case life.Sending():
            return f"sent, attempt {fact.attempt}"
        case life.Accepted():
            return f"accepted; the provider's id for it: {line(fact.handle.id)}"
        case life.Refused():
            return f"not accepted: {line(fact.message)}"
        case life.Doubted():
            return f"in doubt: {line(fact.message)}"
        case life.Resolved():
            return "resolved: " + ("to be sent again" if fact.decision == "resend" else "dropped")
        case life.Made():
            told = money({fact.cost.unit: fact.cost.amount}) if fact.cost else "not told"
            return f"made: {len(fact.outputs)} output{'s' if len(fact.outputs) != 1 else ''}, cost {told}"
        case life.Stored():
            return f"stored: {', '.join(plain(str(one['path'])) for one in fact.media.get('files', ()))}"
        case life.Broken():
            return f"failed: {line(fact.message)}"
        case life.Stopped():
            return f"cancelled: {stopped(fact)}"
        case _:
            return type(fact).__name__.lower()


def stopped(fact: life.Stopped) -> str:
    """Whether a cancel reached the provider, and what that means for the bill."""
    if fact.reached is None:
        return "nothing was sent, so there is nothing to pay"
    if fact.reached:
        return "the provider agreed to stop"
    told = line(fact.message) or "the provider did not say that it would stop"
    return told if "billed" in told else f"{told}; it may still be billed"


def about(stand: Standing) -> list[tuple[str, str]]:
    """Everything that is known of a job beside what happened, as names and words; empty words where nothing is."""
    job = stand.job
    asked = job.sent_request or job.request
    parameters = ", ".join(f"{name} {value}" for name, value in cleaned(asked.parameters()).items())
    return [
        ("job", job.id),
        ("state", state(job) + (f": {why(job)}" if why(job) else "")),
        ("next", next_step(stand) or ""),
        ("provider", line(way(job.route)) if job.route else "none chosen yet"),
        ("the provider's id", line(job.handle.id) if job.handle else ""),
        ("model", f"{line(job.request.model)} ({job.request.task})"),
        ("prompt", line(job.request.prompt)),
        ("asked for", line(parameters)),
        ("seed", "" if job.seed is None else str(job.seed)),
        ("created", f"{clock(job.created)} ({age(stand.now - job.created)} ago)"),
        ("attempts", str(job.attempts)),
        *(("refused", line(words)) for words in job.refusals),
        ("cost", cost(job) + (" (as the provider reported it)" if job.cost else "")),
        ("took", ", ".join(f"{line(name)} {seconds:.3g} s" for name, seconds in job.timings.items())),
        *(("file", plain(path) + (" (no longer there)" if path in stand.gone else "")) for path in files(job)),
        *(("warning", line(words)) for words in job.warnings),
        ("idempotency key", line(job.key)),
    ]


# -- as plain data ----------------------------------------------------------------------------------------------------


def facts(stand: Standing) -> dict[str, Any]:
    """A job as plain JSON data. An unknown cost is null; ``next`` is null where there is nothing to do."""
    job = stand.job
    return {
        "job_id": job.id,
        "state": job.state,
        "words": state(job),
        "carried_by": stand.carrier or None,
        "provider": job.route.provider if job.route else None,
        "model": job.request.model,
        "task": job.request.task,
        "prompt": job.request.prompt,
        "index": job.index,
        "key": job.key,
        "created": iso(job.created),
        "updated": iso(job.updated),
        "age": round(max(0.0, stand.now - job.created), 3),
        "attempts": job.attempts,
        "cost": {"amount": job.cost.amount, "unit": job.cost.unit} if job.cost else None,
        "cost_known": standing(job) != "unknown",
        "files": [{"path": path, "there": path not in stand.gone} for path in files(job)],
        "error": why(job),
        "next": next_step(stand),
    }


def more(job: Job) -> dict[str, Any]:
    """What is told of one job alone, as plain JSON data."""
    route = job.route
    asked = job.sent_request or job.request
    return {
        "via": route.via if route else None,
        "key_name": route.credential if route else None,
        "provider_model": route.provider_id if route else None,
        "provider_job": job.handle.id if job.handle else None,
        "parameters": asked.parameters(),
        "seed": job.seed,
        "timings": job.timings,
        "refusals": [line(words) for words in job.refusals],
        "warnings": [line(words) for words in job.warnings],
    }


def event(fact: Fact) -> dict[str, Any]:
    """A fact as plain JSON data."""
    return {"event": str(type(fact).__struct_config__.tag), "at": iso(fact.at), "words": deed(fact)}


def _near(path: str) -> str:
    """A path from the current folder, where it lies below it."""
    from .show import relative

    return plain(relative(Path(path)))
