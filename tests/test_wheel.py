"""The built wheel, as users install it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    completed = subprocess.run(build, check=False, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_every_source_the_type_marker_and_the_license(wheel: Path) -> None:
    """Nothing is missing from the package, and nothing else is included."""
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert sources <= names
    assert "hfmedia/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hfmedia"}


async def test_the_main_job_runs_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """Installed outside the tree, the command generates an image in the sandbox."""
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    await asyncio.to_thread(subprocess.run, [*install, str(wheel)], check=True, capture_output=True)
    code = (
        "import hfmedia, hfmedia.cli, sys; assert 'installed' in hfmedia.__file__, hfmedia.__file__; hfmedia.cli.main()"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        "a red fox",
        "--sandbox",
        "-o",
        "fox.jpg",
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, err.decode()
    assert out.decode().strip() == "fox.jpg"
    assert (tmp_path / "fox.jpg").read_bytes().startswith(b"\xff\xd8\xff")
