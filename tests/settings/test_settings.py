"""Settings from the environment and the caller, or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfmedia.core.credentials import Secret
from hfmedia.core.errors import AuthenticationError, InvalidRequestError
from hfmedia.core.origin import normalize_url
from hfmedia.settings import Settings, load_settings

HOME = {"HOME": "/nowhere/at/all"}


def test_an_empty_environment_yields_the_defaults() -> None:
    """The public Hub and router, the system's data folder, no secrets."""
    settings = load_settings(HOME)
    assert (settings.endpoint, settings.router) == ("https://huggingface.co", "https://router.huggingface.co")
    assert settings.home.is_absolute()
    assert settings.home.name == "hfmedia"
    assert (settings.token, settings.hub_token, settings.keys, settings.direct) == (None, None, {}, frozenset())


def test_every_variable_is_read() -> None:
    """One environment with everything in it."""
    settings = load_settings(
        {
            **HOME,
            "HF_TOKEN": " hf_abc\n",
            "HF_ENDPOINT": "http://127.0.0.1:8000/",
            "HFMEDIA_ROUTER": "http://127.0.0.1:8000/router/",
            "HFMEDIA_HOME": "~/media",
            "HFMEDIA_TRUSTED_HOSTS": "127.0.0.1:8000, cdn.intranet ,",
            "HFMEDIA_BASE_URLS": "https://fal.run=http://127.0.0.1:1/x,https://API.replicate.com:443/=http://127.0.0.1:2",
            "HFMEDIA_DIRECT": "fal-ai, replicate",
            "FAL_KEY": " id:secret ",
            "ZAI_API_KEY": "",
            "NOVITA_API_KEY": "n",
        }
    )
    assert settings == Settings(
        endpoint="http://127.0.0.1:8000",
        router="http://127.0.0.1:8000/router",
        home=Path("/nowhere/at/all/media"),
        trusted_hosts=("127.0.0.1:8000", "cdn.intranet"),
        base_urls={"https://fal.run": "http://127.0.0.1:1/x", "https://api.replicate.com": "http://127.0.0.1:2"},
        direct=frozenset({"fal-ai", "replicate"}),
        keys={"FAL_KEY": Secret("id:secret"), "NOVITA_API_KEY": Secret("n")},
        token=settings.token,
    )
    assert settings.hub_token == Secret("hf_abc")


def test_arguments_take_precedence_over_the_environment() -> None:
    """Arguments replace variables; lists are joined."""
    environ = {
        **HOME,
        "HF_TOKEN": "hf_environment",
        "HF_ENDPOINT": "https://one.example",
        "HFMEDIA_HOME": "/one",
        "FAL_KEY": "one",
        "HFMEDIA_TRUSTED_HOSTS": "one.example",
        "HFMEDIA_BASE_URLS": "https://fal.run=https://one.example",
    }
    settings = load_settings(
        environ,
        token="hf_argument",
        endpoint="https://two.example",
        router="https://three.example/",
        home="/two",
        provider_keys={"fal-ai": "two"},
        trusted_hosts=["two.example"],
        base_urls={"https://fal.run": "https://two.example/"},
        direct=["replicate"],
        bill_to="acme",
    )
    assert settings.token is not None
    assert (settings.token.secret.reveal(), settings.token.source) == ("hf_argument", "the token given")
    assert (settings.endpoint, settings.router, settings.home) == (
        "https://two.example",
        "https://three.example",
        Path("/two"),
    )
    assert settings.keys == {"FAL_KEY": Secret("two")}
    assert settings.direct == {"fal-ai", "replicate"}
    assert settings.trusted_hosts == ("one.example", "two.example")
    assert settings.base_urls == {"https://fal.run": "https://two.example"}
    assert settings.bill_to == "acme"


def test_settings_show_no_secret() -> None:
    """Not even when they are printed by mistake."""
    settings = load_settings({**HOME, "HF_TOKEN": "hf_verysecret", "FAL_KEY": "alsosecret"})
    assert "verysecret" not in repr(settings)
    assert "alsosecret" not in repr(settings)


