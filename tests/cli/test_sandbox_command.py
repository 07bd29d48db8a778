"""``hfmedia sandbox`` as a process: prints its environment, serves, and ends on a signal."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.cli import Hfmedia, Start
from tests.support.models import FLUX


def exported(text: str) -> dict[str, str]:
    """The variables of ``export NAME=value`` lines, read as a shell would."""
    pairs = [shlex.split(line.removeprefix("export "))[0].partition("=") for line in text.splitlines()]
    return {name: value for name, _, value in pairs}


def test_it_serves_what_it_exports_until_it_is_interrupted(start: Start, hfmedia: Hfmedia) -> None:
    """stdout has only the environment and is closed then; a command in that environment uses the sandbox."""
    process = start("sandbox", "--speed", "50", "--fault", "together:credit:all")
    assert process.stdout is not None
    env = exported(process.stdout.read())  # returns, although it keeps serving
    assert process.poll() is None
    assert env["HF_ENDPOINT"].startswith("http://127.0.0.1:")
    generated = hfmedia("a fox", "-m", f"{FLUX}:fal-ai", env=env)
    assert generated.exit_code == 0, generated.stderr
    rejected = hfmedia("a fox", "-m", f"{FLUX}:together", env=env)
    assert rejected.exit_code == 4, rejected.stderr
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "simulated" in err
    assert "Traceback" not in err


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")
def test_a_shell_can_take_its_environment(environ: Mapping[str, str], tmp_path: Path) -> None:
    """The line of its help page, and a command after it."""
    command = tmp_path / "bin" / "hfmedia"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hfmedia "$@"\n')
    command.chmod(0o755)
    script = (
        "unset HF_TOKEN HF_ENDPOINT HFMEDIA_ROUTER\n"
        'eval "$(hfmedia sandbox --quiet --speed 50 & echo "export SERVING=$!")"\n'
        'trap "kill $SERVING" EXIT\n'
        'echo "$HF_ENDPOINT" && hfmedia models --search FLUX.1-schnell\n'
    )
    path = f"{command.parent}{os.pathsep}{environ['PATH']}"
    completed = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False, env={**environ, "PATH": path}
    )
    assert completed.returncode == 0, completed.stderr
    endpoint, model = completed.stdout.splitlines()
    assert endpoint.startswith("http://127.0.0.1:")
    assert model.startswith(FLUX)


BAD = (
    (("--fault", "fal-ai:earthquake"), "earthquake"),
    (("--fault", "nonsense"), "fault"),
    (("--speed", "0"), "speed"),
    (("--port", "99999"), "65535"),
)


@pytest.mark.parametrize(("args", "text"), BAD)
def test_an_invalid_option_is_a_usage_error(hfmedia: Hfmedia, args: tuple[str, ...], text: str) -> None:
    """Before it serves."""
    result = hfmedia("sandbox", *args)
    assert result.exit_code == 2, result.stderr
    assert text in result.stderr
    assert result.stdout == ""


def test_a_port_in_use_is_an_error(hfmedia: Hfmedia) -> None:
    """With a hint."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = hfmedia("sandbox", "--port", str(port))
    assert result.exit_code == 2
    assert f"127.0.0.1:{port}" in result.stderr
    assert "--port" in result.stderr
