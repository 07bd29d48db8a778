"""The examples of deploy/: they are read as they stand, and leave nothing out."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from hfmedia.server.config import Config, Price, load_config

DEPLOY = Path(__file__).parents[2] / "deploy"
TOML = DEPLOY / "gateway.toml"
SAMPLES = re.compile(r'^# ((?:[a-z_]+|"[^"]+") = .*)$', flags=re.M)  # lines that only need their # taken off


def test_the_configuration_says_what_counts_anyway() -> None:
    """As it stands it changes nothing, so that nobody who copies it is surprised."""
    assert load_config(TOML) == Config()


def test_the_configuration_names_every_option() -> None:
    """Those without a value of their own too, behind a # alone."""
    text = TOML.read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?([a-z_]+) = ", text, flags=re.M)) | set(re.findall(r"^\[([a-z]+)\]", text, re.M))
    assert named == {*Config.__struct_fields__, "image", "video"}


def test_what_the_configuration_shows_behind_a_hash_can_be_said(tmp_path: Path) -> None:
    """Every sample in it is taken, and does what its words say."""
    path = tmp_path / "gateway.toml"
    path.write_text(SAMPLES.sub(r"\1", TOML.read_text(encoding="utf-8")))
    config = load_config(path)
    assert config.public_url == "https://media.example.org/hf"
    assert config.concurrency == 8
    assert set(config.aliases) == {"gpt-image-1", "sora-2"}
    assert config.prices["Wan-AI/Wan2.2-T2V-A14B:fal-ai"] == Price(second=0.08)


def test_the_documentation_shows_the_same_samples() -> None:
    """docs/gateway.md is read by the same reader."""
    (shown,) = re.findall(r"^```toml\n(.*?)^```", (DEPLOY.parent / "docs/gateway.md").read_text(), flags=re.M | re.S)
    samples = [line for line in SAMPLES.findall(TOML.read_text(encoding="utf-8")) if line.startswith('"')]
    assert samples
    assert [line for line in shown.splitlines() if line.startswith('"')] == samples
    assert tomllib.loads(shown)


UNIT = [
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("DynamicUser", "yes"),
    ("StateDirectory", "hfmedia"),
    ("Environment", "HFMEDIA_HOME=/var/lib/hfmedia"),
]


@pytest.mark.parametrize(("name", "value"), UNIT)
def test_the_service_may_little(name: str, value: str) -> None:
    """And what it keeps lies where it may write."""
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    unit.read(DEPLOY / "hfmedia.service", encoding="utf-8")
    assert unit["Service"][name] == value
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_container_runs_as_nobody_special() -> None:
    """With a volume for what is kept, and a look at its health; no secret is built into it."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split()[0] for line in lines if re.match(r"[A-Z]+ ", line)]
    assert steps.index("USER") < steps.index("CMD")
    assert "HEALTHCHECK" in steps and "VOLUME /data" in lines
    assert not any("TOKEN" in line for line in lines if not line.startswith("#"))


def test_the_proxy_lets_no_word_of_a_stranger_through() -> None:
    """Every header that the gateway believes is set by the proxy itself; events are not held back."""
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for name in ("X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Prefix", "Forwarded"):
        assert len(re.findall(rf"^\s+proxy_set_header {name} ", text, flags=re.M)) == 1, name
    assert "$proxy_add_x_forwarded_for" not in text
    assert "proxy_buffering off;" in text
    assert text.count("{") == text.count("}")
