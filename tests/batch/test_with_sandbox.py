"""Batches with the real client and its ledger, against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfmedia.batch import Batch, InvalidInputFileError
from hfmedia.client import MediaClient
from hfmedia.core.errors import ContentPolicyError, InDoubtError
from hfmedia.engine import JobFailed, MediaReady
from hfmedia.sandbox import Sandbox

FLUX = "black-forest-labs/FLUX.1-schnell"


async def run_to_end(batch: Batch) -> Batch:
    """The batch after its run."""
    async with batch:
        async for _ in batch.run():
            pass
    return batch


async def test_a_second_run_does_only_what_is_missing(client: MediaClient, world: Sandbox, tmp_path: Path) -> None:
    """One more line is one more job, a changed line is a new job, another order changes nothing."""
    source = tmp_path / "a.jsonl"
    lines = ['{"prompt": "a fox"}', '{"prompt": "a whale", "seed": 7}', '{"prompt": "a fox"}']
    defaults = {"model": f"{FLUX}:together"}
    runs = [(lines, 3), (lines, 3), (lines[::-1], 3), ([*lines, '{"prompt": "a bear"}'], 4)]
    runs.append((['{"prompt": "a fox"}', '{"prompt": "a whale", "seed": 8}', '{"prompt": "a fox"}'], 5))
    for content, submissions in runs:
        source.write_text("\n".join(content))
        batch = await run_to_end(Batch(client, source, tmp_path / "out", defaults=defaults))
        assert batch.stats.done == len(content)
        assert world.submissions.total() == submissions
    index = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in index}) == len(index) == 5


async def test_failed_outputs_are_retried_and_deleted_ones_downloaded_again(
    client: MediaClient, world: Sandbox, tmp_path: Path
) -> None:
    """Only the failed one is submitted again."""
    rows = [{"prompt": f"fox {number}"} for number in range(4)]
    options: dict[str, Any] = {"defaults": {"model": f"{FLUX}:replicate"}, "concurrency": 1}
    world.fault("replicate", "fail", times=1)
    first = await run_to_end(Batch(client, rows, tmp_path / "out", **options))
    assert (first.stats.newly_done, first.stats.failed) == (3, 1)
    images = [path for path in (tmp_path / "out").iterdir() if path.suffix in (".jpg", ".png", ".webp")]
    images[0].unlink()
    second = await run_to_end(Batch(client, rows, tmp_path / "out", **options))
    assert (second.stats.previously_done, second.stats.newly_done, second.stats.failed) == (2, 2, 0)
    assert world.submissions["replicate"] == 5


async def test_a_job_in_doubt_is_reported_and_never_resent(client: MediaClient, world: Sandbox, tmp_path: Path) -> None:
    """However often the batch runs; the plan shows it as well."""
    rows = [{"prompt": f"fox {number}", "model": f"{FLUX}:fal-ai"} for number in range(3)]
    world.fault("fal-ai", "truncated", times=1, step="submit")
    for _ in range(3):
        batch = await run_to_end(Batch(client, rows, tmp_path / "out", concurrency=1))
        assert (batch.stats.done, batch.stats.in_doubt) == (2, 1)
        assert world.submissions["fal-ai"] <= 3
    async with Batch(client, rows, tmp_path / "out") as batch:
        assert (await batch.plan()).by_status["in_doubt"] == 1


async def test_errors_of_one_line_are_typed(client: MediaClient, world: Sandbox, tmp_path: Path) -> None:
    """As the client raises them, each with its line."""
    world.fault("fal-ai", "moderated", times=1)
    rows = [{"prompt": "a", "model": f"{FLUX}:fal-ai"}, {"prompt": "b", "model": "unknown/model"}]
    async with Batch(client, rows, tmp_path / "out") as batch:
        events = [event async for event in batch.run() if isinstance(event.event, JobFailed | MediaReady)]
    kinds = {
        event.item.line: type(event.event.error).__name__ for event in events if isinstance(event.event, JobFailed)
    }
    assert kinds[1] == ContentPolicyError.__name__
    assert kinds[2] == "ModelNotFoundError"
    assert InDoubtError.__name__ not in kinds.values()


async def test_an_invalid_line_sends_nothing(client: MediaClient, world: Sandbox, tmp_path: Path) -> None:
    """Not even a request to the Hub; the folder is not created."""
    rows = [{"prompt": "a", "model": FLUX}] * 5 + [{"prompt": ""}]
    with pytest.raises(InvalidInputFileError):
        await run_to_end(Batch(client, rows, tmp_path / "out"))
    assert world.requests == []
    assert not (tmp_path / "out").exists()


async def test_a_plan_shows_what_would_be_done_and_sends_nothing(
    client: MediaClient, world: Sandbox, tmp_path: Path
) -> None:
    """Providers, existing results and past costs, with one lookup on the Hub for each model."""
    known = [{"prompt": f"fox {number}", "model": f"{FLUX}:wavespeed"} for number in range(2)]
    await run_to_end(Batch(client, known, tmp_path / "out"))
    world.clear()
    more = [{"prompt": f"bear {number}", "model": f"{FLUX}:wavespeed"} for number in range(10)]
    others: list[dict[str, Any]] = [{"prompt": "a", "model": "Lightricks/LTX-Video", "task": "text-to-video"}]
    invalid = [{"prompt": "a", "model": "unknown/model"}]
    async with Batch(client, [*known, *more, *others, *invalid], tmp_path / "out") as batch:
        plan = await batch.plan()
    assert (plan.lines, plan.outputs, plan.by_status["done"], plan.by_status["pending"]) == (14, 14, 2, 12)
    groups = {group.model: group for group in plan.groups}
    flux = groups[f"{FLUX}:wavespeed"]
    assert (flux.outputs, flux.provider, flux.task, flux.samples) == (
        10,
        "wavespeed",
        "text-to-image",
        len(flux.unit_cost) * 2,
    )
    assert groups["Lightricks/LTX-Video"].provider
    assert groups["Lightricks/LTX-Video"].unit_cost == {}
    assert groups["unknown/model"].error
    assert plan.outputs_of_unknown_cost() == sum(group.outputs for group in plan.groups if not group.unit_cost)
    assert {request.kind for request in world.requests} <= {"hub"}
    assert len(world.requests) <= 3


async def test_without_a_model_the_one_of_the_first_run_is_kept(client: MediaClient, tmp_path: Path) -> None:
    """Another default model tomorrow does not create another job."""
    rows = [{"prompt": "a fox"}]
    await run_to_end(Batch(client, rows, tmp_path / "out"))
    picture = next((tmp_path / "out").glob("*.jpg"))
    picture.unlink()

    async def other(task: str) -> str:
        return "black-forest-labs/FLUX.1-dev"

    client.default_model = other  # type: ignore[method-assign]
    batch = await run_to_end(Batch(client, rows, tmp_path / "out"))
    assert (batch.stats.newly_done, batch.stats.failed) == (1, 0)
