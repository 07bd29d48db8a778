"""How a batch stands before it goes on: what is there, what is under way, what is in doubt, and what is to be bought.

It asks the ledger and looks at files; it sends nothing, and an estimate is never added to a cost that was told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, field

from hfmedia.client import MediaClient
from hfmedia.core.answers import Cost
from hfmedia.core.costs import standing
from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import Job, State
from hfmedia.core.request import Task, parse_choice
from hfmedia.ledger import Ledger
from hfmedia.routing import routes, task_of
from hfmedia.store import Media

from .keys import Order

Stand = Literal["done", "fetch", "under way", "in doubt", "to do"]
STANDS: dict[State, Stand] = {
    "new": "under way",
    "ready": "under way",
    "running": "under way",
    "finished": "fetch",
    "sending": "in doubt",
    "doubt": "in doubt",
    "failed": "to do",
    "cancelled": "to do",
}
SAMPLES = 200  # past jobs of a model from which its cost is estimated, the latest
MOST_GROUPS = 200  # models that are looked up one by one; a sheet with more is told in sums
BEYOND = "(other models)"


class Found(Struct, frozen=True, kw_only=True):
    """How one output stands: its latest job, its files where they all lie there, and the jobs of it that failed.

    ``told`` are the lines of an old index that tell of it where the ledger knows nothing.
    """

    stand: Stand
    job: Job | None = None
    media: tuple[Media, ...] = ()
    failed: tuple[Job, ...] = ()
    told: tuple[dict[str, Any], ...] = ()

    def costs(self) -> list[Cost | None]:
        """What was paid for it so far, None for each payment of which nobody told the amount."""
        if self.told:
            with suppress(msgspec.ValidationError):  # somebody wrote into the index; then it is unknown
                return [msgspec.convert(self.told[0].get("cost"), Cost | None)]
            return [None]
        jobs = (*self.failed, *((self.job,) if self.job and self.stand == "done" else ()))
        return [job.cost for job in jobs if standing(job) != "free"]


class Group(Struct, frozen=True, kw_only=True):
    """Outputs to be bought of one model for one task, and what is known of that.

    ``provider`` is asked first, ``others`` after it. ``each`` is what one such output cost on average in ``samples``
    past jobs, by unit: an estimate. ``wrong`` says why nobody can be asked.
    """

    model: str
    task: str
    outputs: int
    provider: str | None = None
    others: tuple[str, ...] = ()
    each: dict[str, float] = field(default_factory=dict[str, float])
    samples: int = 0
    wrong: str | None = None
    exit_code: int = 0


class Plan(Struct, frozen=True, kw_only=True):
    """What a batch would do. ``stands`` counts outputs, ``groups`` are those to be bought, ``told`` is what is paid."""

    lines: int
    outputs: int
    stands: dict[str, int]
    groups: tuple[Group, ...]
    told: str = ""

    def estimate(self) -> dict[str, float]:
        """The groups' estimates by unit, added up."""
        sums: dict[str, float] = {}
        for group in self.groups:
            for unit, amount in group.each.items():
                sums[unit] = sums.get(unit, 0.0) + amount * group.outputs
        return sums

    def unknown(self) -> int:
        """Outputs of whose cost nothing is known."""
        return sum(group.outputs for group in self.groups if not group.each)


async def chain(ledger: Ledger, key: str) -> list[Job]:
    """The jobs that an idempotency key has had, oldest first: each but the last has failed or was cancelled."""
    found: list[Job] = []
    job = await ledger.find(key)
    while job is not None:
        found.append(job)
        if job.state not in ("failed", "cancelled"):
            break
        job = await ledger.find(f"{key}~{len(found) + 1}")  # as the engine names the next try
    return found


def stand_of(jobs: Sequence[Job]) -> Found:
    """How an output with these jobs stands; looks whether files are there."""
    if not jobs:
        return Found(stand="to do")
    *failed, job = jobs
    media: tuple[Media, ...] = ()
    if job.state == "stored":
        told: list[Mapping[str, Any]] = (job.media or {}).get("files", [])
        media = tuple(Media.of(facts) for facts in told)
        there = bool(media) and all(one.path.is_file() for one in media)
        return Found(stand="done" if there else "fetch", job=job, media=media if there else (), failed=tuple(failed))
    if STANDS[job.state] == "to do":
        failed.append(job)
    return Found(stand=STANDS[job.state], job=job, failed=tuple(failed))


def pinned(order: Order, found: Found) -> dict[str, Any]:
    """The order's wish, with the model and task of the job it has already, where it names none itself.

    The client chooses a model that is live now; the job was made with one that was live then.
    """
    job = found.job
    if job is None or found.stand == "to do":
        return order.wish
    named = {"model": job.choice or job.request.model, "task": job.request.task}
    return {**named, **order.wish}


class Groups:
    """Counts the outputs to be bought by model and task; a sheet of ten thousand models is told in sums."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, order: Order) -> None:
        """One more output."""
        kind = str(order.wish.get("model") or ""), str(order.wish.get("task") or _likely(order))
        if kind not in self.counts and len(self.counts) >= MOST_GROUPS:
            kind = BEYOND, ""
        self.counts[kind] += 1


def _likely(order: Order) -> str:
    return "image" if order.wish.get("image") else ""


async def looked_up(client: MediaClient, groups: Groups) -> tuple[Group, ...]:
    """Each group with who would be asked and what it cost before; one look at the Hub for each model."""
    return tuple([await _group(client, *kind, count) for kind, count in groups.counts.most_common()])


async def _group(client: MediaClient, model: str, task: str, outputs: int) -> Group:
    if model == BEYOND:
        return Group(model=BEYOND, task="", outputs=outputs)
    with_image = task.startswith("image")
    try:
        if not model:
            default: Task = "image-to-image" if with_image else "text-to-image"
            model = await client.default_model(default if task in ("", "image") else cast("Task", task))
        choice = parse_choice(model)
        mapping = await client.mapping(choice.model)
        known = task_of(mapping, choice, with_image=with_image) if task in ("", "image") else cast("Task", task)
        seen = await client.past.known()
        plan = routes(choice, known, mapping, client.settings, health=client.health, known=seen)
    except HfmediaError as error:
        return Group(model=model, task=task, outputs=outputs, wrong=error.message, exit_code=error.exit_code)
    names = tuple(dict.fromkeys(route.provider for route in plan.routes))
    each, samples = await _past(client.ledger, choice.model, names[0], known)
    told = {"provider": names[0], "others": names[1:], "each": each, "samples": samples}
    return Group(model=str(choice), task=known, outputs=outputs, **told)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def _past(ledger: Ledger, model: str, provider: str, task: str) -> tuple[dict[str, float], int]:
    """What one output cost on average, by unit, and of how many past jobs; nothing where none told a cost."""
    sums: dict[str, float] = {}
    count = 0
    async for job in ledger.jobs(model=model, provider=provider, newest_first=True, limit=SAMPLES):
        if job.cost is not None and job.request.task == task:
            count += 1
            sums[job.cost.unit] = sums.get(job.cost.unit, 0.0) + job.cost.amount
    return {unit: amount / count for unit, amount in sums.items()}, count


def inside(folder: Path, order: Order) -> str:
    """Where the client shall put an output: a file in the folder, or the folder itself, which ends in a slash."""
    return str(folder / order.output) if order.output else f"{folder}/"