INVALID_URLS = [
    "huggingface.co",
    "ftp://huggingface.co",
    "https://",
    "https://user:word@huggingface.co",
    "https://huggingface.co?token=x",
    "https://hugging face.co",
    "https://huggingface.co:banana",
    "https://huggingface.co/../x",
]


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "HFMEDIA_ROUTER"])
@pytest.mark.parametrize("text", INVALID_URLS)
def test_an_invalid_url_is_rejected_by_the_name_of_its_variable(name: str, text: str) -> None:
    """With an example, and without its password."""
    with pytest.raises(InvalidRequestError, match=f"{name} is .*must be a URL such as https://") as caught:
        load_settings({**HOME, name: text})
    assert caught.value.exit_code == 2
    assert "word@" not in str(caught.value)


INVALID_VALUES = [
    ({"HFMEDIA_BASE_URLS": "https://fal.run"}, {}, "HFMEDIA_BASE_URLS contains"),
    ({"HFMEDIA_BASE_URLS": "https://fal.run="}, {}, "HFMEDIA_BASE_URLS contains an empty URL"),
    ({"HFMEDIA_BASE_URLS": "fal.run=http://127.0.0.1"}, {}, "HFMEDIA_BASE_URLS is 'fal.run'"),
    ({}, {"base_urls": {"https://fal.run": "banana"}}, "base_urls is 'banana'"),
    ({"HFMEDIA_DIRECT": "fal"}, {}, "HFMEDIA_DIRECT contains 'fal', but only these .*fal-ai"),
    ({"HFMEDIA_DIRECT": "hf-inference"}, {}, "HFMEDIA_DIRECT contains 'hf-inference'"),
    ({}, {"provider_keys": {"acme": "x"}}, "provider_keys contains 'acme'"),
    ({}, {"bill_to": "acme\r\nX-Evil: 1"}, "bill_to is"),
    ({}, {"bill_to": "a b"}, "bill_to is"),
    ({}, {"endpoint": "banana"}, "endpoint is 'banana'"),
]


@pytest.mark.parametrize(("environ", "arguments", "message"), INVALID_VALUES)
def test_an_invalid_value_is_reported(environ: dict[str, str], arguments: dict[str, object], message: str) -> None:
    """One sentence with the name of the variable or argument."""
    with pytest.raises(InvalidRequestError, match=message):
        load_settings({**HOME, **environ}, **arguments)  # type: ignore[arg-type]


def test_a_malformed_key_is_reported_without_showing_it() -> None:
    """The name of its variable or its provider is enough."""
    with pytest.raises(AuthenticationError, match="the key in FAL_KEY contains a line break") as caught:
        load_settings({**HOME, "FAL_KEY": "abc\ndef"})
    assert "abc" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="the key for fal-ai is empty"):
        load_settings(HOME, provider_keys={"fal-ai": " "})


URLS = [
    ("https://Huggingface.CO:443/", "https://huggingface.co"),
    ("http://h:80/a/b/", "http://h/a/b"),
    ("http://h:443", "http://h:443"),
    ("http://[::1]:8000/", "http://[::1]:8000"),
    ("  https://h  ", "https://h"),
    ("https://h:0", None),
    ("https://h\\@evil", None),
    ("", None),
    ("//h", None),
]


@pytest.mark.parametrize(("text", "url"), URLS)
def test_a_url_has_one_normal_form(text: str, url: str | None) -> None:
    """Two spellings of one origin would look like two."""
    assert normalize_url(text) == url


OWN = [
    ("fal-ai", "text-to-image", "http://127.0.0.1:1/x"),
    ("fal-ai", "text-to-video", "https://queue.fal.run"),
    ("replicate", "text-to-image", "https://api.replicate.com"),
    ("replicate", "image-to-video", None),
    ("hf-inference", "text-to-image", None),
    ("acme-images", "text-to-image", None),
]


@pytest.mark.parametrize(("provider", "task", "address"), OWN)
def test_a_providers_own_base_url_can_be_replaced(provider: str, task: str, address: str | None) -> None:
    """By origin; a provider that only the router reaches has none."""
    settings = load_settings(HOME, base_urls={"https://fal.run": "http://127.0.0.1:1/x"})
    assert settings.direct_base_url(provider, task) == address
