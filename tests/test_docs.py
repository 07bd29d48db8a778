"""The documentation: the README's commands and programs run against the sandbox, and links lead to files."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from hfmedia.sandbox import Sandbox
from tests.support.readme import GATEWAY_SECTION, README_TEXT

ROOT = Path(__file__).parents[1]
README = README_TEXT.replace(GATEWAY_SECTION, "")  # tests/server runs that section


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[str]:
    """The README's hfmedia commands; the others change the machine (pip, export)."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if line.startswith("hfmedia ")]


async def run(*args: str, environ: dict[str, str], folder: Path) -> tuple[int, str, str]:
    """Runs a program; returns exit code, stdout and stderr."""
    child = await asyncio.create_subprocess_exec(
        *args,
        env=environ,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 90)
    return child.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the image and the prompts that later commands of the README use."""
    from PIL import Image

    work = tmp_path / "work"
    work.mkdir()
    Image.new("RGB", (640, 480), "orange").save(work / "fox.jpg")
    (work / "prompts.jsonl").write_text('{"prompt": "a fox"}\n{"prompt": "a hare", "seed": 3}\n')
    return work


def test_there_is_something_to_run() -> None:
    """If no block were found, the tests below would pass without running anything."""
    assert len(commands()) >= 4
    assert len(blocks("python")) >= 3


@pytest.mark.parametrize("command", commands())
async def test_each_command_of_the_readme_works(
    command: str, world: Sandbox, environ: dict[str, str], folder: Path
) -> None:
    """It exits with 0, and each line on stdout is the path of a file that exists."""
    args = [sys.executable, "-m", "hfmedia", *shlex.split(command)[1:]]
    code, out, err = await run(*args, environ=environ, folder=folder)
    assert code == 0, err
    assert out.splitlines() or "jobs resume" in command  # which prints nothing when there is nothing to resume
    for line in out.splitlines():
        assert (folder / line).stat().st_size > 1000


@pytest.mark.parametrize("program", blocks("python"), ids=lambda text: text.splitlines()[1][:40])
async def test_each_program_of_the_readme_works(
    program: str, world: Sandbox, environ: dict[str, str], folder: Path
) -> None:
    """It exits with 0 and prints something."""
    code, out, err = await run(sys.executable, "-W", "error", "-c", program, environ=environ, folder=folder)
    assert code == 0, err
    assert out.strip()


async def test_every_command_and_option_that_the_readme_names_exists(environ: dict[str, str], tmp_path: Path) -> None:
    """The README's tables name nothing that the help does not list."""
    _, general, _ = await run(sys.executable, "-m", "hfmedia", "--help", environ=environ, folder=tmp_path)
    _, generate, _ = await run(sys.executable, "-m", "hfmedia", "generate", "--help", environ=environ, folder=tmp_path)
    table = README[README.index("## The command") : README.index("## Credentials")]
    for name in re.findall(r"`hfmedia ([a-z]+)", table):
        assert name in general, name
    for option in set(re.findall(r"(--[a-z][a-z-]+)", table)):
        assert option in general + generate, option


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
async def test_make_help_lists_every_target(environ: dict[str, str]) -> None:
    """`make help` lists the targets that CONTRIBUTING names."""
    code, out, err = await run("make", "--no-print-directory", "help", environ=environ, folder=ROOT)
    assert code == 0, err
    for target in ("demo", "test", "test-fast", "check", "bench", "help"):
        assert re.search(rf"^{target} ", out, flags=re.M), target


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """Relative to the page, images included."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert not missing


SOURCE_PATH = re.compile(r"`((?:[a-z0-9_]+/)*[a-z0-9_]+\.py|(?:[a-z0-9_]+/)+)`")
BUILD_PRODUCTS = {"dist/"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_source_file_that_the_documents_name_exists(page: Path) -> None:
    """In the package or relative to the root, such as `core/retry.py`, `retry.py` and `tests/support/`."""
    names = set(SOURCE_PATH.findall(page.read_text(encoding="utf-8"))) - BUILD_PRODUCTS
    package = ROOT / "src" / "hfmedia"
    assert not {name for name in names if not (ROOT / name).exists() and not any(package.rglob(name.strip("/")))}
