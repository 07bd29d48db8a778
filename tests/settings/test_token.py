"""Token discovery in the order of huggingface_hub, which runs the same cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from hfmedia.core.credentials import Secret
from hfmedia.core.errors import AuthenticationError, MissingAuthError
from hfmedia.settings import load_settings

FILES = {
    "home/.cache/huggingface/token": "hf_home_file",
    "hf/token": "hf_hf_home_file\n",
    "xdg/huggingface/token": "  hf_xdg_file  ",
    "elsewhere/my-token": "hf_path_file",
    "blank/token": "\n",
}

# Each environment and its token. {root} is a folder with the files above.
PLACES: list[tuple[dict[str, str], str | None]] = [
    ({}, "hf_home_file"),
    ({"HF_TOKEN": "hf_one"}, "hf_one"),
    ({"HF_TOKEN": "hf_one", "HUGGING_FACE_HUB_TOKEN": "hf_two"}, "hf_one"),
    ({"HUGGING_FACE_HUB_TOKEN": "hf_two"}, "hf_two"),
    ({"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "hf_two"}, "hf_two"),
    ({"HF_TOKEN": "  hf_one \r\n"}, "hf_one"),
    ({"HF_TOKEN": " \n"}, "hf_home_file"),
    ({"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_two"}, "hf_home_file"),
    ({"HF_HOME": "{root}/hf"}, "hf_hf_home_file"),
    ({"HF_HOME": "{root}/hf", "HF_TOKEN": "hf_one"}, "hf_one"),
    ({"HF_HOME": "$HOME/../hf"}, "hf_hf_home_file"),
    ({"HF_HOME": "${HOME}/../hf"}, "hf_hf_home_file"),
    ({"HF_HOME": "~/.cache/huggingface"}, "hf_home_file"),
    ({"HF_HOME": "$UNKNOWN/hf"}, None),
    ({"XDG_CACHE_HOME": "{root}/xdg"}, "hf_xdg_file"),
    ({"XDG_CACHE_HOME": "{root}/xdg", "HF_HOME": "{root}/hf"}, "hf_hf_home_file"),
    ({"HF_TOKEN_PATH": "{root}/elsewhere/my-token"}, "hf_path_file"),
    ({"HF_TOKEN_PATH": "{root}/elsewhere/my-token", "HF_HOME": "{root}/hf"}, "hf_path_file"),
    ({"HF_TOKEN_PATH": "~/../elsewhere/my-token"}, "hf_path_file"),
    ({"HF_TOKEN_PATH": "{root}/absent"}, None),
    ({"HF_HOME": "{root}/blank"}, None),
    ({"HF_HOME": "{root}/absent", "XDG_CACHE_HOME": "{root}/xdg"}, None),
]

ORACLE = """
import json, os, sys
from pathlib import Path
from unittest import mock
cases = json.load(sys.stdin)
answers = []
for environ in cases:
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # its constants are read from the environment once
    with mock.patch.dict(os.environ, environ, clear=True):
        from huggingface_hub.utils._auth import get_token
        answers.append(get_token())
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    return folder


def placed(environ: dict[str, str], root: Path) -> dict[str, str]:
    """Return the environment with its folders filled in."""
    return {"HOME": f"{root}/home", **{name: text.replace("{root}", str(root)) for name, text in environ.items()}}


@pytest.mark.parametrize(("environ", "token"), PLACES)
def test_the_token_is_discovered_in_the_order_of_the_hubs_own_client(
    root: Path, environ: dict[str, str], token: str | None
) -> None:
    """Variables, then the file of ``hf auth login`` at the path that variables determine."""
    assert load_settings(placed(environ, root)).hub_token == (Secret(token) if token else None)


def test_the_hubs_own_client_discovers_the_same(root: Path) -> None:
    """The same table with huggingface_hub itself."""
    cases = json.dumps([placed(environ, root) for environ, _ in PLACES])
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    process = subprocess.run(
        [sys.executable, "-c", ORACLE],
        input=cases,
        capture_output=True,
        text=True,
        timeout=100,
        env=environ,
        check=True,
    )
    assert json.loads(process.stdout) == [token for _, token in PLACES]


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({"HF_TOKEN": "hf_one"}, "HF_TOKEN"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_two"}, "HUGGING_FACE_HUB_TOKEN"),
        ({"HF_HOME": "{root}/hf"}, "the file {root}/hf/token"),
    ],
)
def test_a_token_knows_its_source(root: Path, environ: dict[str, str], source: str) -> None:
    """It explains why the wrong account is billed."""
    token = load_settings(placed(environ, root)).token
    assert token is not None
    assert token.source == source.replace("{root}", str(root))


@pytest.mark.parametrize("switch", ["1", "true", "YES", "on"])
def test_an_implicit_token_is_not_used_when_that_is_disabled(root: Path, switch: str) -> None:
    """HF_HUB_DISABLE_IMPLICIT_TOKEN: only a token that the caller passes is used, and the reason is reported."""
    environ = placed({"HF_TOKEN": "hf_one", "HF_HUB_DISABLE_IMPLICIT_TOKEN": switch}, root)
    settings = load_settings(environ)
    assert settings.token is None
    assert settings.ignored_reason is not None
    assert "HF_TOKEN" in settings.ignored_reason
    assert load_settings(environ, token="hf_given").hub_token == Secret("hf_given")


