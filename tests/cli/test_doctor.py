"""``hfmedia doctor``: problems and what to do about them; never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Hfmedia
from tests.support.sandbox_thread import SandboxThread

AWAY = "http://127.0.0.1:9"  # the discard port: nothing listens there


def checks(text: str) -> dict[str, dict[str, Any]]:
    """The checks by name, from --json."""
    return {check["name"]: check for check in map(json.loads, text.splitlines())}


def test_everything_is_fine_in_the_sandbox(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Every check is shown and none is an error; the token is not shown."""
    result = hfmedia("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    for name in ("token", "keys", "hub", "router", "account", "proxy", "home", "version", "libraries", "extras"):
        assert f"  {name} " in result.stdout
    assert "ERROR" not in result.stdout
    assert "found in HF_TOKEN" in result.stdout
    assert sandbox.sandbox.token not in result.output


CASES: tuple[tuple[dict[str, str | None], int, str, str], ...] = (
    ({"HF_TOKEN": None}, 3, "token", "https://huggingface.co/settings/tokens"),
    ({"HF_TOKEN": "hf_thisTokenIsRefusedEverywhere0000"}, 3, "account", "https://huggingface.co/settings/tokens"),
    ({"HF_TOKEN": "hf_two words"}, 3, "settings", ""),
    ({"HF_ENDPOINT": AWAY}, 6, "hub", "proxy"),
    ({"HFMEDIA_ROUTER": AWAY}, 6, "router", "proxy"),
    ({"HF_ENDPOINT": "nonsense"}, 2, "settings", ""),
    ({"HTTPS_PROXY": "banana://x"}, 2, "settings", ""),
    ({"HFMEDIA_HOME": "/dev/null/home"}, 1, "home", "HFMEDIA_HOME"),
)


@pytest.mark.parametrize(
    ("env", "code", "name", "hint"), CASES, ids=[f"{next(iter(env))} {name}" for env, _, name, _ in CASES]
)
def test_each_problem_is_found_and_has_a_hint(
    hfmedia: Hfmedia, env: dict[str, str | None], code: int, name: str, hint: str
) -> None:
    """The exit code is that of a job which has this problem."""
    result = hfmedia("doctor", "--json", env=env)
    results = checks(result.stdout)
    assert result.exit_code == code, result.stdout
    assert results[name]["status"] == "error"
    assert hint in results[name]["hint"]
    assert "RefusedEverywhere" not in result.output
    assert "version" in results


def test_a_provider_s_own_key_is_enough(hfmedia: Hfmedia) -> None:
    """Without a token a job can run at that provider only, and the router is not needed."""
    result = hfmedia("doctor", "--json", env={"HF_TOKEN": None, "FAL_KEY": "key-of-my-own", "HFMEDIA_ROUTER": AWAY})
    results = checks(result.stdout)
    assert result.exit_code == 0
    assert results["token"]["status"] == results["router"]["status"] == "warning"
    assert "fal-ai (FAL_KEY)" in results["keys"]["message"]
    assert "key-of-my-own" not in result.output


def test_a_token_in_its_file_is_found_there(hfmedia: Hfmedia, sandbox: SandboxThread, tmp_path: Path) -> None:
    """Where `hf auth login` leaves it."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(sandbox.sandbox.token)
    result = hfmedia("doctor", "--json", env={"HF_TOKEN": None, "HF_HOME": str(tmp_path / "hf")})
    assert result.exit_code == 0
    assert str(tmp_path / "hf" / "token") in checks(result.stdout)["token"]["message"]


def test_the_proxy_is_shown_without_its_password(hfmedia: Hfmedia) -> None:
    """The Hub cannot be reached through it, and its address is shown."""
    result = hfmedia("doctor", "--json", env={"http_proxy": "http://me:swordfish@127.0.0.1:9"})
    assert result.exit_code == 6
    assert "through http://127.0.0.1:9" in checks(result.stdout)["proxy"]["message"]
    assert "swordfish" not in result.output


def test_the_doctor_can_check_the_sandbox(hfmedia: Hfmedia) -> None:
    """Without any account."""
    result = hfmedia("doctor", "--sandbox", env={"HF_TOKEN": None})
    assert result.exit_code == 0
    assert "simulated" in result.stderr
