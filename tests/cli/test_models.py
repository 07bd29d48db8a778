"""Looking: which models are served, by whom, and how one would get there."""

from __future__ import annotations

import json
import sys

import pytest

from hfmedia.cli.reporter import Reporter
from hfmedia.cli.tables import print_table
from tests.support.cli import Hfmedia
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread


def test_models_are_listed_one_a_line_with_tabs(hfmedia: Hfmedia) -> None:
    """Piped, there is no heading: each line is a model, its tasks, its providers."""
    result = hfmedia("models", "--task", "text-to-video")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows
    assert all(len(row) == 3 and "text-to-video" in row[1].split(",") and row[2] for row in rows)


def test_models_can_be_narrowed(hfmedia: Hfmedia) -> None:
    """By task, by provider, by a text in the id; each narrows what the others leave."""
    every = {json.loads(line)["model"] for line in hfmedia("models", "--json").stdout.splitlines()}
    found = [
        json.loads(line)
        for line in hfmedia("models", "--search", "flux", "--provider", "fal-ai", "--json").stdout.splitlines()
    ]
    assert FLUX in {one["model"] for one in found} < every
    for one in found:
        assert "flux" in one["model"].lower()
        assert any("fal-ai" in names for names in one["tasks"].values())


def test_no_model_is_no_failure_but_is_said(hfmedia: Hfmedia) -> None:
    """An empty list is an answer."""
    result = hfmedia("models", "--search", "there-is-no-such-thing")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no live model" in result.stderr


def test_an_unknown_task_is_a_usage_error(hfmedia: Hfmedia) -> None:
    """The tasks there are, are named."""
    result = hfmedia("models", "--task", "poetry")
    assert result.exit_code == 2
    assert "text-to-image" in result.stderr


def test_providers_shows_each_with_its_status_and_the_way_there(hfmedia: Hfmedia) -> None:
    """Live ones with the credential that opens them, others with their status."""
    result = hfmedia("providers", FLUX, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {row["provider"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert rows["fal-ai"]["status"] == "live"
    assert rows["fal-ai"]["route"] == "through the router with HF_TOKEN"
    assert all(row["id"] and row["task"] for row in rows.values())


WAYS = (
    ({"HF_TOKEN": None}, "no credential"),
    ({"HF_TOKEN": None, "FAL_KEY": "key-of-my-own"}, "directly with FAL_KEY"),
)


@pytest.mark.parametrize(("env", "way"), WAYS)
def test_the_way_there_depends_on_the_credentials(hfmedia: Hfmedia, env: dict[str, str | None], way: str) -> None:
    """With a provider's own key directly, with none not at all; the key is not said."""
    result = hfmedia("providers", FLUX, env=env)
    assert result.exit_code == 0
    row = next(line.split("\t") for line in result.stdout.splitlines() if line.startswith("fal-ai\t"))
    assert row[-1] == way
    assert "key-of-my-own" not in result.output


def test_providers_of_an_unknown_model_is_an_error(hfmedia: Hfmedia) -> None:
    """Exit code 5, as for making something with it."""
    result = hfmedia("providers", "nobody/nothing-at-all")
    assert result.exit_code == 5
    assert "nobody/nothing-at-all" in result.stderr


def test_the_hub_out_of_reach_is_told(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 6 and one sentence."""
    result = hfmedia("providers", FLUX, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert result.exit_code == 6
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_refused_token_is_warned_of_where_the_hub_answers_without(hfmedia: Hfmedia) -> None:
    """The list is public: it comes all the same."""
    result = hfmedia("models", env={"HF_TOKEN": "hf_thisTokenIsRefusedEverywhere0000"})
    assert result.exit_code == 0
    assert FLUX in result.stdout
    assert result.stderr.startswith("warning: the Hub at ")
    assert "RefusedEverywhere" not in result.stderr


def test_a_terminal_gets_a_heading_and_straight_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tabs there; nothing is cut."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(Reporter(), ("model", "tasks"), [("a/b", "text-to-image"), ("long/name", "x")])
    assert capsys.readouterr().out == "MODEL      TASKS\na/b        text-to-image\nlong/name  x\n"


def test_sandbox_looks_at_the_simulated_world(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Both commands, without an account."""
    for args in (("models",), ("providers", FLUX)):
        result = hfmedia(*args, "--sandbox", env={"HF_TOKEN": None})
        assert result.exit_code == 0
        assert "fal-ai" in result.stdout
        assert "simulation" in result.stderr
    assert sandbox.run(lambda: len(sandbox.sandbox.requests)) == 0
