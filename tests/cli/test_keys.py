"""``hfmedia keys``: made, listed, shown, limited and revoked, on the book that a gateway reads."""

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
from hfmedia.server.db.api_keys import KeyLimits, key_id_of
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec, new_generation_id

Keys = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HFMEDIA_HOME, where nothing is yet."""
    monkeypatch.setenv("HFMEDIA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path) -> Keys:
    """The noun inside this process: arguments in, exit code, stdout and stderr out."""
    app = typer.Typer()
    app.add_typer(keys_app, name="keys")
    app.command("other")(lambda: None)
    runner = CliRunner()
    return lambda *args: runner.invoke(app, ["keys", *args], prog_name="hfmedia")


@pytest.fixture
def book(home: Path) -> Iterator[GatewayDatabase]:
    """The gateway's own look at the book."""
    made = GatewayDatabase(home / "gateway.sqlite3")
    yield made
    made.close()


def test_where_there_are_no_keys_looking_makes_nothing(keys: Keys, home: Path) -> None:
    """It is said what that means; no file appears."""
    for args in ((), ("list",)):
        result = keys(*args)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "there are no keys: the gateway serves only the machine it runs on" in result.stderr
    for deed in (("show", "web"), ("revoke", "web"), ("limit", "web", "--images-per-day", "1")):
        result = keys(*deed)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: there is no key 'web'")
    assert not home.exists()


def test_the_text_of_a_new_key_stands_alone_on_stdout(keys: Keys, book: GatewayDatabase) -> None:
    """So that KEY=$(hfmedia keys make x) works; it is shown this once, and the first one is told to change things."""
    result = keys("make", "web")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removesuffix("\n")
    assert key_id_of(text)
    assert "it is not shown again" in result.stderr
    assert "from now on the gateway asks everybody for a key" in result.stderr
    known = book.authenticate(text)
    assert known
    assert (known.name, known.limits, known.expires_at, known.admin) == ("web", KeyLimits(), None, False)
    later = "".join(keys(*args).output for args in (("list",), ("list", "--json"), ("show", "web"), ("revoke", "web")))
    assert text.rpartition("_")[2] not in later
    assert "from now on" not in keys("make", "second").stderr


def test_everything_that_can_be_said_of_a_key_is_kept(keys: Keys, book: GatewayDatabase) -> None:
    """And told again, as data and in words."""
    result = keys(
        "make", "guest", "--models", "black-forest-labs/*", "-m", "Qwen/*", "--requests-per-minute", "10",
        "--images-per-day", "100", "--videos-per-day", "5", "--usd-per-month", "12.5", "--bill-to", "my-org", "--admin",
        "--expires", "7", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    known = book.authenticate(told.pop("key"))
    assert known
    assert known.limits == KeyLimits(
        models=("black-forest-labs/*", "Qwen/*"), requests_per_minute=10, images_per_day=100, videos_per_day=5,
        usd_per_month=12.5,
    )  # fmt: skip
    assert (known.bill_to, known.admin) == ("my-org", True)
    assert known.expires_at
    assert 6.9 < (known.expires_at - time.time()) / 86_400 <= 7
    assert [json.loads(line) for line in keys("--json").stdout.splitlines()] == [told]
    assert told["state"] == "active"
    assert told["limits"]["usd_per_month"] == 12.5
    (line,) = keys().stdout.splitlines()
    words = "10 requests a minute, 100 images a day, 5 videos a day, $12.50 a month, only black-forest-labs/* Qwen/*"
    assert line.split("\t")[:3] == [known.id, "guest (admin)", "active"]
    assert line.split("\t")[-1] == words


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("make", ""), "cannot be used"),
    (("make", "web"), "there is a key named 'web'"),
    (("make", "x", "--images-per-day", "ten"), "--images-per-day is 'ten', but must be a whole number, or none"),
    (("make", "x", "--images-per-day", "1.5"), "must be a whole number"),
    (("make", "x", "--usd-per-month", "nan"), "usd-per-month"),
    (("make", "x", "--usd-per-month=-1"), "usd-per-month"),
    (("make", "x", "--models", "a b"), "no pattern"),
    (("make", "x", "--expires", "0"), "expires"),
    (("make", "x", "--bill-to", "no org!"), "bill-to"),
    (("limit", "web"), "name a limit to change"),
    (("limit", "nobody", "--images-per-day", "1"), "there is no key 'nobody'"),
    (("show", "nobody"), "there is no key 'nobody'"),
    (("revoke", "nobody"), "there is no key 'nobody'"),
    (("nonsense",), "has no such command"),
]


