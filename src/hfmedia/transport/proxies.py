"""Proxy selection: an explicit proxy, else the proxy variables of the environment, with NO_PROXY.

Pure: the environment is an argument. Passwords are wrapped in Secret as soon as they are parsed.
urllib's ``getproxies_environment`` is not used because it only reads ``os.environ``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct, field
from yarl import URL

from ..core.credentials import Secret
from ..core.errors import InvalidRequestError

Scheme = Literal["http", "https", "socks4", "socks5"]
SCHEMES: Mapping[str, Scheme] = {
    "http": "http",
    "https": "https",
    "socks4": "socks4",
    "socks4a": "socks4",
    "socks5": "socks5",
    "socks5h": "socks5",
}
DEFAULT_PORTS: Mapping[Scheme, int] = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080}


class Proxy(Struct, frozen=True, kw_only=True):
    """A proxy and the user name and password for it. Host names are always resolved by the proxy, over SOCKS too."""

    scheme: Scheme
    host: str
    port: int
    username: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))

    def __repr__(self) -> str:
        return f"Proxy({self.address})"

    @property
    def address(self) -> str:
        """URL without user name and password: ``http://proxy.example:3128``."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """True for SOCKS, False for HTTP."""
        return self.scheme.startswith("socks")

    @property
    def headers(self) -> dict[str, str]:
        """Proxy-Authorization header for an HTTP proxy; empty without a user name."""
        if not self.username:
            return {}
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


class ProxyRules(Struct, frozen=True, kw_only=True):
    """``explicit`` applies to every URL; otherwise the proxy of the URL's scheme, unless ``no_proxy`` has the host."""

    explicit: Proxy | None = None
    by_scheme: Mapping[str, Proxy] = field(default_factory=dict[str, Proxy])
    no_proxy: str = ""

    def choose(self, url: URL) -> Proxy | None:
        """Return the proxy for a URL, None to connect directly. Loopback is not exempt unless NO_PROXY names it."""
        if self.explicit is not None:
            return self.explicit
        host, port = url.raw_host or "", url.port
        if any(_matches_no_proxy(entry, host, port) for entry in self.no_proxy.replace(",", " ").split()):
            return None
        return self.by_scheme.get(url.scheme) or self.by_scheme.get("all")


def proxy_rules(proxy: str | None, environ: Mapping[str, str]) -> ProxyRules:
    """Return the proxy rules; ``proxy=None`` reads the environment, an empty string disables proxies.

    The variables are HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; lower case overrides upper case. Raises
    InvalidRequestError for an invalid proxy URL, without showing it.
    """
    if proxy is not None:
        return ProxyRules(explicit=parse_proxy(proxy, source="the proxy given") if proxy.strip() else None)
    variables = _proxy_variables(environ)
    proxies: dict[str, Proxy] = {
        scheme: parse_proxy(variables[scheme], source=f"{scheme.upper()}_PROXY")
        for scheme in ("http", "https", "all")
        if scheme in variables
    }
    return ProxyRules(by_scheme=proxies, no_proxy=variables.get("no", ""))


def parse_proxy(text: str, *, source: str) -> Proxy:
    """Parse a proxy URL (``http://user:password@host:port``; the default scheme is http)."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    scheme = SCHEMES.get(parts.scheme)
    if parts.scheme and scheme is None:
        raise _invalid_proxy(source, f"has an unsupported scheme; use {', '.join(SCHEMES)}")
    if scheme is None or not host or port == 0 or not _is_valid_host(host) or parts.path.strip("/") or parts.query:
        raise _invalid_proxy(source, "is not a proxy URL")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if len(user.encode()) > 255 or len(password.encode()) > 255:
        raise _invalid_proxy(source, "has a user name or password over 255 bytes")
    return Proxy(scheme=scheme, host=host, port=port or DEFAULT_PORTS[scheme], username=user, password=Secret(password))


def _proxy_variables(environ: Mapping[str, str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for is_lower in (False, True):  # lower case overrides, and an empty one removes the upper case one
        for name, value in environ.items():
            if not name.lower().endswith("_proxy") or (name.islower() is not is_lower):
                continue
            # A CGI server turns a client's "Proxy:" header into HTTP_PROXY (CVE-2016-1000110).
            if name.upper() == "HTTP_PROXY" and not is_lower and "REQUEST_METHOD" in environ:
                continue
            variables[name.lower().removesuffix("_proxy")] = value.strip()
    return {scheme: value for scheme, value in variables.items() if value}


def _matches_no_proxy(entry: str, host: str, port: int | None) -> bool:
    """Match an entry of NO_PROXY: ``*``, a domain with its subdomains, or an address; optionally with a port."""
    entry = entry.lower()
    if entry == "*":
        return True
    name, _, entry_port = entry.rpartition(":") if entry.count(":") == 1 or "]:" in entry else (entry, "", "")
    if entry_port and entry_port != str(port):
        return False
    name, host = name.removeprefix("*").strip(".").strip("[]"), host.lower().rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_valid_host(host: str) -> bool:
    return host.isascii() and host.isprintable() and not any(char in host for char in " /\\@%?#")


def _invalid_proxy(source: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{source} {problem}; write http://host:port or socks5://user:password@host:port")
