"""What the command writes for programs, against golden files: a change of a name or a value is always deliberate."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli import Hfmedia
from tests.support.golden import assert_golden
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread


def test_generate_json_and_sidecar(hfmedia: Hfmedia, sandbox: SandboxThread, tmp_path: Path) -> None:
    """The result line of ``--json``, and the JSON file beside the image."""
    output = tmp_path / "fox.jpg"
    done = hfmedia("a red fox", "-m", f"{FLUX}:fal-ai", "--seed", "7", "--size", "512x512", "--json", "-o", str(output))
    assert done.exit_code == 0, done.stderr
    assert_golden("cli_generate", json.loads(done.stdout))
    assert_golden("sidecar", json.loads(output.with_name("fox.jpg.json").read_text()))


def test_jobs_json(hfmedia: Hfmedia, sandbox: SandboxThread, tmp_path: Path) -> None:
    """The list and one job, stored after a failover."""
    sandbox.fault("fal-ai", "credit")
    done = hfmedia("a red fox", "-m", FLUX, "--seed", "7", "--json", "-o", str(tmp_path / "fox.jpg"))
    assert done.exit_code == 0, done.stderr
    listed = hfmedia("jobs", "list", "--json")
    job = json.loads(listed.stdout.splitlines()[0])
    assert_golden("cli_jobs_list", job)
    shown = hfmedia("jobs", "show", job["job_id"], "--json")
    assert_golden("cli_jobs_show", json.loads(shown.stdout))
    costs = hfmedia("jobs", "costs", "--json")
    assert_golden("cli_jobs_costs", [json.loads(line) for line in costs.stdout.splitlines()])


def test_batch_index(hfmedia: Hfmedia, sandbox: SandboxThread, tmp_path: Path) -> None:
    """The index of a batch: one item stored, one failed."""
    sheet = tmp_path / "prompts.jsonl"
    sheet.write_text(
        json.dumps({"prompt": "a red fox", "seed": 7, "model": f"{FLUX}:fal-ai"})
        + "\n"
        + json.dumps({"prompt": "a blue fox", "seed": 8, "model": f"{FLUX}:replicate"})
        + "\n"
    )
    sandbox.fault("replicate", "credit")
    hfmedia("batch", str(sheet), "-o", str(tmp_path / "out"))
    lines = (tmp_path / "out" / "index.jsonl").read_text().splitlines()
    assert_golden("batch_index", sorted((json.loads(line) for line in lines), key=lambda line: line["line"]))
