"""The README and its section about the gateway, whose examples need a running gateway."""

from __future__ import annotations

from pathlib import Path

README_TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
GATEWAY_SECTION = README_TEXT[README_TEXT.index("## The gateway") : README_TEXT.index("## The command")]
