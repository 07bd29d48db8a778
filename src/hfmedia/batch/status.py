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
from hfmedia.core.costs import cost_status
from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import Job, State
from hfmedia.core.protocol import Cost
from hfmedia.core.request import Task, parse_model_spec
from hfmedia.ledger import Ledger
from hfmedia.routing import infer_task, plan_routes
from hfmedia.storage import Media

from .items import BatchItem

ItemStatus = Literal["done", "fetch", "under way", "in doubt", "to do"]
STATUS_OF_STATE: dict[State, ItemStatus] = {
    "new": "under way",
    "ready": "under way",
    "running": "under way",
    "finished": "fetch",
    "sending": "in doubt",
    "doubt": "in doubt",
    "failed": "to do",
    "cancelled": "to do",
}
MAX_SAMPLES = 200  # past jobs of a model from which its cost is estimated, the latest
MAX_GROUPS = 200  # models that are looked up one by one; a sheet with more is told in sums
OTHER_MODELS = "(other models)"


class ItemState(Struct, frozen=True, kw_only=True):
    """How one output stands: its latest job, its files where they all lie there, and the jobs of it that failed.

    ``told`` are the lines of an old index that tell of it where the ledger knows nothing.
    """

    status: ItemStatus
    job: Job | None = None
    media: tuple[Media, ...] = ()
    failed_jobs: tuple[Job, ...] = ()
    previous_lines: tuple[dict[str, Any], ...] = ()

    def costs(self) -> list[Cost | None]:
        """What was paid for it so far, None for each payment of which nobody told the amount."""
        if self.previous_lines:
            with suppress(msgspec.ValidationError):  # somebody wrote into the index; then it is unknown
                return [msgspec.convert(self.previous_lines[0].get("cost"), Cost | None)]
            return [None]
        jobs = (*self.failed_jobs, *((self.job,) if self.job and self.status == "done" else ()))
        return [job.cost for job in jobs if cost_status(job) != "free"]


class CostGroup(Struct, frozen=True, kw_only=True):
    """Outputs to be bought of one model for one task, and what is known of that.

    ``provider`` is asked first, ``others`` after it. ``each`` is what one such output cost on average in ``samples``
    past jobs, by unit: an estimate. ``wrong`` says why nobody can be asked.
    """

    model: str
    task: str
    outputs: int
    provider: str | None = None
    fallback_providers: tuple[str, ...] = ()
    unit_cost: dict[str, float] = field(default_factory=dict[str, float])
    samples: int = 0
    error: str | None = None
    exit_code: int = 0


class BatchPlan(Struct, frozen=True, kw_only=True):
    """What a batch would do. ``stands`` counts outputs, ``groups`` are those to be bought, ``told`` is what is paid."""

    lines: int
    outputs: int
    by_status: dict[str, int]
    groups: tuple[CostGroup, ...]
    reported_cost: str = ""

    def estimate(self) -> dict[str, float]:
        """The groups' estimates by unit, added up."""
        totals: dict[str, float] = {}
        for group in self.groups:
            for unit, amount in group.unit_cost.items():
                totals[unit] = totals.get(unit, 0.0) + amount * group.outputs
        return totals

    def outputs_of_unknown_cost(self) -> int:
        """Outputs of whose cost nothing is known."""
        return sum(group.outputs for group in self.groups if not group.unit_cost)


async def job_attempts(ledger: Ledger, key: str) -> list[Job]:
    """The jobs that an idempotency key has had, oldest first: each but the last has failed or was cancelled."""
    attempts: list[Job] = []
    job = await ledger.find_by_key(key)
    while job is not None:
        attempts.append(job)
        if job.state not in ("failed", "cancelled"):
            break
        job = await ledger.find_by_key(f"{key}~{len(attempts) + 1}")  # as the engine names the next try
    return attempts