@pytest.mark.parametrize(("args", "words"), WRONG)
def test_what_makes_no_sense_is_told_and_changes_nothing(
    keys: Keys, book: GatewayDatabase, args: tuple[str, ...], words: str
) -> None:
    """Exit code 2, a sentence on stderr, nothing on stdout."""
    keys("make", "web", "--images-per-day", "7")
    before = book.list_keys()
    result = keys(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert book.list_keys() == before


def test_the_text_of_a_key_in_place_of_a_name_is_understood_and_not_repeated(keys: Keys, book: GatewayDatabase) -> None:
    """It is easily pasted, and stderr is easily kept."""
    text = keys("make", "web").stdout.strip()
    secret = text.rpartition("_")[2]
    result = keys("make", text)
    assert result.exit_code == 2
    assert secret not in result.output
    stranger = f"hfm_{'0' * 12}_{secret}"
    result = keys("show", stranger)
    assert result.exit_code == 2
    assert secret not in result.output
    result = keys("revoke", text)
    assert result.exit_code == 0
    assert secret not in result.output
    assert book.authenticate(text) is None


def test_limits_change_one_by_one(keys: Keys, book: GatewayDatabase) -> None:
    """Those that are not named stay; `none` takes one away."""
    keys("make", "web", "--images-per-day", "7", "--usd-per-month", "3", "-m", "a/*")
    key = book.list_keys()[0]
    result = keys("limit", "web", "--usd-per-month", "none", "--videos-per-day", "0")
    assert result.exit_code == 0, result.stderr
    assert book.list_keys()[0].limits == KeyLimits(models=("a/*",), images_per_day=7, videos_per_day=0)
    told = json.loads(keys("limit", key.id, "-m", "none", "--images-per-day", "9", "--json").stdout)
    assert told["limits"] == {"models": [], "requests_per_minute": None, "images_per_day": 9, "videos_per_day": 0,
                              "usd_per_month": None}  # fmt: skip
    assert book.list_keys()[0].limits == KeyLimits(images_per_day=9, videos_per_day=0)


def test_a_revoked_key_is_revoked_for_good(keys: Keys, book: GatewayDatabase) -> None:
    """By name or id; the gateway sees it at its next look, and its name is free again."""
    text = keys("make", "web").stdout.strip()
    result = keys("revoke", "web")
    assert result.exit_code == 0
    assert result.stdout.split("\t")[1:3] == ["web", "revoked"]
    assert book.authenticate(text) is None
    assert keys("revoke", "web").exit_code == 0
    assert keys("make", "web").exit_code == 0
    old, new = book.list_keys()
    assert (old.revoked_at is None, new.revoked_at is None) == (False, True)


def test_what_a_key_used_is_told_honestly(keys: Keys, book: GatewayDatabase) -> None:
    """Charged, unknown and reserved apart."""
    keys("make", "web", "--images-per-day", "10", "--usd-per-month", "5")
    key, now = book.list_keys()[0], time.time()
    made = [
        Generation(
            id=new_generation_id(),
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
    for one in made:
        book.reserve(one, key.limits, now=now)
    book.settle_charges(made[0].id, charged_usd=0.0375, images=1, videos=0)
    book.settle_charges(made[1].id, charged_usd=None, images=2, videos=0)
    lines = {line[:16].strip(): line[16:] for line in keys("show", "web").stdout.splitlines()}
    assert lines["today"].startswith("6 of 10 images, 0 videos; resets at ")
    assert lines["money"].startswith("$0.2875 of $5.00 this month; resets at ")
    assert lines["charged"] == "$0.0375 at prices that are known"
    assert lines["unknown"] == "$0.10 counted for 1 order of which nobody told the price"
    assert lines["reserved"] == "$0.15 set aside for what is not over"
    usage = json.loads(keys("show", key.id, "--json").stdout)["usage"]
    assert (usage["usd_month"], usage["charged_month"], usage["estimated_month"]) == (0.2875, 0.0375, 0.1)
    assert (usage["reserved_now"], usage["unknown_month"], usage["images_today"]) == (0.15, 1, 6)


def test_a_damaged_credential_does_not_keep_a_key_alive(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment is read but the home."""
    keys("make", "web")
    for name in ("HF_TOKEN", "FAL_KEY", "HF_ENDPOINT", "HFMEDIA_ROUTER", "HFMEDIA_DIRECT"):
        monkeypatch.setenv(name, "not a\nthing")
    assert keys("revoke", "web").exit_code == 0


def test_a_book_that_cannot_be_used_is_told(keys: Keys, home: Path) -> None:
    """Exit code 1, one sentence with the file, no traceback."""
    home.mkdir()
    (home / "gateway.sqlite3").write_bytes(b"not a database, but text" * 100)
    for args in (("make", "x"), ("list",), ("revoke", "x")):
        result = keys(*args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert str(home / "gateway.sqlite3") in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", EXAMPLES)
def test_each_page_has_its_options_and_its_examples(keys: Keys, command: str) -> None:
    """Unwrapped, as they are typed."""
    result = keys(command, "--help")
    assert result.exit_code == 0
    assert all(f"  {line}\n" in result.stdout for line in EXAMPLES[command])
    assert command in keys("--help").stdout


def test_each_example_runs(keys: Keys, book: GatewayDatabase) -> None:
    """As it stands, in the order in which one would; a key of that name is made once at a time."""
    made, again, guest = EXAMPLES["make"]
    lines = [made, *EXAMPLES["list"], guest, *EXAMPLES["limit"], *EXAMPLES["show"], *EXAMPLES["revoke"], again]
    for line in lines:
        result = keys(*shlex.split(line.removeprefix("KEY=$(").removesuffix(")"))[2:])
        assert result.exit_code == 0, result.stderr
    assert len(book.list_keys()) == 3


def test_a_shell_takes_the_key_into_a_variable(home: Path) -> None:
    """The text and nothing else."""
    line = EXAMPLES["make"][0]
    script = f'hfmedia() {{ "{sys.executable}" -c "{RUN}" "$@"; }}\n{line}\nprintf %s "$KEY"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert key_id_of(done.stdout)


RUN = "from hfmedia.cli.app import app; app()"


def test_the_help_loads_nothing_but_typer() -> None:
    """The first page is there at once: no book, no settings, nothing of the gateway."""
    code = (
        "import sys; import hfmedia.cli.commands.keys; "
        "print([m for m in sys.modules if m.startswith(('hfmedia.server', 'sqlite3', 'hfmedia.settings', 'fastapi'))])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
