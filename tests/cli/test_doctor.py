"""The doctor: could a job run here, and what to do if not; never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Hfmedia
from tests.support.sandbox_thread import SandboxThread

AWAY = "http://127.0.0.1:9"  # the discard port: nobody listens


def checks(text: str) -> dict[str, dict[str, Any]]:
    """The checks by name, out of --json."""
    return {check["name"]: check for check in map(json.loads, text.splitlines())}


def test_all_is_well_in_the_sandbox(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Each check is there, in words, and none is bad; the token is not shown."""
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
    ("env", "code", "name", "follow"), CASES, ids=[f"{next(iter(env))} {name}" for env, _, name, _ in CASES]
)
def test_each_trouble_is_found_and_followed_by_what_to_do(
    hfmedia: Hfmedia, env: dict[str, str | None], code: int, name: str, follow: str
) -> None:
    """The exit code is what a job would end with."""
    result = hfmedia("doctor", "--json", env=env)
    found = checks(result.stdout)
    assert result.exit_code == code, result.stdout
    assert found[name]["status"] == "error"
    assert follow in found[name]["hint"]
    assert "RefusedEverywhere" not in result.output
    assert "version" in found


def test_a_provider_s_own_key_is_enough(hfmedia: Hfmedia) -> None:
    """With no token a job can run at that provider alone, router or not."""
    result = hfmedia("doctor", "--json", env={"HF_TOKEN": None, "FAL_KEY": "key-of-my-own", "HFMEDIA_ROUTER": AWAY})
    found = checks(result.stdout)
    assert result.exit_code == 0
    assert found["token"]["status"] == found["router"]["status"] == "warning"
    assert "fal-ai (FAL_KEY)" in found["keys"]["message"]
    assert "key-of-my-own" not in result.output


def test_a_token_in_its_file_is_found_there(hfmedia: Hfmedia, sandbox: SandboxThread, tmp_path: Path) -> None:
    """Where `hf auth login` leaves it."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(sandbox.sandbox.token)
    result = hfmedia("doctor", "--json", env={"HF_TOKEN": None, "HF_HOME": str(tmp_path / "hf")})
    assert result.exit_code == 0
    assert str(tmp_path / "hf" / "token") in checks(result.stdout)["token"]["message"]


def test_the_proxy_in_use_is_told_without_its_password(hfmedia: Hfmedia) -> None:
    """The Hub is then out of reach, and the proxy's address is in view."""
    result = hfmedia("doctor", "--json", env={"http_proxy": "http://me:swordfish@127.0.0.1:9"})
    assert result.exit_code == 6
    assert "through http://127.0.0.1:9" in checks(result.stdout)["proxy"]["message"]
    assert "swordfish" not in result.output


def test_the_doctor_can_look_at_the_simulated_world(hfmedia: Hfmedia) -> None:
    """With no account at all."""
    result = hfmedia("doctor", "--sandbox", env={"HF_TOKEN": None})
    assert result.exit_code == 0
    assert "simulation" in result.stderr
