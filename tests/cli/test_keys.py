"""``hfmedia keys``: create, list, show, limit and revoke keys in the gateway's database."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from hfmedia.cli.commands.keys import EXAMPLES
from hfmedia.cli.commands.keys import app as keys_app
from hfmedia.ids import new_id
from hfmedia.server.db.api_keys import KeyLimits, key_id_of
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec

Keys = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An HFMEDIA_HOME that does not exist yet."""
    monkeypatch.setenv("HFMEDIA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path) -> Keys:
    """The command group in this process: arguments in, exit code, stdout and stderr out."""
    app = typer.Typer()
    app.add_typer(keys_app, name="keys")
    app.command("other")(lambda: None)
    runner = CliRunner()
    return lambda *args: runner.invoke(app, ["keys", *args], prog_name="hfmedia")


@pytest.fixture
def database(home: Path) -> Iterator[GatewayDatabase]:
    """The gateway's own connection to its database."""
    opened = GatewayDatabase(home / "gateway.sqlite3")
    yield opened
    opened.close()


def test_without_keys_reading_creates_nothing(keys: Keys, home: Path) -> None:
    """The message explains what that means; no file is created."""
    for args in ((), ("list",)):
        result = keys(*args)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "No keys: the gateway serves only the machine it runs on" in result.stderr
    for args in (("show", "web"), ("revoke", "web"), ("limit", "web", "--images-per-day", "1")):
        result = keys(*args)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: there is no key 'web'")
    assert not home.exists()


def test_the_text_of_a_new_key_is_alone_on_stdout(keys: Keys, database: GatewayDatabase) -> None:
    """So that KEY=$(hfmedia keys create x) works; it is shown once, and the first key comes with a notice."""
    result = keys("create", "web")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removesuffix("\n")
    assert key_id_of(text)
    assert "it is not shown again" in result.stderr
    assert "The gateway now requires a key for every request." in result.stderr
    known = database.authenticate(text)
    assert known
    assert (known.name, known.limits, known.expires_at, known.admin) == ("web", KeyLimits(), None, False)
    later = "".join(keys(*args).output for args in (("list",), ("list", "--json"), ("show", "web"), ("revoke", "web")))
    assert text.rpartition("_")[2] not in later
    assert "now requires" not in keys("create", "second").stderr


def test_every_option_of_a_key_is_stored(keys: Keys, database: GatewayDatabase) -> None:
    """And shown again, as JSON and as text."""
    result = keys(
        "create", "guest", "--models", "black-forest-labs/*", "-m", "Qwen/*", "--requests-per-minute", "10",
        "--images-per-day", "100", "--videos-per-day", "5", "--usd-per-month", "12.5", "--bill-to", "my-org", "--admin",
        "--expires", "7", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    created = json.loads(result.stdout)
    known = database.authenticate(created.pop("key"))
    assert known
    assert known.limits == KeyLimits(
        models=("black-forest-labs/*", "Qwen/*"), requests_per_minute=10, images_per_day=100, videos_per_day=5,
        usd_per_month=12.5,
    )  # fmt: skip
    assert (known.bill_to, known.admin) == ("my-org", True)
    assert known.expires_at
    assert 6.9 < (known.expires_at - time.time()) / 86_400 <= 7
    assert [json.loads(line) for line in keys("--json").stdout.splitlines()] == [created]
    assert created["state"] == "active"
    assert created["created_at"].endswith("Z")
    assert created["limits"]["usd_per_month"] == 12.5
    (line,) = keys().stdout.splitlines()
    limits = "10 requests per minute, 100 images per day, 5 videos per day, $12.50 per month, only "
    limits += "black-forest-labs/* Qwen/*"
    assert line.split("\t")[:3] == [known.id, "guest (admin)", "active"]
    assert line.split("\t")[-1] == limits


INVALID: list[tuple[tuple[str, ...], str]] = [
    (("create", ""), "cannot be used"),
    (("create", "web"), "a key named 'web' already exists"),
    (("create", "x", "--images-per-day", "ten"), "--images-per-day is 'ten', but must be a whole number, or none"),
    (("create", "x", "--images-per-day", "1.5"), "must be a whole number"),
    (("create", "x", "--usd-per-month", "nan"), "usd-per-month"),
    (("create", "x", "--usd-per-month=-1"), "usd-per-month"),
    (("create", "x", "--models", "a b"), "pattern"),
    (("create", "x", "--expires", "0"), "expires"),
    (("create", "x", "--bill-to", "no org!"), "bill-to"),
    (("limit", "web"), "name a limit to change"),
    (("limit", "unknown", "--images-per-day", "1"), "there is no key 'unknown'"),
    (("show", "unknown"), "there is no key 'unknown'"),
    (("revoke", "unknown"), "there is no key 'unknown'"),
    (("nonsense",), "is not a command; choose one of list, create, make"),
]


@pytest.mark.parametrize(("args", "text"), INVALID)
def test_invalid_input_is_rejected_and_changes_nothing(
    keys: Keys, database: GatewayDatabase, args: tuple[str, ...], text: str
) -> None:
    """Exit code 2, a message on stderr, nothing on stdout."""
    keys("create", "web", "--images-per-day", "7")
    before = database.list_keys()
    result = keys(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr
    assert database.list_keys() == before


def test_the_text_of_a_key_in_place_of_a_name_is_never_repeated(keys: Keys, database: GatewayDatabase) -> None:
    """It is easily pasted, and stderr is easily logged."""
    text = keys("create", "web").stdout.strip()
    secret = text.rpartition("_")[2]
    result = keys("create", text)
    assert result.exit_code == 2
    assert secret not in result.output
    unknown = f"hfm_{'0' * 12}_{secret}"
    result = keys("show", unknown)
    assert result.exit_code == 2
    assert secret not in result.output
    result = keys("revoke", text)
    assert result.exit_code == 0
    assert secret not in result.output
    assert database.authenticate(text) is None


def test_limits_change_one_by_one(keys: Keys, database: GatewayDatabase) -> None:
    """Others stay; `none` removes one."""
    keys("create", "web", "--images-per-day", "7", "--usd-per-month", "3", "-m", "a/*")
    key = database.list_keys()[0]
    result = keys("limit", "web", "--usd-per-month", "none", "--videos-per-day", "0")
    assert result.exit_code == 0, result.stderr
    assert database.list_keys()[0].limits == KeyLimits(models=("a/*",), images_per_day=7, videos_per_day=0)
    changed = json.loads(keys("limit", key.id, "-m", "none", "--images-per-day", "9", "--json").stdout)
    assert changed["limits"] == {"models": [], "requests_per_minute": None, "images_per_day": 9, "videos_per_day": 0,
                              "usd_per_month": None}  # fmt: skip
    assert database.list_keys()[0].limits == KeyLimits(images_per_day=9, videos_per_day=0)


def test_a_revoked_key_stays_revoked(keys: Keys, database: GatewayDatabase) -> None:
    """By name or ID; the gateway sees it with its next read, and the name can be used again."""
    text = keys("create", "web").stdout.strip()
    result = keys("revoke", "web")
    assert result.exit_code == 0
    assert result.stdout.split("\t")[1:3] == ["web", "revoked"]
    assert database.authenticate(text) is None
    assert keys("revoke", "web").exit_code == 0
    assert keys("create", "web").exit_code == 0
    old, new = database.list_keys()
    assert (old.revoked_at is None, new.revoked_at is None) == (False, True)


def test_the_usage_of_a_key_is_shown(keys: Keys, database: GatewayDatabase) -> None:
    """Charged, unknown and reserved separately."""
    keys("create", "web", "--images-per-day", "10", "--usd-per-month", "5")
    key, now = database.list_keys()[0], time.time()
    generations = [
        Generation(
            id=new_id(),
            caller_id=key.id,
            kind="image",
            created_at=now,
            n=n,
            api="images",
            spec=GenerationSpec(),
            reserved_usd=usd,
        )
        for n, usd in ((1, 0.05), (2, 0.10), (3, 0.15))
    ]
    for generation in generations:
        database.reserve(generation, key.limits, now=now)
    database.settle_charges(generations[0].id, charged_usd=0.0375, images=1, videos=0)
    database.settle_charges(generations[1].id, charged_usd=None, images=2, videos=0)
    lines = {line[:16].strip(): line[16:] for line in keys("show", "web").stdout.splitlines()}
    assert lines["today"].startswith("6 of 10 images, 0 videos; resets at ")
    assert lines["money"].startswith("$0.2875 of $5.00 this month; resets at ")
    assert lines["charged"] == "$0.0375 at known prices"
    assert lines["unknown"] == "$0.10 estimated for 1 generation of unknown cost"
    assert lines["reserved"] == "$0.15 reserved for unfinished generations"
    usage = json.loads(keys("show", key.id, "--json").stdout)["usage"]
    assert (usage["usd_month"], usage["charged_usd_month"], usage["estimated_usd_month"]) == (0.2875, 0.0375, 0.1)
    assert (usage["reserved_usd_now"], usage["unpriced_generations_month"], usage["images_today"]) == (0.15, 1, 6)


def test_an_invalid_credential_does_not_prevent_revoking(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the home is read from the environment."""
    keys("create", "web")
    for name in ("HF_TOKEN", "FAL_KEY", "HF_ENDPOINT", "HFMEDIA_ROUTER", "HFMEDIA_DIRECT"):
        monkeypatch.setenv(name, "not a\nthing")
    assert keys("revoke", "web").exit_code == 0


def test_a_database_that_cannot_be_used_is_an_error(keys: Keys, home: Path) -> None:
    """Exit code 1, one message that names the file, no traceback."""
    home.mkdir()
    (home / "gateway.sqlite3").write_bytes(b"not a database, but text" * 100)
    for args in (("create", "x"), ("list",), ("revoke", "x")):
        result = keys(*args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert str(home / "gateway.sqlite3") in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", EXAMPLES)
def test_each_page_has_its_options_and_its_examples(keys: Keys, command: str) -> None:
    """Not wrapped, as they are typed."""
    result = keys(command, "--help")
    assert result.exit_code == 0
    assert all(f"  {line}\n" in result.stdout for line in EXAMPLES[command])
    assert command in keys("--help").stdout


def test_each_example_runs(keys: Keys, database: GatewayDatabase) -> None:
    """Unchanged, in a sensible order."""
    first, again, guest = EXAMPLES["create"]
    lines = [first, *EXAMPLES["list"], guest, *EXAMPLES["limit"], *EXAMPLES["show"], *EXAMPLES["revoke"], again]
    lines += ["hfmedia keys revoke web", "hfmedia keys revoke guest", *EXAMPLES["make"]]
    for line in lines:
        result = keys(*shlex.split(line.removeprefix("KEY=$(").removesuffix(")"))[2:])
        assert result.exit_code == 0, result.stderr
    assert len(database.list_keys()) == 5


def test_a_shell_takes_the_key_into_a_variable(home: Path) -> None:
    """The text and nothing else."""
    line = EXAMPLES["create"][0]
    script = f'hfmedia() {{ "{sys.executable}" -c "{RUN}" "$@"; }}\n{line}\nprintf %s "$KEY"'
    completed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert key_id_of(completed.stdout)


RUN = "from hfmedia.cli.app import app; app()"


def test_the_help_page_imports_only_typer() -> None:
    """No database, no settings, nothing of the gateway."""
    code = (
        "import sys; import hfmedia.cli.commands.keys; "
        "print([m for m in sys.modules if m.startswith(('hfmedia.server', 'sqlite3', 'hfmedia.settings', 'fastapi'))])"
    )
    completed: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