def item_state(jobs: Sequence[Job]) -> ItemState:
    """How an output with these jobs stands; looks whether files are there."""
    if not jobs:
        return ItemState(status="to do")
    *failed_jobs, job = jobs
    media: tuple[Media, ...] = ()
    if job.state == "stored":
        stored_files: list[Mapping[str, Any]] = (job.media or {}).get("files", [])
        media = tuple(Media.from_dict(fields) for fields in stored_files)
        all_present = bool(media) and all(media_file.path.is_file() for media_file in media)
        return ItemState(
            status="done" if all_present else "fetch",
            job=job,
            media=media if all_present else (),
            failed_jobs=tuple(failed_jobs),
        )
    if STATUS_OF_STATE[job.state] == "to do":
        failed_jobs.append(job)
    return ItemState(status=STATUS_OF_STATE[job.state], job=job, failed_jobs=tuple(failed_jobs))


def with_pinned_model(item: BatchItem, state: ItemState) -> dict[str, Any]:
    """The order's wish, with the model and task of the job it has already, where it names none itself.

    The client chooses a model that is live now; the job was made with one that was live then.
    """
    job = state.job
    if job is None or state.status == "to do":
        return item.options
    pinned_options = {"model": job.requested_model or job.request.model, "task": job.request.task}
    return {**pinned_options, **item.options}


class CostGroups:
    """Counts the outputs to be bought by model and task; a sheet of ten thousand models is told in sums."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, item: BatchItem) -> None:
        """One more output."""
        group = str(item.options.get("model") or ""), str(item.options.get("task") or _task_hint(item))
        if group not in self.counts and len(self.counts) >= MAX_GROUPS:
            group = OTHER_MODELS, ""
        self.counts[group] += 1


def _task_hint(item: BatchItem) -> str:
    return "image" if item.options.get("image") else ""


async def estimate_groups(client: MediaClient, groups: CostGroups) -> tuple[CostGroup, ...]:
    """Each group with who would be asked and what it cost before; one look at the Hub for each model."""
    return tuple([await _estimate_group(client, *group, count) for group, count in groups.counts.most_common()])


async def _estimate_group(client: MediaClient, model: str, task: str, outputs: int) -> CostGroup:
    if model == OTHER_MODELS:
        return CostGroup(model=OTHER_MODELS, task="", outputs=outputs)
    with_image = task.startswith("image")
    try:
        if not model:
            default_task: Task = "image-to-image" if with_image else "text-to-image"
            model = await client.default_model(default_task if task in ("", "image") else cast("Task", task))
        model_spec = parse_model_spec(model)
        hub_model = await client.mapping(model_spec.model)
        resolved_task = (
            infer_task(hub_model, model_spec, with_image=with_image) if task in ("", "image") else cast("Task", task)
        )
        provider_stats = await client.stats.load()
        route_plan = plan_routes(
            model_spec, resolved_task, hub_model, client.settings, health=client.health, stats=provider_stats
        )
    except HfmediaError as error:
        return CostGroup(model=model, task=task, outputs=outputs, error=error.message, exit_code=error.exit_code)
    providers = tuple(dict.fromkeys(route.provider for route in route_plan.routes))
    unit_cost, samples = await _average_cost(client.ledger, model_spec.model, providers[0], resolved_task)
    estimate = {"provider": providers[0], "others": providers[1:], "each": unit_cost, "samples": samples}
    return CostGroup(model=str(model_spec), task=resolved_task, outputs=outputs, **estimate)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def _average_cost(ledger: Ledger, model: str, provider: str, task: str) -> tuple[dict[str, float], int]:
    """What one output cost on average, by unit, and of how many past jobs; nothing where none told a cost."""
    totals: dict[str, float] = {}
    count = 0
    async for job in ledger.iter_jobs(model=model, provider=provider, newest_first=True, limit=MAX_SAMPLES):
        if job.cost is not None and job.request.task == task:
            count += 1
            totals[job.cost.unit] = totals.get(job.cost.unit, 0.0) + job.cost.amount
    return {unit: amount / count for unit, amount in totals.items()}, count


def output_target(folder: Path, item: BatchItem) -> str:
    """Where the client shall put an output: a file in the folder, or the folder itself, which ends in a slash."""
    return str(folder / item.output) if item.output else f"{folder}/"
