"""What the help shows is run: every example of every page, as it stands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from hfmedia.cli.app import HELP
from hfmedia.cli.help import EXAMPLES
from tests.support.cli import Hfmedia

# the first page's are real ones: here the environment is the sandbox's, so that they are run unchanged
SHOWN = [line.strip() for line in HELP.splitlines() if line.startswith("  hfmedia ")]
FIRST = [line for line in SHOWN if not line.startswith("hfmedia jobs")]  # those are run in test_jobs.py
MADE = [*FIRST, *EXAMPLES["generate"]]
LOOKED = [line for command in ("models", "providers", "doctor") for line in EXAMPLES[command]]


def written(line: str) -> tuple[list[str], str | None]:
    """The arguments of an example, and what is piped into it."""
    piped, bar, command = line.rpartition(" | ")
    return shlex.split(command)[1:], shlex.split(piped)[1] + "\n" if bar else None


@pytest.mark.parametrize("line", MADE)
def test_each_example_that_makes_something_makes_it(hfmedia: Hfmedia, line: str) -> None:
    """Every line of stdout is a file, or the facts of one."""
    Image.new("RGB", (64, 64), "orange").save("day.png")
    args, given = written(line)
    result = hfmedia(*args, given=given)
    assert result.exit_code == 0, result.stderr
    paths = [json.loads(out)["path"] if out.startswith("{") else out for out in result.stdout.splitlines()]
    assert len(paths) == (4 if "-n" in args else 1)
    assert all(Path(path).stat().st_size > 1000 for path in paths)


@pytest.mark.parametrize("line", LOOKED)
def test_each_example_that_looks_finds_something(hfmedia: Hfmedia, line: str) -> None:
    """Something on stdout, and no trouble."""
    args, _ = written(line)
    result = hfmedia(*args)
    assert result.exit_code == 0, result.stderr
    assert result.stdout


def test_the_sandbox_s_examples_are_understood() -> None:
    """They serve until Ctrl-C, so only their orders are read here; one is run by a shell in its own test."""
    from hfmedia.sandbox.faults import parse_fault

    orders = [args[args.index("--fault") + 1] for args in map(shlex.split, EXAMPLES["sandbox"]) if "--fault" in args]
    assert orders
    assert all(parse_fault(order) for order in orders)
    assert all("hfmedia sandbox" in line for line in EXAMPLES["sandbox"])
