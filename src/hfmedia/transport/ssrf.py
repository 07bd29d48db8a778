"""SSRF protection: URLs from responses may lead to public addresses only, and to hosts that the user trusts by name.

Pure: it examines URLs and addresses and resolves nothing. Whatever it does not recognize as public is blocked. The
tables stay instead of ``ipaddress.is_global``, whose answers differ between patch releases of Python (CVE-2024-4032)
and which knows neither cloud services with public addresses nor a reason to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from msgspec import Struct
from yarl import URL

from ..core.errors import InvalidRequestError, UnsafeUrlError

# Sources: the IANA special-purpose address registries for IPv4 and IPv6, and the clouds' documentation of their
# metadata services, which return machine credentials.
PRIVATE_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(block), reason)
    for block, reason in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's shared network"),  # 100.100.100.200 is the metadata service of Alibaba
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's internal service"),  # Azure's, although the address looks public
        ("169.254.0.0/16", "the local link"),  # 169.254.169.254 is the metadata service of most clouds
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),  # 192.0.0.192 is the metadata service of Oracle
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a retired relay"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved for measurements"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
PRIVATE_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(block), reason)
    for block, reason in (
        ("::/128", "this machine"),
        ("::1/128", "this machine"),
        ("64:ff9b:1::/48", "a local translation prefix"),
        ("100::/64", "a discard prefix"),
        ("2001::/32", "a tunnel that hides an address"),  # Teredo
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a tunnel that hides an address"),  # 6to4
        ("3fff::/20", "reserved for documentation"),
        ("5f00::/16", "reserved for segment routing"),
        ("fc00::/7", "a private network"),  # fd00:ec2::254 is the metadata service of Amazon
        ("fe80::/10", "the local link"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "multicast"),
    )
)
PUBLIC_V6 = IPv6Network("2000::/3")  # every block assigned so far
IPV4_EMBEDDING_PREFIXES = (
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("64:ff9b::/96"),
)  # mapped, NAT64: the last 32 bits are the IPv4 address

# Local names by RFC 6761, 6762, 8375 and 9476, or by convention of routers and clouds.
LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "lan", "intranet", "corp", "home")

WEB_PORTS = (80, 443)
MIN_UNPRIVILEGED_PORT = 1024  # below it are mail, shells and printers, which a download must not reach
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_HOSTNAME = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_INVALID_URL_CHARS = re.compile(r"[\x00-\x20\x7f\\]")


class AddressGuard(Struct, frozen=True):
    """Checks URLs and addresses. ``trusted``: the private hosts that are allowed, by host and port (None: any port)."""

    trusted: frozenset[tuple[str, int | None]] = frozenset()

    def trusts(self, host: str, port: int | None) -> bool:
        """Return whether the user trusts this host, with this port or with any."""
        name = host.lower().rstrip(".")
        return (name, None) in self.trusted or (name, port) in self.trusted

    def check(self, url: URL) -> None:
        """Raise UnsafeUrlError when the URL itself, before any DNS lookup, leads to a place that is not allowed."""
        host, port = url.raw_host, url.port
        if url.scheme not in ("http", "https") or not host:
            raise UnsafeUrlError(f"media can only be fetched over http or https, not from a {url.scheme!r} URL")
        if "@" in url.raw_authority:
            raise UnsafeUrlError(f"the media URL at {host_label(url)} contains a user name; nothing was fetched")
        if not port:
            raise UnsafeUrlError(f"the media URL at {host_label(url)} has no usable port; nothing was fetched")
        if self.trusts(canonical_host(host), port):
            return
        if reason := host_block_reason(host):
            raise blocked_error(host_label(url), reason)
        if port < MIN_UNPRIVILEGED_PORT and port not in WEB_PORTS:
            raise blocked_error(host_label(url), f"port {port} is not a web port")

    def check_addresses(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Raise UnsafeUrlError when any address that a host resolved to is private, unless the host is trusted."""
        if self.trusts(host, port):
            return
        for address in addresses:
            if reason := address_block_reason(ip_address(address.partition("%")[0])):
                raise blocked_error(host, f"it resolves to {address}, which is {reason}")