def test_that_flag_may_be_off(root: Path) -> None:
    """``0`` disables nothing."""
    assert load_settings(placed({"HF_TOKEN": "hf_one", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}, root)).token is not None


MALFORMED_TOKENS = [
    ("hf_abc\ndef", "a line break"),
    ("hf_abc\r\nX-Evil: 1", "a line break"),
    ("hf_abc def", "white space"),
    ("hf_abc\tdef", "white space"),
    ("hf_abc\x00def", "a control character"),
    ("hf_abc\x1bdef", "a control character"),
    ("hf_ábc", "non-ASCII"),
    ("hf_abc…", "non-ASCII"),
    ('"hf_abc"', "quotation marks"),
    ("hf_" + "a" * 5000, "more than 4096 characters"),
]


@pytest.mark.parametrize(("text", "defect"), MALFORMED_TOKENS)
@pytest.mark.parametrize("source", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "argument", "file"])
def test_a_malformed_token_is_reported_and_never_shown(tmp_path: Path, source: str, text: str, defect: str) -> None:
    """Nothing is sent with it, whatever its source."""
    environ = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path)}
    if source == "file":
        (tmp_path / "token").write_text(text, encoding="utf-8")
    elif source != "argument":
        environ[source] = text
    with pytest.raises(AuthenticationError, match=defect) as caught:
        load_settings(environ, token=text if source == "argument" else None)
    assert caught.value.exit_code == 3
    label = {"argument": "the token", "file": str(tmp_path / "token")}.get(source, source)
    assert label in str(caught.value)
    assert text[:8].strip('"') not in str(caught.value)


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_argument_is_no_argument(root: Path, empty: str) -> None:
    """As with every variable: empty is absent."""
    assert load_settings(placed({"HF_TOKEN": "hf_one"}, root), token=empty).hub_token == Secret("hf_one")


def test_a_token_of_another_kind_is_a_providers_own_key() -> None:
    """It never goes to the Hub or the router."""
    settings = load_settings({"HOME": "/nowhere"}, token="r8_abc")
    assert settings.token is not None
    assert settings.token.is_provider_key
    assert settings.hub_token is None


def test_an_unreadable_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of continuing without a token."""

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AuthenticationError, match="cannot be read: permission denied"):
        load_settings({"HF_HOME": str(tmp_path)})


def test_a_folder_or_binary_data_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "a" / "token").mkdir(parents=True)
    with pytest.raises(AuthenticationError, match=r"a/token cannot be read: is a directory"):
        load_settings({"HF_HOME": str(tmp_path / "a")})
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AuthenticationError, match="is not text"):
        load_settings({"HF_HOME": str(tmp_path)})


class _Colab(types.ModuleType):
    """The part of google.colab that reads a notebook's secrets."""

    class SecretNotFoundError(Exception): ...

    class NotebookAccessError(Exception): ...

    class Error(Exception): ...

    answer: str | Exception = "hf_colab"

    def get(self, name: str) -> str:
        assert name == "HF_TOKEN"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> _Colab:
    module = _Colab("google.colab")
    for name in ("google.colab", "google.colab.userdata", "google.colab.errors"):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    return module


def test_in_colab_the_notebooks_secret_comes_last(colab: _Colab, tmp_path: Path) -> None:
    """After variables and file, and not in Colab Enterprise."""
    environ = {"HF_HOME": str(tmp_path)}
    token = load_settings(environ).token
    assert token is not None
    assert (token.secret, token.source) == (Secret("hf_colab"), "the Colab secret HF_TOKEN")
    assert load_settings({**environ, "HF_TOKEN": "hf_one"}).hub_token == Secret("hf_one")
    assert load_settings({**environ, "VERTEX_PRODUCT": "COLAB_ENTERPRISE"}).token is None


@pytest.mark.parametrize("error", [_Colab.SecretNotFoundError, _Colab.NotebookAccessError, _Colab.Error])
def test_a_secret_without_access_in_colab_is_absent(colab: _Colab, tmp_path: Path, error: type[Exception]) -> None:
    """The user denied access, or there is none."""
    colab.answer = error("no")
    assert load_settings({"HF_HOME": str(tmp_path)}).token is None


def test_a_trusted_publishers_token_comes_from_the_hubs_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes precedence over HF_TOKEN; without that client, or without success, the error says what to do."""
    environ = {"HF_OIDC_RESOURCE": "acme/kite", "HF_TOKEN": "hf_one"}
    client = types.ModuleType("huggingface_hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    client.get_token = lambda: "hf_exchanged"  # type: ignore[attr-defined]
    assert load_settings(environ).hub_token == Secret("hf_exchanged")
    assert load_settings(environ, token="hf_given").hub_token == Secret("hf_given")

    def fail() -> str:
        raise RuntimeError("no identity for hf_secrettoken")

    client.get_token = fail  # type: ignore[attr-defined]
    with pytest.raises(MissingAuthError, match="the token exchange failed: no identity") as caught:
        load_settings(environ)
    assert "secrettoken" not in str(caught.value)
    client.get_token = lambda: None  # type: ignore[attr-defined]
    with pytest.raises(MissingAuthError, match="the token exchange returned no token"):
        load_settings(environ)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingAuthError, match="pip install huggingface_hub"):
        load_settings(environ)
