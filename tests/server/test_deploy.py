"""The examples in deploy/: valid as they are, and complete."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from hfmedia.server.config import Config, Price, load_config

DEPLOY = Path(__file__).parents[2] / "deploy"
TOML = DEPLOY / "gateway.toml"
SAMPLES = re.compile(r'^# ((?:[a-z_]+|"[^"]+") = .*)$', flags=re.M)  # lines that become options without their #


def test_the_configuration_file_has_the_defaults() -> None:
    """Unchanged, it has no effect."""
    assert load_config(TOML) == Config()


def test_the_configuration_file_has_every_option() -> None:
    """Those without a default value are commented out."""
    text = TOML.read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?([a-z_]+) = ", text, flags=re.M)) | set(re.findall(r"^\[([a-z]+)\]", text, re.M))
    assert named == {*Config.__struct_fields__, "image", "video"}


def test_every_commented_out_sample_is_valid(tmp_path: Path) -> None:
    """And has the effect that its comment describes."""
    path = tmp_path / "gateway.toml"
    path.write_text(SAMPLES.sub(r"\1", TOML.read_text(encoding="utf-8")))
    config = load_config(path)
    assert config.public_url == "https://media.example.org/hf"
    assert config.concurrency == 8
    assert set(config.aliases) == {"gpt-image-1", "sora-2"}
    assert config.prices["Wan-AI/Wan2.2-T2V-A14B:fal-ai"] == Price(second=0.08)


def test_the_documentation_shows_the_same_samples() -> None:
    """docs/gateway.md has the samples of the configuration file."""
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
def test_the_service_has_few_permissions(name: str, value: str) -> None:
    """And stores its data where it can write."""
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    unit.read(DEPLOY / "hfmedia.service", encoding="utf-8")
    assert unit["Service"][name] == value
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_container_runs_without_privileges() -> None:
    """With a volume for its data and a health check; no secret is built into it."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split()[0] for line in lines if re.match(r"[A-Z]+ ", line)]
    assert steps.index("USER") < steps.index("CMD")
    assert "HEALTHCHECK" in steps and "VOLUME /data" in lines
    assert not any("TOKEN" in line for line in lines if not line.startswith("#"))


def test_the_proxy_passes_no_client_headers_through() -> None:
    """Every header that the gateway trusts is set by the proxy itself; events are not buffered."""
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for name in ("X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Prefix", "Forwarded"):
        assert len(re.findall(rf"^\s+proxy_set_header {name} ", text, flags=re.M)) == 1, name
    assert "$proxy_add_x_forwarded_for" not in text
    assert "proxy_buffering off;" in text
    assert text.count("{") == text.count("}")
