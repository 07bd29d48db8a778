"""Cost estimates of a batch: its pending outputs by model and task, and the average cost of similar past jobs.

Looks up models on the Hub and reads the ledger; submits nothing. Estimates are never added to reported costs.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

from msgspec import Struct, field

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import Task, parse_model_spec
from hfmedia.ledger import Ledger
from hfmedia.routing import infer_task, plan_routes

from .items import BatchItem

MAX_SAMPLES = 200  # past jobs of a model from which its cost is estimated, the latest
MAX_GROUPS = 200  # models that are looked up one by one; further models are summed up
OTHER_MODELS = "(other models)"


class CostGroup(Struct, frozen=True, kw_only=True):
    """Pending outputs of one model and task.

    Attributes:
        model: the model, with its provider or policy where one is named.
        task: the task.
        outputs: their number.
        provider: the provider that is tried first.
        fallback_providers: the ones after it, in order.
        unit_cost: the average cost of one such output in past jobs, by unit: an estimate.
        samples: the number of past jobs.
        error: why no provider can be used.
        exit_code: the exit code of that error.
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
    """What a batch would do: outputs by status, the groups of pending ones, and the cost reported so far."""

    lines: int
    outputs: int
    by_status: dict[str, int]
    groups: tuple[CostGroup, ...]
    reported_cost: str = ""

    def estimate(self) -> dict[str, float]:
        """Return the sum of the groups' estimates, by unit."""
        totals: dict[str, float] = {}
        for group in self.groups:
            for unit, amount in group.unit_cost.items():
                totals[unit] = totals.get(unit, 0.0) + amount * group.outputs
        return totals

    def outputs_of_unknown_cost(self) -> int:
        """Return the number of pending outputs without an estimate."""
        return sum(group.outputs for group in self.groups if not group.unit_cost)


class CostGroups:
    """Counter of pending outputs by model and task; beyond ``MAX_GROUPS`` models the rest is one group."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, item: BatchItem) -> None:
        """Count one more output."""
        group = str(item.options.get("model") or ""), str(item.options.get("task") or _task_hint(item))
        if group not in self.counts and len(self.counts) >= MAX_GROUPS:
            group = OTHER_MODELS, ""
        self.counts[group] += 1


def _task_hint(item: BatchItem) -> str:
    return "image" if item.options.get("image") else ""


async def estimate_groups(client: MediaClient, groups: CostGroups) -> tuple[CostGroup, ...]:
    """Return each group with its providers and its estimate; one lookup on the Hub for each model."""
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
    provider, *fallback_providers = dict.fromkeys(route.provider for route in route_plan.routes)
    unit_cost, samples = await _average_cost(client.ledger, model_spec.model, provider, resolved_task)
    return CostGroup(
        model=str(model_spec),
        task=resolved_task,
        outputs=outputs,
        provider=provider,
        fallback_providers=tuple(fallback_providers),
        unit_cost=unit_cost,
        samples=samples,
    )


async def _average_cost(ledger: Ledger, model: str, provider: str, task: str) -> tuple[dict[str, float], int]:
    """Return the average reported cost of one output by unit, and the number of jobs; empty where none reported one."""
    totals: dict[str, float] = {}
    count = 0
    async for job in ledger.iter_jobs(model=model, provider=provider, newest_first=True, limit=MAX_SAMPLES):
        if job.cost is not None and job.request.task == task:
            count += 1
            totals[job.cost.unit] = totals.get(job.cost.unit, 0.0) + job.cost.amount
    return {unit: amount / count for unit, amount in totals.items()}, count
