"""What is written is run: every command and every program of the README, against the sandbox."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from hfmedia.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
WHOLE = (ROOT / "README.md").read_text(encoding="utf-8")
GATEWAY = WHOLE[WHOLE.index("## The gateway") : WHOLE.index("## The command")]  # run in tests/server, where one serves
README = WHOLE.replace(GATEWAY, "")


def blocks(language: str) -> list[str]:
    """The README's code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[str]:
    """The README's commands but for what changes the machine (pip, export)."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if line.startswith("hfmedia ")]


async def run(*words: str, environ: dict[str, str], folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a program."""
    child = await asyncio.create_subprocess_exec(
        *words,
        env=environ,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 90)
    return child.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with the picture and prompts that the README's later commands start from."""
    from PIL import Image

    place = tmp_path / "work"
    place.mkdir()
    Image.new("RGB", (640, 480), "orange").save(place / "fox.jpg")
    (place / "prompts.jsonl").write_text('{"prompt": "a fox"}\n{"prompt": "a hare", "seed": 3}\n')
    return place


def test_there_is_something_to_run() -> None:
    """A README whose blocks are not found would pass the tests below by having none."""
    assert len(commands()) >= 4
    assert len(blocks("python")) >= 3


@pytest.mark.parametrize("command", commands())
async def test_each_command_of_the_readme_works(
    command: str, world: Sandbox, environ: dict[str, str], folder: Path
) -> None:
    """It ends well, and each line it prints on stdout is a file that is there."""
    words = [sys.executable, "-m", "hfmedia", *shlex.split(command)[1:]]
    code, out, err = await run(*words, environ=environ, folder=folder)
    assert code == 0, err
    assert out.splitlines() or "jobs resume" in command  # where nothing was left unfinished, there is nothing to tell
    for line in out.splitlines():
        assert (folder / line).stat().st_size > 1000


@pytest.mark.parametrize("program", blocks("python"), ids=lambda text: text.splitlines()[1][:40])
async def test_each_program_of_the_readme_works(
    program: str, world: Sandbox, environ: dict[str, str], folder: Path
) -> None:
    """It runs to its end and prints something."""
    code, out, err = await run(sys.executable, "-W", "error", "-c", program, environ=environ, folder=folder)
    assert code == 0, err
    assert out.strip()


async def test_every_command_and_option_that_the_readme_names_exists(environ: dict[str, str], tmp_path: Path) -> None:
    """The README's tables do not promise what the help does not know."""
    _, general, _ = await run(sys.executable, "-m", "hfmedia", "--help", environ=environ, folder=tmp_path)
    _, making, _ = await run(sys.executable, "-m", "hfmedia", "generate", "--help", environ=environ, folder=tmp_path)
    table = README[README.index("## The command") : README.index("## Credentials")]
    for name in re.findall(r"`hfmedia ([a-z]+)", table):
        assert name in general, name
    for option in set(re.findall(r"(--[a-z][a-z-]+)", table)):
        assert option in general + making, option


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
async def test_make_help_tells_every_target(environ: dict[str, str]) -> None:
    """`make help` lists what CONTRIBUTING speaks of."""
    code, out, err = await run("make", "--no-print-directory", "help", environ=environ, folder=ROOT)
    assert code == 0, err
    for target in ("demo", "test", "check", "bench", "help"):
        assert re.search(rf"^{target}\b", out, flags=re.M), target


PAPERS = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_here_leads_to_one(paper: Path) -> None:
    """From the page on which it stands, pictures included."""
    text = re.sub(r"^```.*?^```", "", paper.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    lost = [target for target in targets if target and "://" not in target and not (paper.parent / target).exists()]
    assert not lost
