"""Idempotency keys are stored in ledgers: a batch that the version before the redesign ran is recognized as done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfmedia.batch import Batch
from hfmedia.batch.columns import keyed_column, parse_line, parse_options
from hfmedia.batch.items import fingerprint, item_key
from hfmedia.batch.reader import ValidationSummary
from hfmedia.client import MediaClient
from hfmedia.ledger import MemoryLedger
from tests.data.before_redesign.unpack import HERE, ROOT, unpack

FOLDER = f"{ROOT}/batch/out"  # the folder is hashed into the keys of the fixture
SKETCH_LINE = 5  # its input image is not part of the fixture

# Keys that commit 0dab672 computed for one line in folder /out and namespace sandbox: columns that are parameters now
# (strength, quality, cfg_scale) were passed to the provider unchanged, and are still hashed so.
GOLDEN: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ('defaults', {}, {'prompt': 'a fox'},
     'batch-1d8d6e6874b2c0fc0d5745d04971e3a7635bb9e9'),
    ('strength', {}, {'prompt': 'a fox', 'strength': 0.5},
     'batch-1600060be47613a4bd1a540a91d1ec3ee473d5d9'),
    ('strength as a whole number', {}, {'prompt': 'a fox', 'strength': 1},
     'batch-9302ac3f6d6daa722630d65e2fcc4133da7d92d7'),
    ('strength in extra', {}, {'prompt': 'a fox', 'extra': {'strength': 0.5}},
     'batch-1600060be47613a4bd1a540a91d1ec3ee473d5d9'),
    ('strength by default', {'extra': {'strength': 0.5}}, {'prompt': 'a fox'},
     'batch-1600060be47613a4bd1a540a91d1ec3ee473d5d9'),
    ('strength over a default', {'extra': {'strength': 0.5, 'shift': 2}}, {'prompt': 'a fox', 'Strength': 0.25},
     'batch-ebe13c012ddeb8609c0e588d6c3e7b67c80acf89'),
    ('quality', {}, {'prompt': 'a fox', 'quality': 'high'},
     'batch-aabe272df52c6d2d106fd7e2e2fdd61fae6c4bd9'),
    ('cfg_scale', {'guidance': 3}, {'prompt': 'a fox', 'cfg_scale': 7},
     'batch-23beb6c0010e21fc434a6b8801bf4e6def2de3d5'),
    ('every column', {}, {'prompt': 'a fox', 'model': 'a/b:fal-ai', 'task': 'text-to-video', 'negative': ' no cats ',
     'seed': '7',
     'aspect ratio': '16:9', 'resolution': '720p', 'seconds': '2.5', 'fps': 8, 'steps': 4, 'guidance': '3',
     'scheduler': ' euler ', 'output': 'a/fox.png', 'n': 2, 'id': 5, 'shift': 3},
     'batch-1f4700562a7adfe0d183fc3411e1a6fd1c884cc1'),
    ('pixels over a default ratio', {'aspect_ratio': '16:9', 'resolution': '720p', 'num_frames': 9},
     {'prompt': 'a fox', 'size': '512x256', 'seconds': 2},
     'batch-007715888e8305bb00ee5d676ae5d8c865aa2fed'),
    ('seed twice', {'seed': 1}, {'prompt': 'a fox', 'extra': {'seed': 2}},
     'batch-327e03e20d393c11c9033deb4e9048dd846c1d1c'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "defaults", "cells", "key"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_a_key_is_the_one_of_the_old_version(
    name: str, defaults: dict[str, Any], cells: dict[str, Any], key: str
) -> None:
    """For every column, defaults included."""
    line = parse_line(1, cells, parse_options(defaults), parse_options(defaults, name_of=keyed_column))
    assert item_key(fingerprint(line, folder="/out", namespace="sandbox"), 0) == key


def fixture_lines() -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of the fixture with their numbers."""
    for number, text in enumerate((HERE / "batch" / "prompts.jsonl").read_text().splitlines(), 1):
        yield number, json.loads(text)


def test_the_keys_of_the_fixture_are_computed_again() -> None:
    """Those of every line but the one whose input image is missing."""
    stored = {job["key"] for job in json.loads((HERE / "ids.json").read_text())["batch"]}
    computed: set[str] = set()
    counts: Counter[bytes] = Counter()
    for number, cells in fixture_lines():
        line = parse_line(number, cells, {})
        digest = fingerprint(line, folder=FOLDER)
        for _ in range(line.n):
            computed.add(item_key(digest, counts[digest]))
            counts[digest] += 1
    assert len(computed & stored) == len(stored) - 1 == 8


class RecordingClient:
    """Replaces a client: its ledger is empty, and what it is asked to generate is recorded."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.prompts: list[str] = []

    async def generate(self, prompt: str, **options: Any) -> Any:
        """Record the prompt; no events."""
        self.prompts.append(prompt)
        for event in ():
            yield event


@pytest.fixture
def old_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixture, which counts as the folder that its keys hash; without the line of the missing image."""
    copy = unpack("batch", tmp_path)
    lines = [json.dumps(cells) for number, cells in fixture_lines() if number != SKETCH_LINE]
    (copy / "prompts.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr("hfmedia.batch.reader.os.path.realpath", lambda path: FOLDER if path == copy / "out" else path)
    return copy


async def test_results_in_an_old_folder_are_not_generated_again(old_batch: Path) -> None:
    """From its index alone: only the line that failed and the one in doubt, which this ledger does not know."""
    client: Any = RecordingClient()
    async with Batch(client, old_batch / "prompts.jsonl", old_batch / "out") as batch:
        batch.summary = ValidationSummary(lines=7, outputs=8)
        batch.stats.total = 8
        async for _ in batch.run():
            pass
    assert sorted(client.prompts) == ["this one fails", "this one is in doubt"]
    assert batch.stats.previously_done == 6


async def test_with_its_old_ledger_nothing_is_submitted_again(old_batch: Path) -> None:
    """Results are known, whether or not their files are where the ledger has them; only the failed one is pending."""
    environ = {"HFMEDIA_HOME": str(old_batch / "home"), "HF_TOKEN": "hf_unused", "HF_ENDPOINT": "http://127.0.0.1:9"}
    async with (
        MediaClient(environ=environ) as client,
        Batch(client, old_batch / "prompts.jsonl", old_batch / "out") as batch,
    ):
        batch.summary = ValidationSummary(lines=7, outputs=8)
        plan = await batch.plan()
    counts = plan.by_status
    assert counts["done"] + counts["to_download"] == 6
    assert (counts["in_progress"], counts["in_doubt"], counts["pending"]) == (0, 1, 1)
