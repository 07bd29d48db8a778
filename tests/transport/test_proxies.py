"""Which proxy a URL goes through, as tables; and that a password never shows."""

from __future__ import annotations

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.transport import Transport
from hfmedia.transport.proxies import parse_proxy, proxy_rules
from hfmedia.transport.ssrf import parse_url

HTTP = {"HTTP_PROXY": "http://one:1"}
BOTH = {**HTTP, "HTTPS_PROXY": "http://two:2"}


@pytest.mark.parametrize(
    ("proxy", "environ", "url", "address"),
    [
        (None, {}, "https://a.example/", None),
        (None, BOTH, "http://a.example/", "http://one:1"),
        (None, BOTH, "https://a.example/", "http://two:2"),
        (None, HTTP, "https://a.example/", None),
        (None, {"ALL_PROXY": "socks5://s:3"}, "https://a.example/", "socks5://s:3"),
        (None, {**BOTH, "ALL_PROXY": "socks5://s:3"}, "https://a.example/", "http://two:2"),
        (None, {**HTTP, "http_proxy": "http://lower:9"}, "http://a.example/", "http://lower:9"),
        (None, {"http_proxy": "http://lower:9", **HTTP}, "http://a.example/", "http://lower:9"),
        (None, {**HTTP, "http_proxy": ""}, "http://a.example/", None),
        (None, {**HTTP, "REQUEST_METHOD": "GET"}, "http://a.example/", None),
        (None, {"http_proxy": "http://lower:9", "REQUEST_METHOD": "GET"}, "http://a.example/", "http://lower:9"),
        (None, HTTP, "http://127.0.0.1/", "http://one:1"),
        (None, {**HTTP, "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1/", None),
        (None, {**HTTP, "NO_PROXY": "*"}, "http://a.example/", None),
        (None, {**HTTP, "NO_PROXY": "x, a.example"}, "http://a.example/", None),
        (None, {**HTTP, "NO_PROXY": "example"}, "http://a.example/", None),
        (None, {**HTTP, "NO_PROXY": ".example"}, "http://a.example/", None),
        (None, {**HTTP, "NO_PROXY": "*.example"}, "http://a.example/", None),
        (None, {**HTTP, "NO_PROXY": "ample"}, "http://a.example/", "http://one:1"),
        (None, {**HTTP, "no_proxy": "A.EXAMPLE:80"}, "http://a.example/", None),
        (None, {**HTTP, "no_proxy": "a.example:81"}, "http://a.example/", "http://one:1"),
        (None, {**HTTP, "no_proxy": "::1"}, "http://[::1]:80/", None),
        (None, {**HTTP, "no_proxy": "[::1]:80"}, "http://[::1]/", None),
        (None, {**HTTP, "no_proxy": ",,"}, "http://a.example/", "http://one:1"),
        ("http://given:7", {**BOTH, "NO_PROXY": "*"}, "https://a.example/", "http://given:7"),
        ("", BOTH, "https://a.example/", None),
    ],
)
def test_the_proxy_of_a_url(proxy: str | None, environ: dict[str, str], url: str, address: str | None) -> None:
    """The one given, else the environment's, unless NO_PROXY names the host."""
    chosen = proxy_rules(proxy, environ).choose(parse_url(url))
    assert (chosen.address if chosen else None) == address


@pytest.mark.parametrize(
    ("text", "address", "opens"),
    [
        ("http://p.example:3128", "http://p.example:3128", ("", "")),
        ("p.example:3128", "http://p.example:3128", ("", "")),
        ("https://p.example", "https://p.example:443", ("", "")),
        ("http://user:pa%40ss@p.example/", "http://p.example:80", ("user", "pa@ss")),
        ("socks4://p.example", "socks4://p.example:1080", ("", "")),
        ("socks5://u:p@[::1]:9050", "socks5://[::1]:9050", ("u", "p")),
        ("socks5h://p.example:9050", "socks5://p.example:9050", ("", "")),
        (" HTTP://p.example ", "http://p.example:80", ("", "")),
    ],
)
def test_a_proxy_url_is_read(text: str, address: str, opens: tuple[str, str]) -> None:
    """With the usual port of its kind, and what opens it apart from where it is."""
    proxy = parse_proxy(text, source="here")
    assert (proxy.address, (proxy.username, proxy.password.reveal())) == (address, opens)
    assert "pa@ss" not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://user:hunter2@p.example:21",
        "http://user:hunter2@",
        "http://user:hunter2@p.example:99999",
        "http://user:hunter2@p.example:port",
        "http://user:hunter2@p.example:0",
        "http://user:hunter2@[::1",
        "http://user:hunter2@p.example/path",
        "http://user:hunter2@p.example?x=1",
        "user:hunter2:p.example:80",
        "http://user:hunter2@p .example",
        f"http://user:hunter2{'x' * 300}@p.example",
        "://hunter2",
    ],
)
def test_a_senseless_proxy_is_refused_at_once_and_not_shown(text: str) -> None:
    """By argument or by environment: one sentence that names where it stands, never what it holds."""
    for made in (lambda: Transport(proxy=text, environ={}), lambda: Transport(environ={"HTTPS_PROXY": text})):
        with pytest.raises(InvalidRequestError, match=r"proxy|PROXY") as caught:
            made()
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__ or error.__context__
