"""Every example of every help page is run unchanged."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from hfmedia.cli.app import HELP
from hfmedia.cli.help import EXAMPLES
from tests.support.cli import Hfmedia

# those of the main help page have no --sandbox: here the environment is the sandbox's
MAIN_PAGE = [line.strip() for line in HELP.splitlines() if line.startswith("  hfmedia ")]
FIRST_EXAMPLES = [line for line in MAIN_PAGE if not line.startswith("hfmedia jobs")]  # those are run in test_jobs.py
GENERATING = [*FIRST_EXAMPLES, *EXAMPLES["generate"]]
VIEWING = [line for command in ("models", "providers", "doctor") for line in EXAMPLES[command]]


def parse_example(line: str) -> tuple[list[str], str | None]:
    """The arguments of an example, and its stdin."""
    piped, bar, command = line.rpartition(" | ")
    return shlex.split(command)[1:], shlex.split(piped)[1] + "\n" if bar else None


@pytest.mark.parametrize("line", GENERATING)
def test_each_generating_example_works(hfmedia: Hfmedia, line: str) -> None:
    """Every line of stdout is a file, or its JSON."""
    Image.new("RGB", (64, 64), "orange").save("day.png")
    args, stdin = parse_example(line)
    result = hfmedia(*args, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    paths = [json.loads(out)["path"] if out.startswith("{") else out for out in result.stdout.splitlines()]
    assert len(paths) == (4 if "-n" in args else 1)
    assert all(Path(path).stat().st_size > 1000 for path in paths)


@pytest.mark.parametrize("line", VIEWING)
def test_each_viewing_example_works(hfmedia: Hfmedia, line: str) -> None:
    """Something on stdout, and no error."""
    args, _ = parse_example(line)
    result = hfmedia(*args)
    assert result.exit_code == 0, result.stderr
    assert result.stdout


def test_the_sandbox_s_examples_are_valid() -> None:
    """They serve until Ctrl-C, so only their faults are parsed here; a shell runs one in its own test."""
    from hfmedia.sandbox.faults import parse_fault

    faults = [args[args.index("--fault") + 1] for args in map(shlex.split, EXAMPLES["sandbox"]) if "--fault" in args]
    assert faults
    assert all(parse_fault(fault) for fault in faults)
    assert all("hfmedia sandbox" in line for line in EXAMPLES["sandbox"])
