"""The configuration: valid files, and the messages for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.server.config import Config, Price, Reserve, load_config


def write_config(tmp_path: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_a_file_overrides_the_defaults(tmp_path: Path) -> None:
    """URLs are normalized, and everything else stays as it is."""
    config = load_config(
        write_config(
            tmp_path,
            """
            port = 9000
            public_url = "https://Media.example.org/hf/"
            root_path = "hf/"
            trusted_proxies = ["10.0.0.0/8", "::1"]
            reserve = { image = 0.01 }
            [aliases]
            "gpt-image-1" = "black-forest-labs/FLUX.1-schnell:together"
            "sora-2" = { "text-to-video" = "Wan-AI/Wan2.2-T2V-A14B" }
            [prices]
            "Wan-AI/Wan2.2-T2V-A14B" = { second = 0.1 }
            """,
        )
    )
    assert config == Config(
        port=9000,
        public_url="https://media.example.org/hf",
        root_path="/hf",
        trusted_proxies=("10.0.0.0/8", "::1"),
        reserve=Reserve(image=0.01),
        aliases={
            "gpt-image-1": "black-forest-labs/FLUX.1-schnell:together",
            "sora-2": {"text-to-video": "Wan-AI/Wan2.2-T2V-A14B"},
        },
        prices={"Wan-AI/Wan2.2-T2V-A14B": Price(second=0.1)},
    )


def test_flags_override_the_file_unless_they_are_none(tmp_path: Path) -> None:
    """The command line wins."""
    path = write_config(tmp_path, 'port = 9000\nhost = "0.0.0.0"')
    config = load_config(path, port=1, host=None)
    assert (config.port, config.host) == (1, "0.0.0.0")
    assert load_config(None) == Config()


WRONG = [
    ("prot = 1", "unknown field `prot`"),
    ('port = "http"', "$.port"),
    ("port = 70000", "port 70000 must be between 0 and 65535"),
    ("max_jobs = 0", "max_jobs is 0, but must be at least 1"),
    ("media_retention_days = -1", "media_retention_days is -1.0, but must be at least 0"),
    ('public_url = "example"', "public_url 'example'"),
    ('trusted_proxies = ["everybody"]', "'everybody'"),
    ('[aliases]\n"dall-e-3" = "no model at all"', "'dall-e-3'"),
    ('[aliases]\n"dall-e-3" = { "text-to-sound" = "a/b" }', "text-to-sound"),
    ('[prices]\n"a/b" = { output = -1.0 }', "the price of a/b"),
    ('[prices]\n"a/b" = { ouput = 1.0 }', "unknown field `ouput`"),
    ("port = ", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_an_invalid_file_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    """The message names the file and the value."""
    path = write_config(tmp_path, text)
    with pytest.raises(InvalidRequestError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(InvalidRequestError, match=r"nowhere\.toml cannot be read: no such file"):
        load_config(tmp_path / "nowhere.toml")
