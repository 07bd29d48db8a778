"""``hfmedia serve`` as a process: its output, its errors, and how it stops."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfmedia.cli.commands import serve
from hfmedia.cli.exit_codes import EXIT_INTERRUPTED
from hfmedia.cli.help import EXAMPLES
from hfmedia.core.errors import HfmediaError
from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key
from hfmedia.server.db.database import GatewayDatabase
from tests.support.cli import KEPT
from tests.support.sandbox_thread import SandboxThread

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it sends signals")
SOON = 20.0  # seconds, a generous limit for busy machines
MAX_MEMORY_KIB = 100 * 1024  # KiB of memory when idle
Serving = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """HFMEDIA_HOME of the gateway."""
    return tmp_path / "home"


@pytest.fixture
def serving(beside: SandboxThread, home: Path, tmp_path: Path) -> Iterator[Serving]:
    """Run the command in front of the sandbox, isolated from the tester's environment."""
    children: list[subprocess.Popen[str]] = []
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    environ |= {**beside.sandbox.environment, "HOME": str(tmp_path), "HFMEDIA_HOME": str(home)}

    def run(*args: str, **changes: str) -> subprocess.Popen[str]:
        env = {name: value for name, value in {**environ, **changes}.items() if value}
        command = [sys.executable, "-m", "hfmedia", "serve", *args]
        child = subprocess.Popen(
            command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def address(child: subprocess.Popen[str]) -> str:
    """Return the address that it prints once it is ready."""
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    assert line.startswith("http://"), child.communicate(timeout=SOON)
    return line


def stop(child: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Send a signal; return exit code and remaining output."""
    child.send_signal(number)
    out, err = child.communicate(timeout=SOON)
    return child.returncode, out, err


def fetch(url: str) -> str:
    """Return the body of a GET."""
    with urllib.request.urlopen(url, timeout=SOON) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_and_stops_gracefully(serving: Serving, number: int) -> None:
    """stdout has only the address, for scripts; stderr has more, for people. The exit code is 0."""
    child = serving("--port", "0")
    url = address(child)
    assert '"status":"ok"' in fetch(f"{url}/healthz")
    code, out, err = stop(child, number)
    assert (code, out) == (0, "")
    assert f"{url}/v1" in err and "serves only this machine" in err
    assert "simulated" not in err
    assert err.count('"path": "/healthz"') == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("line", EXAMPLES["serve"])
def test_each_example_of_its_help_works(serving: Serving, tmp_path: Path, line: str) -> None:
    """Unchanged except for the port, which may be in use here."""
    example = (Path(__file__).parents[2] / "deploy" / "gateway.toml").read_text()
    (tmp_path / "gateway.toml").write_text(example.replace("port = 8000", "port = 0"))
    child = serving(*shlex.split(line)[2:], *(() if "--config" in line else ("--port", "0")))
    assert '"status":"ok"' in fetch(f"{address(child)}/healthz")
    assert stop(child)[0] == 0


def test_it_needs_little_memory(serving: Serving) -> None:
    """After a few requests; --quiet logs none of them."""
    child = serving("--port", "0", "--quiet")
    url = address(child)
    fetch(f"{url}/v1/models")
    status = Path(f"/proc/{child.pid}/status")
    if status.exists():  # Linux only
        used = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        assert int(used.split()[1]) < MAX_MEMORY_KIB
    _, _, err = stop(child)
    assert '"path"' not in err


def test_a_sandbox_says_that_it_is_one(serving: Serving, tmp_path: Path) -> None:
    """It needs and reads no account, and stores nothing."""
    child = serving("--sandbox", "--port", "0", HF_TOKEN="", HFMEDIA_HOME=str(tmp_path / "untouched"))
    assert '"sandbox":true' in fetch(f"{address(child)}/healthz")
    code, _, err = stop(child)
    assert code == 0
    assert "simulated" in err
    assert not (tmp_path / "untouched").exists()


def test_flags_override_the_file(serving: Serving, home: Path, tmp_path: Path) -> None:
    """Values set in one of them apply too. With a key, the output says that keys are required."""
    home.mkdir()
    key_id, _, digest = generate_api_key()
    database = GatewayDatabase(home / "gateway.sqlite3")
    database.add_key(ApiKey(id=key_id, name="web", created_at=0.0, limits=KeyLimits()), digest)
    database.close()
    file = tmp_path / "gateway.toml"
    file.write_text('port = 1\nroot_path = "/other"\npublic_url = "https://media.example.org/hf"\n')
    child = serving("--config", str(file), "--port", "0", "--root-path", "hf", "--trust-proxy", "127.0.0.1")
    url = address(child)
    assert url.endswith("/hf")
    assert '"keys":true' in fetch(f"{url}/healthz")
    _, _, err = stop(child)
    assert "requests require an API key" in err
    assert "https://media.example.org/hf" in err


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


REJECTED: list[tuple[tuple[str, ...], dict[str, str], int, str]] = [
    ((), {"HF_TOKEN": ""}, 3, "huggingface.co/settings/tokens"),
    (("--host", "0.0.0.0"), {}, 2, "hfmedia keys create"),
    (("--port", "TAKEN"), {}, 2, "already in use"),
    (("--config", "absent.toml"), {}, 2, "absent.toml"),
    (("--trust-proxy", "everybody"), {}, 2, "everybody"),
]


@pytest.mark.parametrize(("args", "changes", "code", "message"), REJECTED)
def test_an_invalid_configuration_is_rejected_with_a_clear_message(
    serving: Serving, taken: int, args: tuple[str, ...], changes: dict[str, str], code: int, message: str
) -> None:
    """With the right exit code, and nothing on stdout."""
    child = serving(*(arg.replace("TAKEN", str(taken)) for arg in args), **changes)
    out, err = child.communicate(timeout=SOON)
    assert (child.returncode, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("missing", serve.REQUIRED_MODULES)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """With the command that installs it."""
    fake_find_spec: Callable[[str], Any] = lambda name: None if name == missing else name  # noqa: E731
    monkeypatch.setattr(serve, "find_spec", fake_find_spec)
    with pytest.raises(HfmediaError, match=r'pip install "hfmedia\[server\]"') as caught:
        serve._load_config(None, {})
    assert caught.value.exit_code == 2


ADDRESSES = [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 8000, 0, 0), "[::1]:8000")]


@pytest.mark.parametrize(("bound", "expected"), ADDRESSES)
def test_an_address_is_formatted_as_in_urls(bound: tuple[Any, ...], expected: str) -> None:
    """IPv6 addresses have brackets."""
    assert serve._format_address(bound) == expected


def test_a_second_signal_stops_it_at_once(serving: Serving) -> None:
    """The first waits for requests in progress."""
    child = serving("--port", "0")
    url = address(child)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow_client:
        slow_client.sendall(
            b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        fetch(f"{url}/healthz")  # the slow client's request was read before it
        child.send_signal(signal.SIGTERM)
        assert child.stderr is not None
        while "stopping" not in child.stderr.readline():
            assert child.poll() is None
        started = time.monotonic()
        code, _, err = stop(child)
    assert code == EXIT_INTERRUPTED
    assert time.monotonic() - started < serve.SHUTDOWN_GRACE_PERIOD
    assert "Interrupted" in err
