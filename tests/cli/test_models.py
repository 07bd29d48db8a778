"""``hfmedia models`` and ``hfmedia providers``."""

from __future__ import annotations

import json
import sys

import pytest

from hfmedia.cli.reporter import Reporter
from hfmedia.cli.tables import print_table
from tests.support.cli import Hfmedia
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread


def test_models_are_listed_one_per_line_with_tabs(hfmedia: Hfmedia) -> None:
    """Piped, without a heading: each line is a model, its tasks, its providers."""
    result = hfmedia("models", "--task", "text-to-video")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows
    assert all(len(row) == 3 and "text-to-video" in row[1].split(",") and row[2] for row in rows)


def test_models_can_be_filtered(hfmedia: Hfmedia) -> None:
    """By task, by provider, by a text in the ID; filters combine."""
    every = {json.loads(line)["model"] for line in hfmedia("models", "--json").stdout.splitlines()}
    matching = [
        json.loads(line)
        for line in hfmedia("models", "--search", "flux", "--provider", "fal-ai", "--json").stdout.splitlines()
    ]
    assert FLUX in {model["model"] for model in matching} < every
    for model in matching:
        assert "flux" in model["model"].lower()
        assert any("fal-ai" in names for names in model["tasks"].values())


def test_no_matching_model_is_not_an_error(hfmedia: Hfmedia) -> None:
    """An empty list comes with a note."""
    result = hfmedia("models", "--search", "not-a-model")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No live model matches" in result.stderr


def test_an_unknown_task_is_a_usage_error(hfmedia: Hfmedia) -> None:
    """The message lists the tasks."""
    result = hfmedia("models", "--task", "poetry")
    assert result.exit_code == 2
    assert "text-to-image" in result.stderr


def test_providers_shows_each_with_its_status_and_route(hfmedia: Hfmedia) -> None:
    """Live ones with their credential, others with their status."""
    result = hfmedia("providers", FLUX, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {row["provider"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert rows["fal-ai"]["status"] == "live"
    assert rows["fal-ai"]["route"] == "through the router with HF_TOKEN"
    assert all(row["id"] and row["task"] for row in rows.values())


ROUTES = (
    ({"HF_TOKEN": None}, "no credential"),
    ({"HF_TOKEN": None, "FAL_KEY": "key-of-my-own"}, "directly with FAL_KEY"),
)


@pytest.mark.parametrize(("env", "route"), ROUTES)
def test_the_route_depends_on_the_credentials(hfmedia: Hfmedia, env: dict[str, str | None], route: str) -> None:
    """Directly with a provider's own key, none without a credential; the key is not shown."""
    result = hfmedia("providers", FLUX, env=env)
    assert result.exit_code == 0
    row = next(line.split("\t") for line in result.stdout.splitlines() if line.startswith("fal-ai\t"))
    assert row[-1] == route
    assert "key-of-my-own" not in result.output


def test_providers_of_an_unknown_model_is_an_error(hfmedia: Hfmedia) -> None:
    """Exit code 5, as for generating with it."""
    result = hfmedia("providers", "unknown/model")
    assert result.exit_code == 5
    assert "unknown/model" in result.stderr


def test_an_unreachable_hub_is_an_error(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 6 and one message."""
    result = hfmedia("providers", FLUX, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert result.exit_code == 6
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_rejected_token_is_a_warning_where_the_hub_responds_without_one(hfmedia: Hfmedia) -> None:
    """The list is public: it is shown all the same."""
    result = hfmedia("models", env={"HF_TOKEN": "hf_thisTokenIsRefusedEverywhere0000"})
    assert result.exit_code == 0
    assert FLUX in result.stdout
    assert result.stderr.startswith("warning: the Hub at ")
    assert "RefusedEverywhere" not in result.stderr


def test_a_terminal_gets_a_heading_and_straight_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tabs there; nothing is truncated."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(Reporter(), ("model", "tasks"), [("a/b", "text-to-image"), ("long/name", "x")])
    assert capsys.readouterr().out == "MODEL      TASKS\na/b        text-to-image\nlong/name  x\n"


def test_sandbox_shows_the_simulated_models(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Both commands, without an account."""
    for args in (("models",), ("providers", FLUX)):
        result = hfmedia(*args, "--sandbox", env={"HF_TOKEN": None})
        assert result.exit_code == 0
        assert "fal-ai" in result.stdout
        assert "simulated" in result.stderr
    assert sandbox.run(lambda: len(sandbox.sandbox.requests)) == 0
