"""HuggingFaceMedia with the sandbox, with separate class attributes for each test."""

from __future__ import annotations

import pytest

from hfmedia import HuggingFaceMedia
from tests.sync.conftest import sandbox

__all__ = ["sandbox"]


@pytest.fixture(autouse=True)
def fresh_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the caches of the class for each test."""
    for name in ("provider_mapping", "task_mapping"):
        monkeypatch.setattr(HuggingFaceMedia, name, {})
    for name in ("models", "image_models", "video_models"):
        monkeypatch.setattr(HuggingFaceMedia, name, [])
