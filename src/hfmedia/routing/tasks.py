"""The task that a model does, where the user did not say."""

from __future__ import annotations

from hfmedia.core.hub_models import HubModel
from hfmedia.core.request import TASKS, ModelSpec, Task


def infer_task(model: HubModel, model_spec: ModelSpec, *, with_image: bool) -> Task:
    """What a model does, when the user did not say: the first live task that fits the input."""
    live_tasks = [
        mapping.task for mapping in model.live_mappings() if model_spec.provider in (None, mapping.provider)
    ] or [mapping.task for mapping in model.mappings]
    task_prefix = "image-to" if with_image else "text-to"
    for task in TASKS:
        if task in live_tasks and task.startswith(task_prefix):
            return task
    return "image-to-image" if with_image else "text-to-image"
