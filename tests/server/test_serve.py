"""``hfmedia serve`` as a process: what it says, what it refuses, and how it ends."""

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

from hfmedia.cli.exit_codes import EXIT_INTERRUPTED
from hfmedia.cli.commands import serve
from hfmedia.cli.help import EXAMPLES
from hfmedia.core.errors import HfmediaError
from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key
from hfmedia.server.db.database import GatewayDatabase
from tests.support.cli import KEPT
from tests.support.sandbox_thread import SandboxThread

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it sends signals")
SOON = 20.0  # seconds; a gross bound, for machines that are busy
LARGEST = 100 * 1024  # KiB of memory when nothing happens
Serving = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the gateway keeps its things."""
    return tmp_path / "home"


@pytest.fixture
def serving(beside: SandboxThread, home: Path, tmp_path: Path) -> Iterator[Serving]:
    """Runs the command in front of the simulated world, with nothing of the tester's environment."""
    begun: list[subprocess.Popen[str]] = []
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    environ |= {**beside.sandbox.environment, "HOME": str(tmp_path), "HFMEDIA_HOME": str(home)}

    def run(*args: str, **changes: str) -> subprocess.Popen[str]:
        told = {name: value for name, value in {**environ, **changes}.items() if value}
        words = [sys.executable, "-m", "hfmedia", "serve", *args]
        child = subprocess.Popen(
            words, env=told, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(child)
        return child

    yield run
    for child in begun:
        if child.poll() is None:
            child.kill()
        child.communicate()


def address(child: subprocess.Popen[str]) -> str:
    """Where it serves, once it does."""
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    assert line.startswith("http://"), child.communicate(timeout=SOON)
    return line


def stopped(child: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Exit code and what else it said, after a signal."""
    child.send_signal(number)
    out, err = child.communicate(timeout=SOON)
    return child.returncode, out, err


def fetched(url: str) -> str:
    """What is there."""
    with urllib.request.urlopen(url, timeout=SOON) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_ends_well(serving: Serving, number: int) -> None:
    """On stdout its address alone, for scripts; on stderr the same for people. A signal ends it, and that is fine."""
    child = serving("--port", "0")
    url = address(child)
    assert '"status":"ok"' in fetched(f"{url}/healthz")
    code, out, err = stopped(child, number)
    assert (code, out) == (0, "")
    assert f"{url}/v1" in err and "serves this machine alone" in err
    assert "simulation" not in err
    assert err.count('"path": "/healthz"') == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("line", EXAMPLES["serve"])
def test_each_example_of_its_page_serves(serving: Serving, tmp_path: Path, line: str) -> None:
    """As it stands, but for the port, which may be taken here."""
    whole = (Path(__file__).parents[2] / "deploy" / "gateway.toml").read_text()
    (tmp_path / "gateway.toml").write_text(whole.replace("port = 8000", "port = 0"))
    child = serving(*shlex.split(line)[2:], *(() if "--config" in line else ("--port", "0")))
    assert '"status":"ok"' in fetched(f"{address(child)}/healthz")
    assert stopped(child)[0] == 0


def test_it_needs_little(serving: Serving) -> None:
    """Memory, when it has answered a little."""
    child = serving("--port", "0", "--quiet")
    url = address(child)
    fetched(f"{url}/v1/models")
    status = Path(f"/proc/{child.pid}/status")
    if status.exists():  # Linux tells
        used = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        assert int(used.split()[1]) < LARGEST
    _, _, err = stopped(child)
    assert '"path"' not in err


def test_a_simulation_says_that_it_is_one(serving: Serving, tmp_path: Path) -> None:
    """It needs no account, reads none, and keeps nothing."""
    child = serving("--sandbox", "--port", "0", HF_TOKEN="", HFMEDIA_HOME=str(tmp_path / "untouched"))
    assert '"sandbox":true' in fetched(f"{address(child)}/healthz")
    code, _, err = stopped(child)
    assert code == 0
    assert "simulation" in err
    assert not (tmp_path / "untouched").exists()


def test_flags_go_before_the_file(serving: Serving, home: Path, tmp_path: Path) -> None:
    """And what only one of them says counts too. With a key, it says that keys are needed."""
    home.mkdir()
    key_id, _, digest = generate_api_key()
    book = GatewayDatabase(home / "gateway.sqlite3")
    book.add_key(ApiKey(id=key_id, name="web", created_at=0.0, limits=KeyLimits()), digest)
    book.close()
    file = tmp_path / "gateway.toml"
    file.write_text('port = 1\nroot_path = "/other"\npublic_url = "https://media.example.org/hf"\n')
    child = serving("--config", str(file), "--port", "0", "--root-path", "hf", "--trust-proxy", "127.0.0.1")
    url = address(child)
    assert url.endswith("/hf")
    assert '"keys":true' in fetched(f"{url}/healthz")
    _, _, err = stopped(child)
    assert "callers need a gateway key" in err
    assert "https://media.example.org/hf" in err


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


REFUSED: list[tuple[tuple[str, ...], dict[str, str], int, str]] = [
    ((), {"HF_TOKEN": ""}, 3, "huggingface.co/settings/tokens"),
    (("--host", "0.0.0.0"), {}, 2, "hfmedia keys make"),
    (("--port", "TAKEN"), {}, 2, "already in use"),
    (("--config", "absent.toml"), {}, 2, "absent.toml"),
    (("--trust-proxy", "everybody"), {}, 2, "everybody"),
]


@pytest.mark.parametrize(("args", "changes", "code", "words"), REFUSED)
def test_what_cannot_be_served_is_refused_in_a_sentence(
    serving: Serving, taken: int, args: tuple[str, ...], changes: dict[str, str], code: int, words: str
) -> None:
    """With the exit code that says who acts next, and nothing on stdout."""
    child = serving(*(arg.replace("TAKEN", str(taken)) for arg in args), **changes)
    out, err = child.communicate(timeout=SOON)
    assert (child.returncode, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("lacking", serve.REQUIRED_MODULES)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """With the command that installs it."""
    found: Callable[[str], Any] = lambda name: None if name == lacking else name  # noqa: E731
    monkeypatch.setattr(serve, "find_spec", found)
    with pytest.raises(HfmediaError, match=r'pip install "hfmedia\[server\]"') as told:
        serve._load_config(None, {})
    assert told.value.exit_code == 2


ADDRESSES = [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 8000, 0, 0), "[::1]:8000")]


@pytest.mark.parametrize(("bound", "expected"), ADDRESSES)
def test_an_address_is_told_as_a_client_writes_it(bound: tuple[Any, ...], expected: str) -> None:
    """Brackets around those with colons."""
    assert serve._format_address(bound) == expected


def test_a_second_signal_ends_it_at_once(serving: Serving) -> None:
    """The first one waits a few seconds for requests under way; whoever is in a hurry asks again."""
    child = serving("--port", "0")
    url = address(child)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(
            b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        fetched(f"{url}/healthz")  # the slow one was read before it
        child.send_signal(signal.SIGTERM)
        assert child.stderr is not None
        while "stopping" not in child.stderr.readline():
            assert child.poll() is None
        began = time.monotonic()
        code, _, err = stopped(child)
    assert code == EXIT_INTERRUPTED
    assert time.monotonic() - began < serve.SHUTDOWN_GRACE_PERIOD
    assert "left at once" in err
