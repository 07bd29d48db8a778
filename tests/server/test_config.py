"""The configuration: what a file may say, and the sentence for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.server.config import Config, Price, Reserve, load_config


def written(tmp_path: Path, text: str) -> Path:
    """A configuration file."""
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_is_not_as_usual(tmp_path: Path) -> None:
    """Addresses come out in their plain form, and everything else stays as it is."""
    config = load_config(
        written(
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


def test_flags_go_before_the_file_and_none_says_nothing(tmp_path: Path) -> None:
    """What was written on the command line was meant."""
    path = written(tmp_path, 'port = 9000\nhost = "0.0.0.0"')
    config = load_config(path, port=1, host=None)
    assert (config.port, config.host) == (1, "0.0.0.0")
    assert load_config(None) == Config()


WRONG = [
    ("prot = 1", "unknown field `prot`"),
    ('port = "http"', "$.port"),
    ("port = 70000", "port 70000"),
    ("most_jobs = 0", "most_jobs is 0"),
    ('public_url = "example"', "public_url 'example'"),
    ('trusted_proxies = ["everybody"]', "'everybody'"),
    ('[aliases]\n"dall-e-3" = "no model at all"', "'dall-e-3'"),
    ('[aliases]\n"dall-e-3" = { "text-to-sound" = "a/b" }', "text-to-sound"),
    ('[prices]\n"a/b" = { output = -1.0 }', "the price of a/b"),
    ('[prices]\n"a/b" = { ouput = 1.0 }', "unknown field `ouput`"),
    ("port = ", "no TOML"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """In one sentence that names the file and the place in it."""
    path = written(tmp_path, text)
    with pytest.raises(InvalidRequestError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(InvalidRequestError, match=r"nowhere\.toml cannot be read: no such file"):
        load_config(tmp_path / "nowhere.toml")