def guard_for(trusted_hosts: Iterable[str]) -> AddressGuard:
    """Build a guard from entries such as ``cdn.lan``, ``10.0.0.5:9000`` or ``[::1]:8080``.

    Raises InvalidRequestError for any other entry.
    """
    return AddressGuard(frozenset(_parse_trusted_host(entry.strip()) for entry in trusted_hosts if entry.strip()))


def parse_url(text: str, *, base: URL | None = None) -> URL:
    """Parse a URL without re-encoding it, so that its signature stays valid. Raises ValueError when it is not a URL.

    ``base`` resolves relative URLs. Characters outside of ASCII are encoded, host names by IDNA.
    """
    if _INVALID_URL_CHARS.search(text):
        raise ValueError("a URL must not contain spaces, control characters or backslashes")
    url = URL(text, encoded=text.isascii())
    url = base.join(url) if base is not None else url
    if url.explicit_port == -1 or url.raw_host == "":  # yarl would raise for both later, when they are read
        raise ValueError("the URL has no host")
    return url


def host_label(url: URL) -> str:
    """Return host and port of a URL for messages, never its user, path or query."""
    host = url.raw_host or "an unnamed host"
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if url.explicit_port is None else f"{bracketed}:{url.explicit_port}"


def canonical_host(host: str) -> str:
    """Normalize a host for comparison: lower case, no trailing dot, IPv6 in its shortest form."""
    host = host.lower().rstrip(".")
    try:
        return str(ip_address(host)) if ":" in host else host
    except ValueError:
        return host


def host_block_reason(host: str) -> str | None:
    """Return why a host is blocked by its name alone; None when its resolved addresses decide."""
    host = host.lower()
    if ":" in host or "%" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            return "it is not a plain IPv6 address"
        return "it has a zone identifier" if address.scope_id else _block_reason(address)
    if not _HOSTNAME.fullmatch(host):
        return "it is not a host name"
    labels = host.rstrip(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # The C library reads 2130706433, 0177.0.0.1 and 0x7f.1 as 127.0.0.1; legitimate URLs have no such hosts.
        try:
            return _block_reason(IPv4Address(host))
        except ValueError:
            return "it is an obfuscated address"
    if len(labels) == 1 or any(labels[-local.count(".") - 1 :] == local.split(".") for local in LOCAL_NAMES):
        return "it is a local name"
    return None


def address_block_reason(address: IPv4Address | IPv6Address) -> str | None:
    """Return why an address is not public; None when it is."""
    if isinstance(address, IPv4Address):
        return next((reason for block, reason in PRIVATE_V4 if address in block), None)
    if any(address in block for block in IPV4_EMBEDDING_PREFIXES):
        return address_block_reason(IPv4Address(int(address) & 0xFFFFFFFF))
    private_reason = next((reason for block, reason in PRIVATE_V6 if address in block), None)
    return private_reason or (None if address in PUBLIC_V6 else "not assigned")


def blocked_error(host: str, reason: str) -> UnsafeUrlError:
    """Build the error for a blocked host, with the setting that allows it."""
    return UnsafeUrlError(
        f"blocked a URL to {host}: {reason}; nothing was fetched (to allow this host, add it to HFMEDIA_TRUSTED_HOSTS)"
    )


def _block_reason(address: IPv4Address | IPv6Address) -> str | None:
    reason = address_block_reason(address)
    return reason and f"that is {reason}"


def _parse_trusted_host(entry: str) -> tuple[str, int | None]:
    try:
        url = URL(f"//{f'[{entry}]' if entry.count(':') > 1 and '[' not in entry else entry}")
    except ValueError:
        url = URL()
    host = url.raw_host
    if not host or url.raw_user is not None or url.path not in ("", "/") or url.raw_query_string or url.port == 0:
        raise InvalidRequestError(
            f"{entry!r} is not a trusted host; write host or host:port, an IPv6 address in brackets"
        )
    return canonical_host(host), url.explicit_port
