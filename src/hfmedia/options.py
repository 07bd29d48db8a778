"""Keyword options of the public API as types, and the default models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from .core.request import Task
from .core.timeouts import Timeouts

# Well-known models that several providers serve, tried in this order when the caller chooses none.
DEFAULT_MODELS: dict[Task, tuple[str, ...]] = {
    "text-to-image": ("black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev", "Qwen/Qwen-Image"),
    "text-to-video": ("Wan-AI/Wan2.2-T2V-A14B", "Lightricks/LTX-Video", "tencent/HunyuanVideo"),
    "image-to-image": ("black-forest-labs/FLUX.1-Kontext-dev", "Qwen/Qwen-Image-Edit"),
    "image-to-video": ("Wan-AI/Wan2.2-I2V-A14B", "Lightricks/LTX-Video"),
}


class TargetSize(TypedDict):
    """A size in pixels, in huggingface_hub's form."""

    width: int
    height: int


class GenerationOptions(TypedDict, total=False):
    """Keyword options of every task; the names are those of huggingface_hub.

    ``model`` is ``org/name``, ``org/name:provider`` or ``org/name:fastest`` (``cheapest``, ``preferred``). ``timeout``
    is in seconds, 0 for no limit. ``output`` is a file, or a folder when it is one or ends in a slash. ``extra_body``
    is passed through to the provider's own JSON unchanged. The parameters are explained in core/parameters.py.
    """

    model: str | None
    target_size: TargetSize | None
    extra_body: Mapping[str, Any] | None
    timeout: float | Timeouts | None
    output: str | os.PathLike[str] | None
    # parameters: copied from core/parameters.py by `make options`
    negative_prompt: str | list[str] | None
    width: int | None
    height: int | None
    aspect_ratio: str | None
    resolution: str | None
    seed: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    scheduler: str | None
    strength: float | None
    quality: str | None
    # end of parameters


class VideoGenerationOptions(GenerationOptions, total=False):
    """Keyword options of a video task: those of any task, and the length in frames or seconds."""

    # video parameters: copied from core/parameters.py by `make options`
    num_frames: int | None
    seconds: float | None
    fps: int | None
    # end of video parameters
