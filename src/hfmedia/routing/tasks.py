"""The task that a model does, where the user did not say."""

from __future__ import annotations

from hfmedia.core.mapping import Model
from hfmedia.core.request import TASKS, Choice, Task


def task_of(model: Model, choice: Choice, *, with_image: bool) -> Task:
    """What a model does, when the user did not say: the first live task that fits the input."""
    able = [m.task for m in model.live() if choice.provider in (None, m.provider)] or [m.task for m in model.mappings]
    wanted = "image-to" if with_image else "text-to"
    for task in TASKS:
        if task in able and task.startswith(wanted):
            return task
    return "image-to-image" if with_image else "text-to-image"
