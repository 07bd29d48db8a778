"""The published class in a simulated world, with class attributes of its own for each test."""

from __future__ import annotations

import pytest

from hfmedia import HuggingFaceMedia
from tests.sync.conftest import town

__all__ = ["town"]


@pytest.fixture(autouse=True)
def fresh_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test makes the class remember, another does not know."""
    for name in ("provider_mapping", "task_mapping"):
        monkeypatch.setattr(HuggingFaceMedia, name, {})
    for name in ("models", "image_models", "video_models"):
        monkeypatch.setattr(HuggingFaceMedia, name, [])
