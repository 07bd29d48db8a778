"""What the README shows of the gateway is run, as it stands, but for the port."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.gateway import RunningGateway
from tests.support.readme import GATEWAY_SECTION

SHOWN = "http://127.0.0.1:8000"


async def run(*words: str, folder: Path, served: RunningGateway) -> str:
    """What a program prints; it must end well."""
    child = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 90)
    assert child.returncode == 0, err.decode()
    return out.decode()


async def test_the_openai_client_draws_an_image_and_a_video(gateway: RunningGateway, tmp_path: Path) -> None:
    """The program of the README; its warning that OpenAI has ended its own videos is not about us."""
    (program,) = re.findall(r"^```python\n(.*?)^```", GATEWAY_SECTION, flags=re.M | re.S)
    assert SHOWN in program
    flags = ("-W", "error", "-W", "ignore::DeprecationWarning")
    body = await run(sys.executable, *flags, "-c", program.replace(SHOWN, gateway.url), folder=tmp_path, served=gateway)
    url, status = body.splitlines()
    assert url.startswith(f"{gateway.url}/media/")
    assert status == "completed"
    assert b"ftyp" in (tmp_path / "waves.mp4").read_bytes()[:16]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_does_the_same(gateway: RunningGateway, tmp_path: Path) -> None:
    """The command of the README."""
    (command,) = re.findall(r"^\$ (curl .*?)(?=^```|^\$)", GATEWAY_SECTION, flags=re.M | re.S)
    body = await run("sh", "-c", command.replace(SHOWN, gateway.url), folder=tmp_path, served=gateway)
    assert f"{gateway.url}/media/" in body
