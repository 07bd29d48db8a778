"""The public signatures as mypy and pyright see them: correct uses pass, wrong ones are errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "typing"
MYPY = [
    "mypy",
    "--strict",
    "--config-file",
    str(ROOT / "pyproject.toml"),
    str(CASES / "valid.py"),
    str(CASES / "invalid.py"),
]
PYRIGHT = ["pyright", "--project", str(CASES)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_the_documented_signatures_are_what_type_checkers_see(command: list[str]) -> None:
    """Every line of valid.py has its type, every line of invalid.py is an error."""
    name, *arguments = command
    program = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip(f"{name} is not installed")
    environ = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=ROOT, env=environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
